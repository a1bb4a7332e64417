"""A frozen graph in other floats.

`widened`: every narrow type is made wide, float32 and its smaller kin float64, complex64 complex128.

1. Every operator that computes in a narrow type alone is replaced by wide ones, where `elementary` knows how.
2. Every type, list of types and tensor in an attribute is made wide, and so is every argument of a function, in all
   nodes of the graph and of every function it may call. A weight is the double of what it was; a constant of a few
   numbers is what the source says, 0.2 and not the float32 next to it, but where something is tested to be equal to it.
3. What is left is held against what TensorFlow has: `narrow_left` finds a node that still takes, gives or holds a
   narrow tensor, or that the CPU has no kernel for.

Before:  MatMul(x: float32, w: float32) -> Tanh -> Cast(float16) -> Cast(float32)
After:   MatMul(x: float64, w: float64) -> Tanh -> Cast(float64) -> Cast(float64)

`in_float32`: every float of another width is made float32, and complex128 complex64.

Before:  Cast(x: float32, float64) -> MatMul(float64) -> Cast(float32)
After:   Cast(x: float32, float32) -> MatMul(float32) -> Cast(float32)
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import tensorflow as tf

from rnnexport.compat.tensorflow import attr_value_pb2, op_def_registry, types_pb2
from rnnexport.core.signature import TEXT
from rnnexport.emit.numpy.expression import meant
from rnnexport.source.float64_safety import (
    FLOATS,
    REFERENCES,
    WIDER,
    AttrValue,
    GraphDef,
    Meaning,
    NodeDef,
    complete,
    elementary,
    is_narrow,
)
from rnnexport.source.freezing import imported
from rnnexport.source.graphs import every_node
from rnnexport.source.trace import TracedModel

FunctionDef = Any

# Of the attributes that say how to run a node, and not what it computes, the one that is a matter of speed alone.
_KEPT_HINT = "_lower_using_switch_merge"
# Constants of so many numbers are written into a program where they are used, as what they mean.
_SHORT = 4
_COMPARES = frozenset({"Equal", "NotEqual"})
Types = Mapping[int, int]  # the number of a type by that of the type that it takes the place of
Names = Mapping[str, str]  # of functions, the same
_SAME: Names = MappingProxyType({})
_NARROWED: Mapping[int, int] = {
    **dict.fromkeys((types_pb2.DT_DOUBLE, types_pb2.DT_HALF, types_pb2.DT_BFLOAT16), types_pb2.DT_FLOAT),
    types_pb2.DT_COMPLEX128: types_pb2.DT_COMPLEX64,
}


def widened(graph_def: GraphDef, weights: Collection[str] = (), meaning: Meaning = meant) -> GraphDef:
    """A copy of the graph in wide types. Call it where `obstacle` finds none.

    Args:
        graph_def: the graph.
        weights: nodes of it whose numbers stay what they are, however few.
        meaning: of the short constants.
    """
    wide = type(graph_def)()
    wide.versions.CopyFrom(graph_def.versions)
    made = _Retyped(meaning)
    wide.node.extend(_widened_nodes(graph_def.node, made, weights)[0])
    for function in graph_def.library.function:
        wide.library.function.append(_widened_function(function, made))
    wide.library.function.extend(made.bodies.values())
    return wide


@dataclass(frozen=True, eq=False)
class _Retyped:
    """What the constants of a graph mean, and the functions that became of operators, by what these had in common."""

    meaning: Meaning
    bodies: dict[str, FunctionDef] = field(default_factory=dict)


def _widened_nodes(
    nodes: Iterable[NodeDef], made: _Retyped, weights: Collection[str] = ()
) -> tuple[list[NodeDef], set[str]]:
    """Wide copies of the nodes, and the names of those that became calls. What these call is put into `made`."""
    wide, calls = [], set()
    nodes = list(map(complete, nodes))
    kept = {*weights, *(name.partition(":")[0] for node in nodes if node.op in _COMPARES for name in node.input)}
    for node in nodes:
        call = _call(node, made)
        if call is not None:
            calls.add(node.name)
        wide.append(_widened_node(node) if call is None else call)
        if node.op == "Const" and node.name not in kept:
            _give_meaning(wide[-1], node, made.meaning)
    return wide, calls


def _widened_node(node: NodeDef) -> NodeDef:
    wide = type(node)(name=node.name, op=node.op, input=node.input)
    for name, value in node.attr.items():
        if not name.startswith("_") or name == _KEPT_HINT:
            wide.attr[name].CopyFrom(_widened_value(value))
    return wide


def _give_meaning(wide: NodeDef, node: NodeDef, meaning: Meaning) -> None:
    """Make a short constant the number that the source says, in place."""
    tensor = node.attr["value"].tensor
    if tensor.dtype in FLOATS and math.prod(dim.size for dim in tensor.tensor_shape.dim) <= _SHORT:
        wide.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(meaning(tf.make_ndarray(tensor))))


def _widened_value(value: AttrValue) -> AttrValue:
    return retyped(value, WIDER) if is_narrow(value) else value


def _widened_function(function: FunctionDef, made: _Retyped) -> FunctionDef:
    """The function in wide types. Attributes of its own say how to run it, for what device, and in place of what."""
    wide = type(function)()
    wide.CopyFrom(function)
    wide.ClearField("attr")
    wide.ClearField("arg_attr")
    retype_arguments(wide.signature, WIDER)
    nodes, calls = _widened_nodes(function.node_def, made)
    outputs = {node.name: _output_names(node.op) for node in function.node_def if node.name in calls}
    for node in nodes:
        node.input[:] = [_renamed(tensor, outputs) for tensor in node.input]
    wide.ClearField("node_def")
    wide.node_def.extend(nodes)
    for name, tensor in list(wide.ret.items()):
        wide.ret[name] = _renamed(tensor, outputs)
    return wide


def _output_names(op: str) -> list[str]:
    """The operators that become calls have no output that is a list."""
    return [arg.name for arg in op_def_registry.get(op).output_arg]


def _renamed(tensor: str, outputs: dict[str, list[str]]) -> str:
    """In a function a tensor is `node:output:index`; the outputs of a call are one list, `output`."""
    node, _, rest = tensor.partition(":")
    if node not in outputs or not rest:
        return tensor
    return f"{node}:output:{outputs[node].index(rest.partition(':')[0])}"


def _call(node: NodeDef, made: _Retyped) -> NodeDef | None:
    """A call in place of a node that `elementary` knows. What is called is added to `made`, once for like nodes."""
    op, bodies = op_def_registry.get(node.op), made.bodies
    body = elementary(node.op, node.attr, made.meaning)
    if op is None or body is None:
        return None
    types = [other_type(arg.type or node.attr[arg.type_attr].type, WIDER) for arg in op.input_arg]
    specs = [tf.TensorSpec(None, tf.as_dtype(number)) for number in types]
    key = repr((node.op, types, sorted((name, str(value)) for name, value in node.attr.items() if name[0] != "_")))
    if key not in bodies:
        function = tf.function(body, autograph=False).get_concrete_function(*specs).function_def
        function.signature.name = f"in_float64_{len(bodies)}_{node.op}"
        bodies[key] = function
    signature = bodies[key].signature
    call = type(node)(name=node.name, op="PartitionedCall", input=node.input)
    call.attr["Tin"].list.type[:] = types
    call.attr["Tout"].list.type[:] = [arg.type for arg in signature.output_arg]
    call.attr["f"].func.name = signature.name
    return call


def retyped(value: AttrValue, types: Types, names: Names = _SAME) -> AttrValue:
    """A copy of an attribute with other types, other tensors of these, and other names of functions."""
    made = attr_value_pb2.AttrValue()
    made.CopyFrom(value)
    kind = value.WhichOneof("value")
    if kind == "type":
        made.type = other_type(value.type, types)
    elif kind == "tensor":
        made.tensor.CopyFrom(_tensor(value.tensor, types))
    elif kind == "func":
        _retype_call(made.func, types, names)
    elif kind == "list":
        made.list.type[:] = [other_type(number, types) for number in value.list.type]
        for tensor in made.list.tensor:
            tensor.CopyFrom(_tensor(tensor, types))
        for called in made.list.func:
            _retype_call(called, types, names)
    return made


def retype_arguments(signature: Any, types: Types) -> None:
    """Give what goes into and comes out of a function other types, in place."""
    for arg in (*signature.input_arg, *signature.output_arg):
        arg.type = other_type(arg.type, types)
        arg.ClearField("experimental_full_type")
        arg.ClearField("handle_data")


def other_type(number: int, types: Types) -> int:
    """The type that takes the place of one, or of what refers to one."""
    reference = number - number % REFERENCES
    return types.get(number - reference, number - reference) + reference


def _retype_call(called: Any, types: Types, names: Names) -> None:
    called.name = names.get(called.name, called.name)
    for key in list(called.attr):
        called.attr[key].CopyFrom(retyped(called.attr[key], types, names))


def _tensor(tensor: Any, types: Types) -> Any:
    if tensor.dtype not in types:
        return tensor
    dtype = tf.as_dtype(types[tensor.dtype]).as_numpy_dtype
    return tf.make_tensor_proto(tf.make_ndarray(tensor).astype(dtype))


def in_float32(traced: TracedModel) -> TracedModel:
    """The model in float32 throughout. What goes in and comes out is float32 already."""
    graph_def = traced.graph_def()
    library = graph_def.library
    # TensorFlow keeps functions that it has seen, by their names.
    names = {function.signature.name: f"{function.signature.name}_in_float32" for function in library.function}
    for node in every_node(graph_def):
        node.op = names.get(node.op, node.op)
        for key in list(node.attr):
            if key == "_output_shapes":
                continue
            node.attr[key].CopyFrom(retyped(node.attr[key], _NARROWED, names))
    for function in library.function:
        function.signature.name = names[function.signature.name]
        retype_arguments(function.signature, _NARROWED)
    del library.gradient[:]
    return _imported(traced, graph_def)


def within(traced: TracedModel) -> TracedModel | None:
    """The model in float32 throughout, where other floats are inside alone: no array of weights is one.

    None where some are weights, go in or come out, and where there are none: `keras.ops.quantile` of float32 computes
    places in float64.
    """
    graph_def = traced.graph_def()
    nodes = every_node(graph_def)
    kinds = {value.type for node in nodes for key, value in node.attr.items() if key != "_output_shapes"}
    arrays = [node.attr["value"].tensor for node in nodes if node.op == "Const"]
    outer = [spec.dtype for spec in (*traced.signature.all_inputs, *traced.signature.all_outputs)]
    others = [
        *(one.dtype for one in arrays if tf.TensorShape(one.tensor_shape).num_elements() != 1),
        *(tensor.dtype.as_datatype_enum for tensor in traced.open_weights.values()),
        *(tf.as_dtype(dtype).as_datatype_enum for dtype in outer if dtype != TEXT),
    ]
    return None if not kinds & set(_NARROWED) or set(others) & set(_NARROWED) else in_float32(traced)


def _imported(traced: TracedModel, graph_def: Any) -> TracedModel:
    weights = {name: _narrowed(tensor) for name, tensor in traced.open_weights.items()}
    graph = imported(graph_def, weights)
    element = graph.graph.get_tensor_by_name
    names = [spec.name for spec in traced.signature.all_outputs]
    outputs = {name: element(tensor) for name, tensor in zip(names, traced.output_tensors, strict=True)}
    function = graph.prune([element(tensor) for tensor in traced.input_tensors], outputs)
    return replace(traced, function=function, open_weights=weights)


def _narrowed(tensor: tf.Tensor) -> tf.Tensor:
    kind = _NARROWED.get(tensor.dtype.as_datatype_enum)
    return tensor if kind is None else tf.cast(tensor, kind)


def floats_in(traced: TracedModel) -> set[str]:
    """The floating-point dtypes of all tensors of a graph and of the functions that it may call."""
    graph = traced.function.graph.as_graph_def()
    types = {
        number for node in every_node(graph) for attr in node.attr.values() for number in (attr.type, *attr.list.type)
    }
    found = {tf.as_dtype(number) for number in types if number}
    return {dtype.name for dtype in found if dtype.is_floating}
