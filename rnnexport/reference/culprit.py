"""Which operator a converter takes for another: found once two readings of a model are known to differ.

1. The model is read once more with every tensor of its graph as an output: the first that differs names the operator.
2. Where that is a loop, the list that one filled, or something that is read otherwise beside more outputs, each
   operator is read by itself, on the values that it had: of the graph, and of the bodies of its loops and branches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rnnexport.codegen.oracle import NoOracle, oracle
from rnnexport.errors import ConversionError
from rnnexport.goldens import Arrays
from rnnexport.reference.witness import Allowed

if TYPE_CHECKING:
    from rnnexport.source.double import Double
    from rnnexport.source.inside import Scope
    from rnnexport.source.trace import TracedModel


def culprit(traced: TracedModel, graph: Double, feed: Arrays) -> str:
    """The operator at which the reading of the converter departs from the graph, such as `Softmax in model/softmax`.

    Args:
        traced: the model.
        graph: the same in float64.
        feed: inputs and states for which the two differ.

    Returns:
        That of a loop as a whole, or the model's name, where no operator does it by itself.
    """
    from rnnexport.source.inside import InsideError, is_plain, runs_functions, scopes

    operation = _first(traced, feed)
    if operation is not None and not runs_functions(operation) and all(map(is_plain, operation.inputs)):
        return _told(operation.type, operation.name)
    try:
        found = scopes(traced, graph, feed)
    except InsideError:
        found = []
    for scope in found:
        if (operation is None or scope.caller) and (told := _first_alone(scope)):
            return told
    return traced.name if operation is None else _told(operation.type, operation.name)


def _told(op: str, node: str) -> str:
    return f"{op} in {node}"


def _first(traced: TracedModel, feed: Arrays) -> Any:
    """The first operator of the graph whose values differ; None where none do, or the model can't be read so."""
    from rnnexport.source.islands import with_all_values

    whole, operations = with_all_values(traced)
    differing = _differing(whole, feed)
    return next((operation for name, operation in operations.items() if name in differing), None)


def _first_alone(scope: Scope) -> str:
    """The first operator of a scope that differs by itself."""
    from rnnexport.source.islands import islands

    return next((_told(one.op, one.node) for one in islands(scope) if _differing(one.traced, one.feed)), "")


def _differing(traced: TracedModel, feed: Arrays) -> set[str]:
    """The outputs in which the two readings of a model differ; none where one of them can't be had."""
    from rnnexport.source.double import NoDouble, double

    program, graph = oracle(traced), double(traced)
    if isinstance(program, NoOracle) or isinstance(graph, NoDouble):
        return set()
    try:
        found, wanted = program.run(feed), graph.run(feed)
    except ConversionError:
        return set()
    allowed = Allowed(traced, graph, feed, wanted)
    return {name for name in wanted if allowed.disagreement({name: found[name]})}
