"""A traced function without what its outputs do not depend on: losses, metrics and counters of a model in training.

Before: y = Dense(h); AssignAdd(total, CTCLoss(y, ...)), which y waits for     After: y = Dense(h)

TensorFlow keeps whatever has a side effect, and lets the outputs wait for it. Checks (`tf.debugging.assert_...`) stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from rnnexport.compat.tensorflow import op_def_registry, order_behind, wrap_function
from rnnexport.source.api import hidden_state
from rnnexport.source.graphs import BRANCHES

Library = Mapping[str, Any]  # the functions of a graph by name

_CHECKS = frozenset({"Assert", "PrintV2"})
_READS = frozenset({"ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape"})
# Without effect on a run to come, though TensorFlow has them keep their order.
_HARMLESS = _CHECKS | _READS | BRANCHES | {"Placeholder"}


def live(concrete: Any, names: Mapping[int, str]) -> Any:
    """The part of a function that its outputs need; itself where it has nothing else that matters.

    Args:
        concrete: a `ConcreteFunction`, whose graph is changed.
        names: of variables, by the `id` of the handle of each.

    Raises:
        ConversionError: something writes a variable that an output depends on; names it.
    """
    graph = concrete.graph
    library = {function.signature.name: function for function in graph.as_graph_def().library.function}
    needed = _behind(tensor.op for tensor in concrete.outputs)
    others = [operation for operation in graph.get_operations() if operation not in needed]
    _refuse_memory(graph, library, needed, others, names)
    if not any(_runs_functions(one) or not _is_harmless(library, one) for one in others):
        return concrete
    _cut(concrete, library, needed)
    wrapped = wrap_function.WrappedFunction(graph, wrap_function.VariableHolder())
    return wrapped.prune(concrete.inputs, list(concrete.outputs))


def _refuse_memory(
    graph: Any, library: Library, needed: set[Any], others: Iterable[Any], names: Mapping[int, str]
) -> None:
    written = {handle for one in others if _writes(library, one) for handle in _handles(one)}
    for outer, inner in graph.captures:
        if inner.op in written & needed:
            variable = next((one for one in graph.variables if one.handle is outer), None)
            raise hidden_state(names.get(id(outer)) or getattr(variable, "name", inner.op.name))


def _cut(concrete: Any, library: Library, needed: set[Any]) -> None:
    """Let the outputs wait for checks alone, wherever these were waited for."""
    graph, outputs = concrete.graph, [tensor.op for tensor in concrete.outputs]
    asked = _behind(outputs, waiting=True) - needed
    checks = [
        one
        for one in graph.get_operations()
        if one in asked
        and one.type in _CHECKS | BRANCHES
        and all(_is_harmless(library, before) for before in _behind([one]) - needed)
    ]
    kept = needed | _behind(checks)
    for operation in kept:
        before = [one for one in operation.control_inputs if one in kept]
        if len(before) < len(operation.control_inputs):
            order_behind(operation, before, only=True)
    for operation in outputs:
        order_behind(operation, checks)


def _behind(operations: Iterable[Any], *, waiting: bool = False) -> set[Any]:
    """These operations, and those whose results they depend on; `waiting`: and those that they wait for."""
    found: set[Any] = set()
    todo = list(operations)
    while todo:
        operation = todo.pop()
        if operation not in found:
            found.add(operation)
            todo.extend(tensor.op for tensor in operation.inputs)
            todo.extend(operation.control_inputs if waiting else ())
    return found


def _handles(operation: Any) -> Iterator[Any]:
    """The placeholders of the variables that an operation is given."""
    if operation.type == "Placeholder":
        yield operation
    for tensor in operation.inputs:
        if tensor.dtype == tf.resource:
            yield from _handles(tensor.op)


def _runs_functions(operation: Any) -> bool:
    return operation.type not in BRANCHES and any(True for _ in _functions(operation.node_def))


def _is_harmless(library: Library, operation: Any) -> bool:
    """Whether an operation computes, reads or checks, and does nothing else."""
    if not operation.op_def.is_stateful:
        return True
    return operation.type in _HARMLESS and not _any_inside(
        library, operation.node_def, lambda op: op not in _HARMLESS and _stateful(op)
    )


def _writes(library: Library, operation: Any) -> bool:
    return _is_write(operation.type) or _any_inside(library, operation.node_def, _is_write)


def _is_write(op: str) -> bool:
    return op.startswith(("Assign", "ResourceScatter", "RngReadAndSkip", "ResourceStridedSliceAssign"))


def _stateful(op: str) -> bool:
    definition = op_def_registry.get(op)
    return definition is None or bool(definition.is_stateful)


def _any_inside(library: Library, node: Any, wanted: Callable[[str], bool]) -> bool:
    """Whether a function that a node may call has an operator of a kind, at any depth."""
    todo, seen = list(_functions(node)), set()
    while todo:
        name = todo.pop()
        if name in seen or name not in library:
            continue
        seen.add(name)
        inside = library[name].node_def
        if any(wanted(node.op) for node in inside):
            return True
        todo.extend(called for node in inside for called in _functions(node))
    return False


def _functions(node: Any) -> Iterator[str]:
    """The functions that a node may call."""
    for value in node.attr.values():
        yield from (function.name for function in (value.func, *value.list.func) if function.name)
