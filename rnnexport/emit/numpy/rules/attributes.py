"""What the rules of networks share: attributes as literals, factors before a value, calls of functions."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from rnnexport.emit.numpy.expression import Binding, Expression, Use, call, combined
from rnnexport.emit.numpy.rules.common import as_array, literal


def number(use: Use, name: str, default: float) -> Expression:
    """An attribute that is a float, in the shortest decimal form that ONNX stores as this."""
    return literal(np.float32(use.attributes.get(name, default)))


def word(use: Use, name: str, default: str) -> str:
    """An attribute that is a string."""
    found = use.attributes.get(name, default)
    return found.decode() if isinstance(found, bytes) else str(found)


def scaled(factor: Expression, value: Expression) -> Expression:
    """`factor * value`; the value where the factor is 1."""
    if factor.text == "1.0":
        return value
    return combined(f"{factor.within(Binding.PRODUCT)} * {value.within(Binding.UNARY)}", Binding.PRODUCT, [value])


def shifted(value: Expression, amount: Expression) -> Expression:
    """`value + amount`, or `value - -amount`; the value where the amount is 0."""
    if amount.text in ("0.0", "-0.0"):
        return value
    sign, text = ("-", amount.text[1:]) if amount.text.startswith("-") else ("+", amount.text)
    return combined(f"{value.within(Binding.SUM)} {sign} {text}", Binding.SUM, [value])


def helper(function: str, use: Use, *settings: str, inputs: Iterable[int] = (0,)) -> Expression:
    """`function(input, ..., setting, ...)` of a function of `operators`; of the inputs, those that are there."""
    values = [as_array(given) for at in inputs if (given := use.given(at)) is not None]
    return call(function, *(value.text for value in values), *settings, uses=values, helper=True)
