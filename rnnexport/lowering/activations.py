"""Activations in normal form, and parts of lanes: the part of an activation is the activation of its sum's part."""

from __future__ import annotations

import numpy as np

from rnnexport.lowering.algebra import (
    ROUNDING,
    Act,
    Factor,
    Lanes,
    Product,
    Sum,
    lanes,
    negative,
    number,
    plus,
    single,
    times,
    total,
)

# f(-x) = -f(x), and f(-x) = 1 - f(x): of a sum and its negative, one is the normal form.
ODD = {"Tanh", "Softsign"}


def activation(function: str, argument: Sum, parameter: float = 0.0) -> Sum:
    """An activation in normal form. `Clip` is clip(x, 0, 1): every hard sigmoid is one of a scaled sum."""
    if function == "Relu":
        hard = _hard(argument)
        if hard is not None:
            return hard
    if leading_sign(argument) < 0:
        if function in ODD:
            return negative(single(Act(function, negative(argument), parameter)))
        if function == "Sigmoid":
            return plus(number(1.0, argument.width), single(Act(function, negative(argument))), -1)
        if function == "Clip":
            turned = plus(number(1.0, argument.width), argument, -1)
            return plus(number(1.0, argument.width), single(Act(function, turned)), -1)
    return single(Act(function, argument, parameter))


def leading_sign(value: Sum) -> float:
    """The sign of the first weight of something that is no constant: 1 - x and x differ in it, as -x and x do."""
    for _, product in sorted(value.products.items()):
        if product.factors or product.base:
            weights = product.weight.ravel()
            return float(np.sign(weights[np.flatnonzero(weights)[0]]))
    return 1.0


def written_out(value: Sum) -> Sum:
    """The activation that a sum is: (1 + tanh(x)) / 2 is sigmoid(2 x), and 2 sigmoid(x) - 1 is tanh(x / 2)."""
    numbers = [product for product in value.products.values() if not product.factors and not product.base]
    others = [product for product in value.products.values() if product.factors or product.base]
    if len(numbers) != 1 or len(others) != 1 or others[0].base or len(others[0].factors) != 1:
        return value
    act = others[0].factors[0]
    if not isinstance(act, Act):
        return value
    for function, offset, scale, into, inner in _WRITTEN_OUT:
        if act.function == function and _is(numbers[0], offset) and _is(others[0], scale):
            return activation(into, times(number(inner * np.sign(scale), act.width), act.argument))
    return value


# Of offset + scale * function(x): what it is, of which multiple of x.
_WRITTEN_OUT = (
    ("Tanh", 0.5, 0.5, "Sigmoid", 2.0),
    ("Tanh", 0.5, -0.5, "Sigmoid", 2.0),
    ("Sigmoid", -1.0, 2.0, "Tanh", 0.5),
    ("Sigmoid", 1.0, -2.0, "Tanh", 0.5),
)


def _is(product: Product, wanted: float) -> bool:
    return bool(np.all(np.abs(product.weight - wanted) <= ROUNDING * abs(wanted)))


def _hard(argument: Sum) -> Sum | None:
    """relu(s - a * relu(x)) is s * clip(1 - a / s * x, 0, 1), for s and a above 0."""
    constant, inner = None, None
    for product in argument.products.values():
        if not product.factors and not product.base:
            constant = product.weight
        elif len(product.factors) == 1 and not product.base and inner is None:
            inner = product
        else:
            return None
    if constant is None or inner is None or np.any(constant <= 0) or np.any(inner.weight >= 0):
        return None
    (factor,) = inner.factors
    if not isinstance(factor, Act) or factor.function != "Relu":
        return None
    slope = number(inner.weight / constant, argument.width)
    clipped = activation("Clip", plus(number(1.0, argument.width), times(slope, factor.argument)))
    return times(number(constant, argument.width), clipped)


def cut(value: Sum, start: int, stop: int) -> Sum:
    """Lanes start:stop."""
    if (start, stop) == (0, value.width):
        return value
    width, parts = stop - start, Sum({}, stop - start)
    for product in value.products.values():
        part = total([Product((), product.base, product.weight[..., start:stop])], width)
        for factor in product.factors:
            part = times(part, _cut_factor(factor, start, stop))
        parts = plus(parts, part)
    return parts


def _cut_factor(factor: Factor, start: int, stop: int) -> Sum:
    if factor.width == 1:
        return single(factor)
    if isinstance(factor, Lanes):
        return lanes(factor.leaf, factor.start + start, factor.start + stop, is_mask=factor.is_mask)
    return activation(factor.function, cut(factor.argument, start, stop), factor.parameter)
