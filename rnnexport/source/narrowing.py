"""A traced model with every float of another width made float32, and complex128 complex64.

Before:  Cast(x: float32, float64) -> MatMul(float64) -> Cast(float32)
After:   Cast(x: float32, float32) -> MatMul(float32) -> Cast(float32)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import tensorflow as tf

from rnnexport.compat.tensorflow import types_pb2
from rnnexport.core.signature import TEXT
from rnnexport.source.freezing import imported
from rnnexport.source.trace import TracedModel
from rnnexport.source.widening import retype_arguments, retyped

_NARROWED: Mapping[int, int] = {
    **dict.fromkeys((types_pb2.DT_DOUBLE, types_pb2.DT_HALF, types_pb2.DT_BFLOAT16), types_pb2.DT_FLOAT),
    types_pb2.DT_COMPLEX128: types_pb2.DT_COMPLEX64,
}


def in_float32(traced: TracedModel) -> TracedModel:
    """The model in float32 throughout. What goes in and comes out is float32 already."""
    graph_def = traced.graph_def()
    library = graph_def.library
    # TensorFlow keeps functions that it has seen, by their names.
    names = {function.signature.name: f"{function.signature.name}_in_float32" for function in library.function}
    for node in [*graph_def.node, *(node for function in library.function for node in function.node_def)]:
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
    nodes = [*graph_def.node, *(node for function in graph_def.library.function for node in function.node_def)]
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
