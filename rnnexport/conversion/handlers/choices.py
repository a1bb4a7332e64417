"""Choices: of two values by a condition, of a place by an index, of a number by a word.

tf2onnx writes the first `c * a + (1 - c) * b`, which is NaN wherever the value that is not chosen is infinite or NaN:
what `where(x > 20, x, log(1 + exp(x)))` is written to keep away. And an index of -1 is to ONNX the last place of a
one-hot vector, to TensorFlow none.

Rows that are added at places, which may come up twice: below opset 16 ONNX has no operator that adds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from rnnexport.conversion.forms.text import HASH, WORDS
from rnnexport.conversion.handlers.making import Handler, Rewrite, Tensor

_INT64 = onnx.TensorProto.INT64
# ONNX Runtime has no Where of these; the wider type holds them all.
_WIDER = {np.dtype("int16"): onnx.TensorProto.INT32, np.dtype("uint16"): onnx.TensorProto.INT32}
_FIRST_OPSET = 16


def _select(node: Rewrite) -> None:
    """Where(condition, x, y), broadcast.

    Before: Select(c [B], x [B, T, H], y [B, T, H])     After: Where(c [B, 1, 1], x, y)

    That is the older operator, which chooses whole rows by a vector; SelectV2 broadcasts as ONNX does.
    """
    condition, x, y = node.inputs
    if node.op == "Select" and node.rank(condition) == 1 and (rank := node.rank(x) or node.rank(y)) != 1:
        if rank is None:
            node.last("Select", condition, x, y)  # which ONNX has not: it is refused by name
            return
        condition = node("Reshape", condition, node.constant(np.array([-1, *[1] * (rank - 1)], np.int64)))
    last_choice(node, _untiled(node, condition, (x, y)), x, y)


def _untiled(node: Rewrite, condition: Tensor, values: tuple[Tensor, ...]) -> Tensor:
    """A condition that is repeated to the size of the values, before it is: Where broadcasts.

    Keras repeats the mask of a timestep for each unit of a state.

    Before: Where(Tile(mask_B1, [1, H]), x_BH, y_BH)     After: Where(mask_B1, x_BH, y_BH)
    """
    op, read = node.made_by(condition)
    if op != "Tile" or (repeats := node.known(read[1])) is None or (shape := node.shape(read[0])) is None:
        return condition
    wholes = [whole for value in values if (whole := node.shape(value)) is not None and len(whole) == len(shape)]
    repeated = [axis for axis, count in enumerate(repeats) if count != 1]
    if any(all(shape[axis] == 1 and whole[axis] == repeats[axis] for axis in repeated) for whole in wholes):
        return read[0]
    return condition


def last_choice(node: Rewrite, condition: Tensor, x: Tensor, y: Tensor) -> None:
    """Where(condition, x, y) as the last node, in an operator that ONNX Runtime has."""
    dtype = node.dtype(x)
    if dtype == np.bool_:
        node.last("Or", node("And", condition, x), node("And", node("Not", condition), y))
    elif dtype in _WIDER:
        wide = [node("Cast", value, to=_WIDER[dtype]) for value in (x, y)]
        node.last("Cast", node("Where", condition, *wide), to=onnx.helper.np_dtype_to_tensor_dtype(dtype))
    else:
        node.last("Where", condition, x, y)


def _one_hot(node: Rewrite) -> None:
    """`on` at the index along a new axis, `off` elsewhere; `off` everywhere where the index is below 0 or too large."""
    indices, depth, on, off = node.inputs
    one = node.constant(np.array([1], np.int64))
    axis, is_scalar = node.attribute("axis", -1), node.rank(indices) == 0
    at, size = node("Cast", indices, to=_INT64), node("Reshape", node("Cast", depth, to=_INT64), one)
    if is_scalar:
        at, axis = node("Reshape", at, one), -1
    at = node("Where", node("Less", at, node.number(0, at)), size, at)
    hot = node("OneHot", at, size, node.constant(np.array([0, 1], np.float32)), axis=axis)
    if is_scalar:
        hot = node("Reshape", hot, node.constant(np.array([-1], np.int64)))
    last_choice(node, node("Cast", hot, to=onnx.TensorProto.BOOL), on, off)


def _number(node: Rewrite) -> None:
    words = node.attribute(WORDS, None)
    keys = None if words is None else _decoded(words)
    if keys is None:
        node.last(HASH, *node.inputs)  # which ONNX has not: it is refused by name
        return
    node.last(
        "LabelEncoder",
        *node.inputs,
        domain="ai.onnx.ml",
        keys_strings=keys,
        values_int64s=list(range(len(keys))),
        default_int64=-1,
    )


def _decoded(words: Sequence[bytes | str]) -> list[str] | None:
    """None where one is no UTF-8, as all text of ONNX is."""
    try:
        return [word.decode() if isinstance(word, bytes) else word for word in words]
    except UnicodeDecodeError:
        return None


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


HANDLERS: Mapping[str, Handler] = {
    "OneHot": _one_hot,
    "ScatterNd": _scattered,
    "Select": _select,
    "SelectV2": _select,
    "TensorScatterAdd": _scatter_added,
    HASH: _number,
}
