"""A traced function without variables: the small ones are constants of its graph, the large ones stay with Keras.

A graph that holds its weights is copied whenever TensorFlow or a converter looks at it, and ends at 2 GiB. So what is
large is a placeholder of the graph, captured: nothing can read a number out of it, and a run is given the tensor.

Before: lstm_cell/kernel: Placeholder(resource) -> ReadVariableOp
After:  lstm_cell/kernel: Const (small), or Placeholder(float32, its shape), and the tensor beside the graph

It is made of parts of TensorFlow 2.16 to 2.21 that have no public name: `convert_variables_to_constants_v2` itself
holds every variable twice, as an array and in the graph.

A traced function without what its outputs do not depend on: losses, metrics and counters of a model in training.

Before: y = Dense(h); AssignAdd(total, CTCLoss(y, ...)), which y waits for     After: y = Dense(h)

TensorFlow keeps whatever has a side effect, and lets the outputs wait for it. Checks (`tf.debugging.assert_...`) stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.compat.tensorflow import context, convert_to_constants, op_def_registry, order_behind, wrap_function
from rnnexport.source.api import hidden_state
from rnnexport.source.graphs import BRANCHES, every_node

# Bytes from which a weight stays outside the graph. Below it every pass may read, fold and copy it.
OPEN_FROM = 1 << 16
# Where operators are that read variables: no name of a traced graph begins like it.
_READ = "rnnexport_weights"
_COMPILED = "_XlaMustCompile"
_WHOLE = "_noinline"  # what is compiled must not be written out where it is called
Library = Mapping[str, Any]  # the functions of a graph by name
_CHECKS = frozenset({"Assert", "PrintV2"})
_READS = frozenset({"ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape"})
# Without effect on a run to come, though TensorFlow has them keep their order.
_HARMLESS = _CHECKS | _READS | BRANCHES | {"Placeholder"}


@dataclass(frozen=True, eq=False)
class Frozen:
    """A graph without variables. Its inputs and outputs have the names that they have in the function.

    Attributes:
        graph_def: the graph.
        weights: the tensor that stands for a placeholder of it, by the placeholder's name.
    """

    graph_def: Any
    weights: Mapping[str, tf.Tensor]


def frozen(concrete: Any, open_from: int = OPEN_FROM) -> Frozen:
    """Freeze a function. Loops and branches stay functions.

    Args:
        concrete: a `ConcreteFunction`.
        open_from: bytes from which a captured variable or tensor of a real dtype stays outside the graph.
    """
    data = _Values(concrete, open_from)
    graph = convert_to_constants._GraphDef(data.graph_def)
    for name, value in data.tensor_data.items():
        variable = graph.nodes[name]
        if name not in data.weights:
            variable.convert_variable_to_constant(None, value)
            continue
        _make_placeholder(variable.converted_self().node, data.weights[name])
        for edge in variable.outgoing_edges:
            edge.destination.convertible.convert_variable_to_constant(edge, value)
    whole = graph.converted_self().graph_def
    graph_def = needed(whole, [tensor.name for tensor in (*concrete.outputs, *concrete.inputs)])
    for function in graph_def.library.function:  # TensorFlow keeps the one that it knows by that name
        name = function.signature.name
        if context.context().has_function(name) and context.context().get_function_def(name) != function:
            context.context().remove_function(name)
    return Frozen(graph_def, data.weights)


class _Values(convert_to_constants._FunctionConverterDataInEager):  # type: ignore[misc]
    """What the variables of a function hold; for those that stay outside its graph an array of the same shape."""

    def __init__(self, concrete: Any, open_from: int) -> None:
        self._open_from = open_from
        self._held: dict[int, tf.Tensor] = {}
        super().__init__(concrete, lower_control_flow=False, aggressive_inlining=False)
        self.weights = {
            inner.op.name: self._held[id(outer)] for outer, inner in concrete.graph.captures if id(outer) in self._held
        }
        for name, tensor in self.weights.items():
            stand_in = np.broadcast_to(np.zeros((), tensor.dtype.as_numpy_dtype), tensor.shape)  # of one number
            self._tensor_data[name] = self._tensor_data[name]._replace(numpy=stand_in)

    def _eval(self, tensor: Any) -> np.ndarray:
        """The value of a variable, or of a tensor that is none."""
        if tensor.dtype.is_floating and (tensor.shape.num_elements() or 0) * tensor.dtype.size >= self._open_from:
            is_variable = isinstance(tensor, tf.Variable)
            self._held[id(tensor.handle if is_variable else tensor)] = tensor.read_value() if is_variable else tensor
            return np.empty(0, tensor.dtype.as_numpy_dtype)
        return np.asarray(tensor.numpy())


def _make_placeholder(node: Any, tensor: tf.Tensor) -> None:
    name = node.name
    node.Clear()
    node.name, node.op = name, "Placeholder"
    node.attr["dtype"].type = tensor.dtype.as_datatype_enum
    node.attr["shape"].shape.CopyFrom(tensor.shape.as_proto())


def imported(graph_def: Any, weights: Mapping[str, Any], others: Callable[[], Mapping[str, tf.Tensor]] = dict) -> Any:
    """A graph as a `WrappedFunction`, to be pruned to a function; it captures the weights under their names.

    Args:
        graph_def: the graph.
        weights: the tensor, or a variable, of each of its placeholders that is a weight, by the placeholder's name.
        others: makes, in the new graph, what takes the place of other tensors of it, by their names.
    """
    rest = type(graph_def)()
    rest.CopyFrom(graph_def)
    del rest.node[:]
    rest.node.extend(node for node in graph_def.node if node.name not in weights)

    def rebuild() -> None:
        tf.import_graph_def(rest, input_map=captured(weights) | dict(others()), name="")

    return tf.compat.v1.wrap_function(rebuild, [])


def captured(weights: Mapping[str, Any]) -> dict[str, tf.Tensor]:
    """Capture weights in the graph that is open, under their names; by the names of the tensors there, `kernel:0`."""
    graph = tf.compat.v1.get_default_graph()

    def value(name: str, one: Any) -> tf.Tensor:
        if not isinstance(one, tf.Variable):
            return graph.capture(one, name=name)
        with tf.name_scope(_READ):  # else it takes names that nodes to be imported have, such as `Identity`
            return one.read_value()

    return {f"{name}:0": value(name, one) for name, one in weights.items()}


def array_of(tensor: tf.Tensor) -> np.ndarray:
    """The numbers of a tensor, where it holds them; they can't be written."""
    try:
        return np.asarray(memoryview(tensor))
    except ValueError:  # bfloat16 has no buffer; what TensorFlow itself has is one of the same memory
        array: np.ndarray = tensor._numpy().view()
        array.setflags(write=False)
        return array


