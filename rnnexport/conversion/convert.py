"""TensorFlow graph to ONNX by tf2onnx, with its rewriters of recurrences switched off, in a canonical form.

tf2onnx recognises LSTM and GRU cells by the shape of the graph, without checking which gate is which nor what its
activation is, and so turns look-alike cells into plain LSTMs. Without these rewriters every recurrence arrives as
one `Loop` that computes what the graph computes.

Constants that a graph computes, computed in float64, for programs that are run in float64 too.

A window, a filter bank or a table of angles is no constant of the source: tf2onnx would compute it in float32.

    Before: matrix = MatMul(Const, Sin(Range(0, 512, 1)))     After: matrix = Cast(Const: float64)

Short ones that are what the source says in any case stay, see `emit.numpy.expression`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import tensorflow as tf
from tf2onnx import convert

from rnnexport.compat.tensorflow import function_def_to_graph_def, op_def_registry
from rnnexport.compat.tf2onnx import tamed
from rnnexport.conversion.boundary import restore_boundary
from rnnexport.conversion.canonical import canonicalise, lookalikes, preference
from rnnexport.conversion.cleanup import ask_inputs_for_sizes, infer_shapes, leave_whole_axes_out, quiet
from rnnexport.conversion.forms import in_forms, no_form
from rnnexport.conversion.handlers import HANDLERS
from rnnexport.core.errors import ConversionError, ForeignCode, reason
from rnnexport.emit.numpy.expression import meant
from rnnexport.ir.from_onnx import Converted, NotConverted
from rnnexport.source.double import plain_session
from rnnexport.source.float64_safety import obstacle, remaining_narrow_type
from rnnexport.source.floats import widened
from rnnexport.source.graphs import every_node
from rnnexport.source.trace import Graphs, TracedModel

# The newest that tf2onnx writes.
NEWEST_OPSET = 18
GraphDef = Any
# Operators that move numbers.
_MOVES = frozenset(
    (
        *("BroadcastTo", "ConcatV2", "ExpandDims", "Fill", "GatherV2", "Identity", "Pack", "Pad", "PadV2", "Reshape"),
        *("ReverseV2", "Slice", "Squeeze", "StridedSlice", "Tile", "Transpose"),
    )
)
_SHORT, _LARGE = 4, 10**6
_SUFFIX = "in_float64"


def converted(traced: TracedModel, opset: int = NEWEST_OPSET) -> Converted:
    """Convert a model, its recurrences not unrolled, once for all that is written of it.

    Raises:
        ConversionError: an operator has no ONNX form; names it and the layer it is in.
    """
    traced = in_forms(traced)
    tensors = traced.weights()
    weights = {f"{node}:0": array for node, array in tensors.items()}
    model = to_onnx(traced, opset, list(tensors))
    restore_boundary(model, traced, list(weights))
    with quiet():
        infer_shapes(model)
        ask_inputs_for_sizes(model, model.graph.inputs[: len(traced.input_tensors)])
    names = replace(traced.names, weights={f"{node}:0": path for node, path in traced.names.weights.items()})
    return Converted(model, traced.signature, names, weights)


def conversion(traced: TracedModel) -> Converted | NotConverted:
    """What a model is converted to, or why it can't be."""
    try:
        # A fault of this package is no reason to refuse what needs no conversion: the report tells of it.
        with ForeignCode(lambda error: _failed(traced.name, error)):
            return converted(traced)
    except ConversionError as error:
        return NotConverted(error)


def require_converted(graphs: Graphs) -> Converted:
    """What is called, converted: as it was before, where it was. Raises as `converted`."""
    found = graphs.converted or conversion(graphs.main)
    if isinstance(found, NotConverted):
        raise found.error
    return found


