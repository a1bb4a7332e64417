"""Functions that ONNX has not, or that lose their small results there."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rnnexport.conversion.handlers.making import Handler, Rewrite, Tensor


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


HANDLERS: Mapping[str, Handler] = {
    "Erfc": _erfc,
    "Expm1": _expm1,
    "Log1p": _log1p,
    "MulNoNan": _times_no_nan,
    "Xdivy": _product_or_zero("Div"),
    "Xlog1py": _product_or_zero("Log1p"),
    "Xlogy": _product_or_zero("Log"),
}
