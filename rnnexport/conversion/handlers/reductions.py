"""Reductions: those that tf2onnx has not, or gives another number for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from tf2onnx import utils
from tf2onnx.onnx_opset.reduction import SegmentSum

from rnnexport.conversion.handlers.making import Handler, Handlers, Rewrite


def _euclidean_norm(node: Rewrite) -> None:
    """The root of the sum of squares along axes."""
    x, axes = node.inputs
    along = node("Reshape", node("Cast", axes, to=onnx.TensorProto.INT64), node.constant(np.array([-1], np.int64)))
    keep = int(node.attribute("keep_dims", 0))
    node.last("Sqrt", node("ReduceSum", node("Mul", x, x), along, keepdims=keep, noop_with_empty_axes=1))


def _refuse(graph: Any, node: Any, name: str, arguments: Any) -> None:
    """Nothing in the place of an operator: it is refused by name. These give 0 for a segment without elements."""


def _bounded(op: str, bound: str) -> Any:
    """A handler of tf2onnx, with its result bounded: TensorFlow has the lowest float for nothing, not -inf."""

    def convert(graph: Any, node: Any, name: str, arguments: Any) -> None:
        del arguments
        output = node.output[0]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(graph.get_dtype(output))
        if dtype.kind == "f":
            limit = graph.make_const(utils.make_name(f"{name}/bound"), np.array(getattr(np.finfo(dtype), bound), dtype))
            inputs = [output, limit.output[0]]
            graph.insert_new_node_on_output(op, output, inputs=inputs, name=utils.make_name(f"{name}/{op}"))
        SegmentSum.any_version(graph.opset, graph, node)

    return convert


HANDLERS: Mapping[str, Handler] = {"EuclideanNorm": _euclidean_norm}
WRAPPED: Handlers = {
    "SegmentMax": (_refuse, []),
    "SegmentMin": (_refuse, []),
    "UnsortedSegmentMax": (_bounded("Max", "min"), []),
    "UnsortedSegmentMin": (_bounded("Min", "max"), []),
}
