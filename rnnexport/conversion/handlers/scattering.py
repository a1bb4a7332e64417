"""Rows that are added at places, which may come up twice: below opset 16 ONNX has no operator that adds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from rnnexport.conversion.handlers.making import Handler, Rewrite, Tensor

_FIRST_OPSET = 16
_INT64 = onnx.TensorProto.INT64


def _scattered(node: Rewrite) -> None:
    """ScatterNd: sums of rows at their places in zeros; tf2onnx lets the last row at a place win."""
    places, rows, shape = node.inputs
    zero = onnx.numpy_helper.from_array(np.zeros(1, node.dtype(rows)))
    _added(node, node("ConstantOfShape", node("Cast", shape, to=_INT64), value=zero), places, rows)


def _scatter_added(node: Rewrite) -> None:
    """TensorScatterAdd."""
    _added(node, *node.inputs)


def _added(node: Rewrite, x: Tensor, places: Tensor, rows: Tensor) -> None:
    """Before: x[place] += row, in order     After: x + sum of the rows whose place each is (P places, R rows)."""
    places = node("Cast", places, to=_INT64)
    shape = node.shape(places)
    if node.opset >= _FIRST_OPSET:
        node.last("ScatterND", x, places, rows, reduction="add")
        return
    if shape is None or shape[-1] is None:
        node.last(node.op, x, places, rows)  # which ONNX has not: it is refused by name
        return
    sizes, whole, depth = node("Shape", x), _ints(node, -1), shape[-1]
    count = node("ReduceProd", node("Slice", sizes, _ints(node, 0), _ints(node, depth)), keepdims=0)
    place_R = _ints(node, 0)
    for at in range(depth):
        size = node("Gather", sizes, node.constant(np.array(at, np.int64)))
        column = node("Reshape", node("Gather", places, node.constant(np.array(at, np.int64)), axis=-1), whole)
        place_R = node("Add", node("Mul", place_R, size), column)
    number = [node.constant(np.array(value, np.int64)) for value in (0, 1)]
    every_P1 = node("Unsqueeze", node("Range", number[0], count, number[1]), _ints(node, 1))
    is_own_PR1 = node("Unsqueeze", node("Equal", every_P1, place_R), _ints(node, 2))
    inner = node("Slice", sizes, _ints(node, depth), _ints(node, 2**31))
    rows_1RD = node(
        "Unsqueeze", node("Reshape", rows, node("Concat", whole, _product(node, inner), axis=0)), _ints(node, 0)
    )
    sums = node("ReduceSum", node("Where", is_own_PR1, rows_1RD, node.number(0, rows)), _ints(node, 1), keepdims=0)
    node.last("Add", x, node("Reshape", sums, sizes))


def _product(node: Rewrite, sizes: Tensor) -> Tensor:
    """Of some sizes, [1]; 1 where there are none."""
    return node("ReduceProd", node("Concat", sizes, _ints(node, 1), axis=0), keepdims=1)


def _ints(node: Rewrite, *values: int) -> Tensor:
    return node.constant(np.array(values, np.int64))


HANDLERS: Mapping[str, Handler] = {"ScatterNd": _scattered, "TensorScatterAdd": _scatter_added}
