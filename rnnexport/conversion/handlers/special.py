"""Functions of numbers that ONNX has not, or that lose their small results there, and division with a remainder.

TensorFlow rounds the quotient of `//` down and gives `%` the sign of the divisor. tf2onnx writes `x - floor(x / y) *
y`, which is off by the rounding of a quotient as large as x / y, and truncates the quotient of integers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from rnnexport.conversion.handlers.bits import bitwise
from rnnexport.conversion.handlers.making import Handler, Rewrite, Tensor

_SIGN_BIT = -(2**31)


def _erfc(node: Rewrite) -> None:
    """What Keras 3 writes `gelu` with: 1 - erf(x). An error of the last digit of 1, which `1 + erf(-x)` has as well."""
    (x,) = node.inputs
    node.last("Sub", node.number(1, x), node("Erf", x))


def _expm1(node: Rewrite) -> None:
    """exp(x) - 1 = tanh(x / 2) * (exp(x) + 1), which keeps the digits of a small x."""
    (x,) = node.inputs
    half = node("Tanh", node("Mul", x, node.number(0.5, x)))
    node.last("Mul", half, node("Add", node("Exp", x), node.number(1, x)))


def _log1p(node: Rewrite) -> None:
    """log(1 + x)."""
    (x,) = node.inputs
    node.last("Where", *_log_of_one_plus(node, x))


def _log_of_one_plus(node: Rewrite, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log(1 + x) as a choice that keeps the digits of a small x.

    With u the rounded 1 + x: x where u is 1 or infinite, else log(u) * (x / (u - 1)): what u has lost of x is put back
    in proportion (W. Kahan's).
    """
    one = node.number(1, x)
    u = node("Add", x, one)
    found = node("Mul", node("Log", u), node("Div", x, node("Sub", u, one)))
    alike = node("Or", node("Equal", u, one), node("Equal", u, node.number(np.inf, x)))
    return alike, x, found


def _product_or_zero(function: str) -> Handler:
    """X * function(y), and 0 where x is 0, whatever y is."""

    def write(node: Rewrite) -> None:
        x, y = node.inputs
        if function == "Log1p":
            product = node("Mul", x, node("Where", *_log_of_one_plus(node, y)))
        elif function == "Div":
            product = node("Div", x, y)
        else:
            product = node("Mul", x, node(function, y))
        zero = node.number(0, x)
        node.last("Where", node("Equal", x, zero), zero, product)

    return write


def _times_no_nan(node: Rewrite) -> None:
    """X * y, and 0 where y is 0, even if x is infinite or NaN."""
    x, y = node.inputs
    zero = node.number(0, y)
    node.last("Where", node("Equal", y, zero), zero, node("Mul", x, y))


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


def _floor_mod(node: Rewrite) -> None:
    """Exact: the remainder of the quotient rounded toward zero, and the divisor added where its sign is the other."""
    x, y = node.inputs
    if not node.is_float(x):
        node.last("Mod", x, y)  # of integers it has the sign of the divisor
        return
    remainder = node("Mod", x, y, fmod=1)
    node.last("Where", _is_turned(node, remainder, remainder, y), node("Add", remainder, y), remainder)


def _floor_div(node: Rewrite) -> None:
    """Of integers the quotient rounded toward zero, less 1 where that is not down."""
    x, y = node.inputs
    quotient = node("Div", x, y)
    if node.is_float(x):
        node.last("Floor", quotient)
        return
    below = node("Sub", quotient, node.number(1, x))
    node.last("Where", _is_turned(node, node("Mod", x, y), x, y), below, quotient)


def _is_turned(node: Rewrite, remainder: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Whether there is a remainder, and `x` and `y` have different signs."""
    zero = node.number(0, x)
    exact = node("Equal", remainder, zero)
    return node("And", node("Not", exact), node("Xor", node("Less", x, zero), node("Less", y, zero)))


def _truncate_mod(node: Rewrite) -> None:
    """The remainder of a quotient rounded toward zero; it has the sign of `x`."""
    node.last("Mod", *node.inputs, fmod=1)


def _euclidean_norm(node: Rewrite) -> None:
    """The root of the sum of squares along axes."""
    x, axes = node.inputs
    along = node("Reshape", node("Cast", axes, to=onnx.TensorProto.INT64), node.constant(np.array([-1], np.int64)))
    keep = int(node.attribute("keep_dims", 0))
    node.last("Sqrt", node("ReduceSum", node("Mul", x, x), along, keepdims=keep, noop_with_empty_axes=1))


HANDLERS: Mapping[str, Handler] = {
    "Atan2": _atan2,
    "BitwiseAnd": _bitwise_and,
    "Erfc": _erfc,
    "EuclideanNorm": _euclidean_norm,
    "Expm1": _expm1,
    "FloorDiv": _floor_div,
    "FloorMod": _floor_mod,
    "Log1p": _log1p,
    "Mod": _truncate_mod,
    "MulNoNan": _times_no_nan,
    "TruncateMod": _truncate_mod,
    "Xdivy": _product_or_zero("Div"),
    "Xlog1py": _product_or_zero("Log1p"),
    "Xlogy": _product_or_zero("Log"),
}
