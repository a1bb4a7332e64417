"""Constants that a graph computes, computed in float64, for programs that are run in float64 too.

A window, a filter bank or a table of angles is no constant of the source: tf2onnx would compute it in float32.

    Before: matrix = MatMul(Const, Sin(Range(0, 512, 1)))     After: matrix = Cast(Const: float64)

Short ones that are what the source says in any case stay, see `emit.numpy.meaning`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.compat.tensorflow import function_def_to_graph_def, op_def_registry
from rnnexport.core.errors import ForeignCode, reason
from rnnexport.emit.numpy.constants import meant
from rnnexport.source.double import plain_session
from rnnexport.source.float64_safety import narrow_left, obstacle
from rnnexport.source.floats import widened

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
    if obstacle(graph_def) or narrow_left(wide := widened(graph_def)):
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