def to_onnx(traced: TracedModel, opset: int, weights: Collection[str]) -> ir.Model:
    """Convert a traced model. Inputs and outputs still have their TensorFlow names.

    What is inside has its canonical order and names: equal models give equal graphs, in every process.

    Args:
        traced: the model.
        opset: of the graph, `NEWEST_OPSET` at most.
        weights: those of the model, by their nodes' names: they are inputs behind the others. What is computed from
            them stays written out, where the converter would compute it, and round it; what is computed from other
            constants is computed in float64.

    Raises:
        ConversionError: an op has no ONNX form; names it and the layer it is in.
    """
    graph_def = traced.graph_def()
    with_exact_constants(graph_def, weights)
    _open(graph_def, weights)
    try:
        with ForeignCode(lambda error: _BrokenError(reason(error))), tamed(preference, copying=False):
            model = _proto(traced, graph_def, opset, weights)
    except _BrokenError:
        with ForeignCode(lambda error: _unconvertible(traced.name, error)), tamed(preference, copying=True):
            model = _proto(traced, graph_def, opset, weights)
    unknown = list(_unknown_ops(model.graph, opset))
    if unknown:
        # An older opset is asked for where the newest has all that a model needs.
        raise no_form(unknown, traced.names.layers, NEWEST_OPSET if opset < NEWEST_OPSET else None)
    whole: ir.Model = ir.from_proto(model)
    _complete(whole)
    leave_whole_axes_out(whole)
    canonicalise(whole, lookalikes([node.name for node in every_node(graph_def)]))
    return whole


def _proto(traced: TracedModel, graph_def: Any, opset: int, weights: Iterable[str]) -> onnx.ModelProto:
    model, _ = convert.from_graph_def(
        graph_def,
        name=traced.name,
        input_names=[*traced.input_tensors, *(f"{node}:0" for node in weights)],
        output_names=list(traced.output_tensors),
        opset=opset,
        custom_op_handlers=dict(HANDLERS),
    )
    return model


class _BrokenError(Exception):
    """A pass of tf2onnx failed, or there is an operator that it does not know."""


def _open(graph_def: Any, weights: Collection[str]) -> None:
    """Make placeholders of constants, in place.

    Before: kernel = Const(value)     After: kernel = Placeholder(dtype, shape)
    """
    for node in graph_def.node:
        if node.op == "Const" and node.name in weights:
            tensor = node.attr["value"].tensor
            node.op = "Placeholder"
            node.attr["dtype"].type = tensor.dtype
            node.attr["shape"].shape.CopyFrom(tensor.tensor_shape)
            del node.attr["value"]


def _unknown_ops(graph: onnx.GraphProto, opset: int) -> Iterator[tuple[str, str]]:
    """(op, path) of every node, in bodies too, that ONNX does not define. tf2onnx leaves them in silently."""
    for node in graph.node:
        if not onnx.defs.has(node.op_type, opset, node.domain):
            yield node.op_type, node.name.rpartition("/")[0] or node.name
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _unknown_ops(attribute.g, opset)


def _complete(model: ir.Model) -> None:
    """Say what checkers and runtimes ask for: of a loop's step and condition the rank, of a size that it is all.

    Before: body(step, cond, ...)         After: body(step: [], cond: [], ...)
    Before: Resize(x, [], [], sizes)      After: Resize(x, , , sizes), which in a branch are no two ways of saying it
    """
    for node in model.graph.all_nodes():
        if node.op_type == "Loop":
            for value in node.attributes["body"].as_graph().inputs[:2]:
                value.shape = value.shape if value.shape is not None else ir.Shape([])
        if node.op_type == "Resize":
            for at, given in enumerate(node.inputs):
                known = None if given is None else ir.convenience.get_const_tensor(given)
                if known is not None and known.size == 0:
                    node.replace_input_with(at, None)


def _failed(name: str, error: BaseException) -> ConversionError:
    return ConversionError(f"converting {name} failed with {reason(error)}", "an ONNX graph", "report this model")


def _unconvertible(name: str, error: BaseException) -> ConversionError:
    return ConversionError(
        f"tf2onnx can't convert {name}: {reason(error)}",
        "operations that tf2onnx can convert",
        "report it; TFLite and SavedModel are made without that converter; --debug shows the traceback",
    )


def with_exact_constants(graph_def: GraphDef, weights: Collection[str]) -> None:
    """Put float64 constants in the place of what is computed of constants alone, in place.

    Args:
        graph_def: the graph.
        weights: constants of it that are to stay, and so what is computed of them.
    """
    for name, exact in _exact(graph_def, weights).items():
        _replace(graph_def.node, name, exact, "")
    for function in graph_def.library.function:
        with tf.Graph().as_default():
            tf.import_graph_def(type(graph_def)(library=graph_def.library), name="")
            body, _ = function_def_to_graph_def(function)
        ops = {node.name: op_def_registry.get(node.op) for node in function.node_def}
        found = _exact(body, {argument.name for argument in function.signature.input_arg})
        for name, exact in found.items():
            _replace(function.node_def, name, exact, ":output:0")
        renamed = {f"{name}:{ops[name].output_arg[0].name}:0": f"{name}:y:0" for name in found}
        for node in function.node_def:
            node.input[:] = [renamed.get(read, read) for read in node.input]
        for key, read in list(function.ret.items()):
            function.ret[key] = renamed.get(read, read)


