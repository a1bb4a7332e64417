"""A traced function without variables: the small ones are constants of its graph, the large ones stay with Keras.

A graph that holds its weights is copied whenever TensorFlow or a converter looks at it, and ends at 2 GiB. So what is
large is a placeholder of the graph, captured: nothing can read a number out of it, and a run is given the tensor.

Before: lstm_cell/kernel: Placeholder(resource) -> ReadVariableOp
After:  lstm_cell/kernel: Const (small), or Placeholder(float32, its shape), and the tensor beside the graph

It is made of parts of TensorFlow 2.16 to 2.21 that have no public name: `convert_variables_to_constants_v2` itself
holds every variable twice, as an array and in the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.compat.tensorflow import context, convert_to_constants
from rnnexport.source.graphs import every_node

# Bytes from which a weight stays outside the graph. Below it every pass may read, fold and copy it.
OPEN_FROM = 1 << 16
# Where operators are that read variables: no name of a traced graph begins like it.
_READ = "rnnexport_weights"
_COMPILED = "_XlaMustCompile"
_WHOLE = "_noinline"  # what is compiled must not be written out where it is called


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