def needed(graph_def: Any, tensors: list[str]) -> Any:
    """What the tensors depend on: a branch that nothing reads needs no float64 form."""
    nodes = {node.name: node for node in graph_def.node}
    functions = {function.signature.name: function for function in graph_def.library.function}
    read = _closure({_node_of(tensor) for tensor in tensors}, lambda name: map(_node_of, nodes[name].input))
    kept = [node for node in graph_def.node if node.name in read]
    called = _closure(_called(kept, functions), lambda name: _called(functions[name].node_def, functions))
    part = type(graph_def)(versions=graph_def.versions, node=kept)
    part.library.function.extend(functions[name] for name in sorted(called))
    return part


def _closure(start: set[str], following: Callable[[str], Iterable[str]]) -> set[str]:
    """`start`, and all that is reached from it."""
    reached: set[str] = set()
    todo = set(start)
    while todo:
        reached |= todo
        todo = {after for name in todo for after in following(name)} - reached
    return reached


def _node_of(tensor: str) -> str:
    """Of `node`, `node:1` or `^node`."""
    return tensor.removeprefix("^").partition(":")[0]


def _called(nodes: Any, functions: Mapping[str, Any]) -> set[str]:
    """The functions that nodes call, by their operator or by an attribute."""
    attributes = [value for node in nodes for value in node.attr.values()]
    named = [func.name for value in attributes for func in (value.func, *value.list.func)]
    return {name for name in [*(node.op for node in nodes), *named] if name in functions}


def interpret_compiled(graph_def: Any) -> None:
    """Let TensorFlow run the functions of a graph operator by operator, in place, but those that it can't run so.

    Functions that are to be compiled by XLA become functions like others: what they compute is the same. Both Keras
    compile a convolution in groups, since an older TensorFlow had no other kernel of one on a CPU, and a model's own
    code may say `tf.function(jit_compile=True)`. No converter looks into such a function.
    """
    functions = graph_def.library.function
    found = [one for one in functions if _COMPILED in one.attr and one.attr[_COMPILED].b]
    plain = [one for one in found if not any(map(_is_compiled_alone, one.node_def))]
    if not plain:
        return
    names = {function.signature.name for function in plain}
    for function in plain:
        function.attr.pop(_COMPILED)
        function.attr.pop(_WHOLE, None)
    for node in every_node(graph_def):
        if "f" in node.attr and node.attr["f"].func.name in names:
            node.attr.pop(_COMPILED, None)
    # TensorFlow knows the functions as they were, and those that call them, by their names.
    for function in functions:
        function.signature.name += "_plain"
    for node in every_node(graph_def):
        for value in node.attr.values():
            for called in (*([value.func] if value.HasField("func") else []), *value.list.func):
                called.name += "_plain"


def _is_compiled_alone(node: Any) -> bool:
    """Whether TensorFlow has no kernel of an operator on a CPU but a compiled one."""
    return bool(node.op == "Conv3D" and node.attr["data_format"].s == b"NCDHW")


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