@dataclass(frozen=True, eq=False)
class _Exact:
    """A tensor in float64, and the dtype that it has in the graph."""

    value: np.ndarray
    dtype: tf.DType


def _replace(nodes: Any, name: str, exact: _Exact, port: str) -> None:
    """Before: name = op(...)     After: name = Cast(Const)."""
    node = next(node for node in nodes if node.name == name)
    node.op, node.input[:] = "Cast", [f"{name}/{_SUFFIX}{port}"]
    node.attr.clear()
    node.attr["SrcT"].type, node.attr["DstT"].type = (kind.as_datatype_enum for kind in (tf.float64, exact.dtype))
    constant = nodes.add()
    constant.name, constant.op = f"{name}/{_SUFFIX}", "Const"
    constant.attr["dtype"].type = tf.float64.as_datatype_enum
    constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(exact.value))


def _exact(graph_def: GraphDef, open_nodes: Collection[str]) -> dict[str, _Exact]:
    """The results of arithmetic with constants that something else reads, by the names of the nodes.

    Args:
        graph_def: of a model or a function.
        open_nodes: what is no constant, though it may look like one.
    """
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(graph_def, name="")
    closed, computed = _closed(graph, open_nodes)
    wanted = [
        operation.outputs[0]
        for operation in graph.get_operations()
        if operation.name in computed
        and operation.outputs[0].dtype.is_floating
        and not _is_inner(operation.outputs[0], closed)
    ]
    part = type(graph_def)(versions=graph_def.versions, node=[node for node in graph_def.node if node.name in closed])
    values = _in_float64(part, [tensor.name for tensor in wanted]) if wanted else []
    return {
        tensor.op.name: _Exact(value, tensor.dtype)
        for tensor, value in zip(wanted, values, strict=False)
        if value.size < _LARGE and (value.size > _SHORT or not _is_meant(value, tensor.dtype))
    }


def _is_inner(tensor: tf.Tensor, closed: Collection[str]) -> bool:
    """Whether constants alone are computed of it."""
    readers = tensor.consumers()
    return bool(readers) and all(reader.name in closed for reader in readers)


def _is_meant(value: np.ndarray, dtype: tf.DType) -> bool:
    """Whether a short constant is the number that is read in what its dtype holds of it: 0.5 is, log(2) is not.

    Of a float64 it is not known: it may be cast from a float32, 0.3 from 0.30000001.
    """
    return dtype != tf.float64 and bool(
        np.array_equal(meant(value.astype(dtype.as_numpy_dtype)), value, equal_nan=True)
    )


def _closed(graph: tf.Graph, open_nodes: Collection[str]) -> tuple[set[str], set[str]]:
    """The operations that depend on constants alone, and those of them that give other numbers than these."""
    closed: set[str] = set()
    computed: set[str] = set()
    for operation in graph.get_operations():
        if operation.type == "Const" and operation.name not in open_nodes:
            closed.add(operation.name)
        elif _is_plain(operation) and all(tensor.op.name in closed for tensor in operation.inputs):
            closed.add(operation.name)
            if operation.type not in _MOVES or any(tensor.op.name in computed for tensor in operation.inputs):
                computed.add(operation.name)
    return closed, computed


def _is_plain(operation: tf.Operation) -> bool:
    """Whether it has inputs and one output, runs no functions, and gives the same each time."""
    calls = any(value.HasField("func") or value.list.func for value in operation.node_def.attr.values())
    return bool(operation.inputs) and len(operation.outputs) == 1 and not calls and not operation.op_def.is_stateful


def _in_float64(graph_def: GraphDef, tensors: list[str]) -> list[np.ndarray]:
    """The values of tensors of a graph without inputs; none where TensorFlow can't compute them so."""
    if obstacle(graph_def) or remaining_narrow_type(wide := widened(graph_def)):
        return []
    graph = tf.Graph()
    try:
        with graph.as_default(), ForeignCode(lambda error: _UnknownError(reason(error))):
            tf.import_graph_def(wide, name="")
            values: list[np.ndarray] = plain_session(graph).run(tensors)
            return values
    except _UnknownError:
        return []


class _UnknownError(Exception):
    """TensorFlow can't compute the constants in float64."""
