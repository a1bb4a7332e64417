"""Division with a remainder. TensorFlow rounds the quotient of `//` down and gives `%` the sign of the divisor.

tf2onnx writes `x - floor(x / y) * y`, which is off by the rounding of a quotient as large as x / y, and truncates the
quotient of integers.
"""

from __future__ import annotations

from collections.abc import Mapping

from rnnexport.conversion.handlers.making import Handler, Rewrite, Tensor


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


HANDLERS: Mapping[str, Handler] = {
    "FloorDiv": _floor_div,
    "FloorMod": _floor_mod,
    "Mod": _truncate_mod,
    "TruncateMod": _truncate_mod,
}
