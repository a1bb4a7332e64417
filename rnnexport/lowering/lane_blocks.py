"""Rows of sums that stand side by side: a state may hold what are two states to the cell."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from rnnexport.lowering import algebra
from rnnexport.lowering.activations import activation, cut, leading_sign
from rnnexport.lowering.algebra import Sum, Unreadable, negative, number, plus, times
from rnnexport.lowering.reassociate import LARGE, is_one

Row = tuple[Sum, ...]


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
