"""The angle of a point, and the sign of a number, down to the sign of zero."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rnnexport.conversion.handlers.bits import bitwise
from rnnexport.conversion.handlers.making import Handler, Rewrite, Tensor

_SIGN_BIT = -(2**31)


def _atan2(node: Rewrite) -> None:
    """The angle of the point (x, y) by the first octant; tf2onnx has none for infinite points, and another for -0."""
    y, x = node.inputs
    width, height = node("Abs", x), node("Abs", y)
    small, large = node("Min", width, height), node("Max", width, height)
    zero, one, half_pi = (node.number(value, x) for value in (0, 1, np.pi / 2))
    ratio = node("Where", node("Equal", large, zero), large, node("Div", small, large))
    ratio = node("Where", node("Equal", small, node.number(np.inf, x)), one, ratio)
    octant = node("Atan", ratio)
    quadrant = node("Where", node("Less", width, height), node("Sub", half_pi, octant), octant)
    half = node("Where", _is_negative(node, x), node("Sub", node.number(np.pi, x), quadrant), quadrant)
    node.last("Where", _is_negative(node, y), node("Neg", half), half)


def _is_negative(node: Rewrite, x: Tensor) -> Tensor:
    """Whether the sign of a number is minus, that of zero too; not of a NaN."""
    zero = node.number(0, x)
    return node("Or", node("Less", x, zero), node("Less", node("Div", node.number(1, x), x), zero))


def _bitwise_and(node: Rewrite) -> None:
    """The sign bit of a float, where it is that which is asked for; ONNX can read no bits before opset 26.

    `keras.ops.argmax` asks for it.

    Before: BitwiseAnd(Bitcast(x), 0x80000000)     After: Where(x is negative, -2147483648, 0)
    """
    left, right = node.inputs
    op, read = node.made_by(left)
    mask = node.known(right)
    if op == "Bitcast" and mask is not None and np.all(mask == _SIGN_BIT) and node.dtype(read[0]) == np.float32:
        bit, zero = (node.constant(np.array(value, np.int32)) for value in (_SIGN_BIT, 0))
        node.last("Where", _is_negative(node, read[0]), bit, zero)
    else:
        bitwise(node)


HANDLERS: Mapping[str, Handler] = {"Atan2": _atan2, "BitwiseAnd": _bitwise_and}
