"""Products in less than float32: what TF32 makes of the operands of a matrix product, on a GPU that is let."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import onnx

from benchmarks.mutation.nodes import told
from benchmarks.mutation.view import FLOATS, Edit, Place, View

# Which inputs of an operator are operands of a product.
_OPERANDS = {"MatMul": (0, 1), "Gemm": (0, 1), "Conv": (0, 1), "LSTM": (0, 1, 2), "GRU": (0, 1, 2), "RNN": (0, 1, 2)}
# Veltkamp's splitting: with this factor 11 of the 24 significant bits stay, 10 of them after the point.
SPLIT = float(2**13 + 1)


def tf32(view: View) -> Iterator[Edit]:
    """The operands of products rounded to 10 bits after the point: of every product, and of each alone.

    The state inside an operator can't be reached: of these, X, W and R are rounded.
    """
    found = list(view.nodes(*_OPERANDS))
    if len(found) > 1:
        yield Edit("every product", partial(_round_all, view, found))
    for place, node in found:
        yield Edit(told(node), partial(_round, view, place, node))


def _round_all(view: View, found: list[tuple[Place, onnx.NodeProto]]) -> None:
    for place, node in found:
        _round(view, place, node)


def _round(view: View, place: Place, node: onnx.NodeProto) -> None:
    for at in _OPERANDS[node.op_type]:
        tensor, array = view.tensor(node.input[at]), view.array(node.input[at])
        if array is not None and tensor is not None and tensor.data_type in FLOATS:
            node.input[at] = view.constant(rounded(array))
        elif array is None:
            node.input[at] = _rounded_value(view, place, node, node.input[at])


def rounded(array: np.ndarray) -> np.ndarray:
    """Float32 rounded to 10 bits after the point, to the nearest, as TF32 reads it."""
    wide = array.astype(np.float32) * np.float32(SPLIT)
    return np.asarray(wide - (wide - array), np.float32)


def _rounded_value(view: View, place: Place, node: onnx.NodeProto, name: str) -> str:
    """The same as nodes."""
    wide = view.before(place, node, "Mul", [name, view.constant(np.float32(SPLIT))])
    return view.before(place, node, "Sub", [wide, view.before(place, node, "Sub", [wide, name])])
