"""Reductions that tf2onnx has not."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from rnnexport.conversion.handlers.making import Handler, Rewrite


def _euclidean_norm(node: Rewrite) -> None:
    """The root of the sum of squares along axes."""
    x, axes = node.inputs
    along = node("Reshape", node("Cast", axes, to=onnx.TensorProto.INT64), node.constant(np.array([-1], np.int64)))
    keep = int(node.attribute("keep_dims", 0))
    node.last("Sqrt", node("ReduceSum", node("Mul", x, x), along, keepdims=keep, noop_with_empty_axes=1))


HANDLERS: Mapping[str, Handler] = {"EuclideanNorm": _euclidean_norm}
