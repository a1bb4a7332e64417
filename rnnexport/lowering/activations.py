"""Activations in normal form, and parts of lanes: the part of an activation is the activation of its sum's part.

Rows of sums that stand side by side: a state may hold what are two states to the cell.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from rnnexport.lowering import algebra
from rnnexport.lowering.algebra import (
    ROUNDING,
    Act,
    Factor,
    Lanes,
    Product,
    Sum,
    Unreadable,
    lanes,
    negative,
    number,
    plus,
    single,
    times,
    total,
)
from rnnexport.lowering.reassociate import LARGE, is_one

# f(-x) = -f(x), and f(-x) = 1 - f(x): of a sum and its negative, one is the normal form.
ODD = {"Tanh", "Softsign"}
Row = tuple[Sum, ...]


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


def vector(value: np.ndarray) -> Sum:
    """A constant of one row, whatever its rank."""
    if value.size != (value.shape[-1] if value.ndim else 1) or value.dtype == bool:
        raise Unreadable("a constant of several rows")
    if np.abs(value, dtype=np.float64).max(initial=0) >= LARGE:
        raise Unreadable("a constant so large that it rounds what it is added to")
    return number(value)


def each(operation: Callable[[Sum, Sum], Sum], left: Row, right: Row) -> Row:
    """Part by part, both rows cut where either is; a row of one lane goes with every part."""
    if len(left) == 1 and left[0].width == 1:
        return tuple(operation(left[0], part) for part in right)
    if len(right) == 1 and right[0].width == 1:
        return tuple(operation(part, right[0]) for part in left)
    places = sorted({0, *_places(left), *_places(right)})
    if _places(left)[-1] != _places(right)[-1]:
        raise Unreadable("values of different widths meet")
    parts = []
    for start, stop in pairwise(places):
        (one,), (other,) = cut_row(left, start, stop), cut_row(right, start, stop)
        parts.append(operation(one, other))
    return tuple(parts)


def _places(row: Row) -> list[int]:
    return [int(place) for place in np.cumsum([part.width for part in row])]


def cut_row(row: Row, start: int, stop: int) -> Row:
    """Lanes start:stop of a row."""
    parts, at = [], 0
    for part in row:
        first, last = max(start, at), min(stop, at + part.width)
        if first < last:
            parts.append(cut(part, first - at, last - at))
        at += part.width
    return tuple(parts)


def clipped(part: Sum, low: float | None, high: float | None) -> Sum:
    """Between two bounds, or above or below one."""
    if low is not None and high is not None and high > low:
        scale = number(1.0 / (high - low))
        unit = activation("Clip", times(scale, plus(part, number(low), -1)))
        return plus(number(low, part.width), times(number(high - low), unit))
    if low is not None and high is None:
        return plus(number(low, part.width), activation("Relu", plus(part, number(low), -1)))
    if high is not None and low is None:
        return plus(number(high, part.width), activation("Relu", plus(number(high), part, -1)), -1)
    raise Unreadable("a clip between no bounds")


def exponent(part: Sum) -> Sum:
    """x, where the part is 1 + exp(x)."""
    acts = [act for act in algebra.acts_of(part) if act.function == "Exp"]
    if len(acts) == 1:
        rest = plus(part, algebra.single(acts[0]), -1)
        if is_one(algebra.constant_of(rest)):
            return acts[0].argument
    raise Unreadable("1 / x or log(x) of a value with a state in it")


def reciprocal(part: Sum) -> Sum:
    """1 / (1 + exp(x)), which is a sigmoid of -x."""
    power = exponent(part)
    return activation("Sigmoid", negative(power))


def quotient(above: Sum, below: Sum) -> Sum:
    """X / (1 + |x|), which is softsign; or anything over 1 + exp(x)."""
    for act in algebra.acts_of(below):
        same = above.equals(act.argument) or above.equals(negative(act.argument))
        if act.function == "Abs" and same and is_one(algebra.constant_of(plus(below, algebra.single(act), -1))):
            return activation("Softsign", above)
    return times(above, reciprocal(below))


def larger(one: Sum, other: Sum) -> Sum:
    """max(x, alpha * x), which is a leaky relu for an alpha between 0 and 1."""
    for value, scaled in ((one, other), (other, one)):
        for kind, product in value.products.items():
            found = scaled.products.get(kind)
            at = product.weight.ravel().nonzero()[0]
            if found is None or found.weight.shape != product.weight.shape:
                break
            alpha = float(found.weight.ravel()[at[0]] / product.weight.ravel()[at[0]])
            if 0 <= alpha < 1 and scaled.equals(times(number(alpha), value)):
                return activation("LeakyRelu", value, float(np.float32(alpha)))
            break
    raise Unreadable("Max of two values with a state in them")


def magnitude_of(part: Sum) -> Sum:
    """|x|, the same for -x."""
    if leading_sign(part) < 0:
        part = negative(part)
    return algebra.single(algebra.Act("Abs", part))
