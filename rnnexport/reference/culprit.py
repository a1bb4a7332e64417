"""Which operator a converter takes for another: found once two readings of a model are known to differ.

1. The model is read once more with every tensor of its graph as an output: the first that differs names the operator.
2. Where that is a loop, the list that one filled, or something that is read otherwise beside more outputs, each
   operator is read by itself, on the values that it had: of the graph, and of the bodies of its loops and branches.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnnexport.artifact.goldens import Arrays
from rnnexport.core.errors import ConversionError
from rnnexport.emit.numpy.oracle import NoOracle, Oracle, oracle
from rnnexport.reference.witness import Allowed, where_numbers

if TYPE_CHECKING:
    from rnnexport.source.double import Double
    from rnnexport.source.islands import ExecutedGraph
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
    from rnnexport.source.islands import InsideError, is_plain, runs_functions, scopes

    operation = _first(traced, feed)
    if operation is not None and not runs_functions(operation) and all(map(is_plain, operation.inputs)):
        return _told(operation.type, operation.name)
    try:
        alone = _first_alone(one for one in scopes(traced, graph, feed) if operation is None or one.caller)
    except InsideError:
        alone = ""
    if alone or operation is None:
        return alone or traced.name
    while not runs_functions(operation):
        operation = next(tensor.op for tensor in operation.inputs if not is_plain(tensor))
    return _told(operation.type, operation.name)


def _told(op: str, node: str) -> str:
    return f"{op} in {node}"


def _first(traced: TracedModel, feed: Arrays) -> Any:
    """The first operator of the graph whose values differ; None where none do, or the model can't be read so."""
    from rnnexport.source.islands import with_all_values

    whole, operations = with_all_values(traced)
    readings = Readings.of(whole)
    differing = readings.differing(feed) if readings else set()
    return next((operation for name, operation in operations.items() if name in differing), None)


def _first_alone(scopes: Iterable[ExecutedGraph]) -> str:
    """The first operator that differs by itself."""
    from rnnexport.source.islands import islands

    readings: dict[str, Readings | None] = {}
    for scope in scopes:
        for one in islands(scope):
            if one.kind not in readings:
                readings[one.kind] = Readings.of(one.traced())
            both = readings[one.kind]
            if both is not None and both.differing(one.feed):
                return _told(one.op, one.node)
    return ""


@dataclass(frozen=True, eq=False)
class Readings:
    """Both readings of a model."""

    traced: TracedModel
    program: Oracle
    graph: Double

    @classmethod
    def of(cls, traced: TracedModel) -> Readings | None:
        """None where one of them can't be had."""
        from rnnexport.source.double import NoDouble, double

        program, graph = oracle(traced), double(traced)
        if isinstance(program, NoOracle) or isinstance(graph, NoDouble):
            return None
        return cls(traced, program, graph)

    def differing(self, feed: Arrays) -> set[str]:
        """The outputs in which they differ where these are numbers of float32; none where one can't be run."""
        try:
            found, wanted = self.program.run(feed), self.graph.run(feed)
        except ConversionError:
            return set()
        found = where_numbers(found, wanted, wanted)
        allowed = Allowed(self.traced, self.graph, feed, wanted)
        return {name for name in wanted if allowed.disagreement({name: found[name]})}
