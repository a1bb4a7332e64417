"""Operators on sizes that the program knows: they give sizes again, and no vectors are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce

import numpy as np

from rnnexport.emit.numpy.expression import Expression, Size, Use
from rnnexport.emit.numpy.rules.common import result_dtype
from rnnexport.emit.numpy.rules.making import dtype_named
from rnnexport.emit.numpy.rules.sizes import (
    LONGEST,
    chosen,
    compared,
    elements_of,
    greatest,
    inverted,
    is_natural,
    known_integers,
    least,
    minus,
    number_of,
    plus,
    quotient,
    remainder,
    sized,
    times,
    truth_of,
)

# None where the elements are not known: then the operator is written as any other.
SizeRule = Callable[[Use], Expression | None]
_Combine = Callable[[Size, Size], Size | None]


def _is_integer(name: str | None) -> bool:
    return name is not None and name.startswith(("int", "uint"))


def _given(use: Use) -> list[tuple[Size, ...]] | None:
    """The elements of all inputs; None where some are not known."""
    found = [elements_of(operand) for operand in use.inputs]
    known = [elements for elements in found if elements is not None]
    return known if len(known) == len(found) else None


def _made(use: Use, elements: Sequence[Size | None], rank: int) -> Expression | None:
    known = tuple(element for element in elements if element is not None)
    if len(known) != len(elements) or len(known) > LONGEST:
        return None
    return sized(known, rank, result_dtype(use))


def _each(combine: Callable[..., Size | None]) -> SizeRule:
    """Element by element; one element goes with each of the others."""

    def rule(use: Use) -> Expression | None:
        given = _given(use)
        if given is None:
            return None
        rank = max(use.operand(at).rank or 0 for at in range(len(given)))
        count = max(map(len, given)) if all(given) else 0
        if any(len(elements) not in (1, count) for elements in given):
            return None
        rows = zip(*(elements * count if len(elements) == 1 else elements for elements in given), strict=True)
        return _made(use, [combine(*row) for row in rows] if count else [], rank)

    return rule


def _all_of(combine: Callable[[Size, Size], Size]) -> SizeRule:
    """Of two inputs or more."""
    return _each(lambda *sizes: reduce(combine, sizes))


def _modulo(use: Use) -> Expression | None:
    return None if use.attributes.get("fmod", 0) else _each(remainder)(use)


def _truncating_quotient(use: Use) -> Expression | None:
    return _each(quotient)(use) if _is_integer(result_dtype(use)) else None


def _absolute(use: Use) -> Expression | None:
    return _each(lambda a: abs(a) if isinstance(a, int) else (a if is_natural(a) else None))(use)


def _cast(use: Use) -> Expression | None:
    name, elements = dtype_named(int(use.attributes["to"])), elements_of(use.operand(0))
    if elements is None or not (_is_integer(name) or name == "bool"):
        return None
    change = truth_of if name == "bool" else number_of
    return sized(tuple(map(change, elements)), use.operand(0).rank or 0, name)


def _concat(use: Use) -> Expression | None:
    given = _given(use)
    return None if given is None else _made(use, [element for elements in given for element in elements], 1)


def _gather(use: Use) -> Expression | None:
    elements, numbers = elements_of(use.operand(0)), known_integers(elements_of(use.operand(1)))
    if elements is None or numbers is None or use.operand(0).rank != 1:
        return None
    if not all(-len(elements) <= number < len(elements) for number in numbers):
        return None
    return _made(use, [elements[number] for number in numbers], use.operand(1).rank or 0)


def _slice(use: Use) -> Expression | None:
    elements = elements_of(use.operand(0))
    bounds = [known_integers(elements_of(use.operand(at))) for at in (1, 2)]
    stepped = use.given(4)
    steps = (1,) if stepped is None else known_integers(elements_of(stepped))
    if elements is None or steps is None or None in bounds or use.operand(0).rank != 1:
        return None
    (starts, ends) = bounds
    assert starts is not None
    assert ends is not None
    if len(starts) != 1:
        return None
    return _made(use, elements[starts[0] : ends[0] : steps[0]], 1)


def _split(use: Use) -> tuple[Expression, ...] | None:
    elements, given = elements_of(use.operand(0)), use.given(1)
    parts = None if given is None else known_integers(elements_of(given))
    if elements is None or parts is None or use.operand(0).rank != 1:
        return None
    ends = np.cumsum(parts)
    return tuple(
        sized(elements[end - size : end], 1, use.operand(0).dtype) for size, end in zip(parts, ends, strict=True)
    )


def _squeeze(use: Use) -> Expression | None:
    elements = elements_of(use.operand(0))
    return sized(elements, 0, result_dtype(use)) if elements is not None and len(elements) == 1 else None


def _unsqueeze(use: Use) -> Expression | None:
    elements, axes = elements_of(use.operand(0)), known_integers(elements_of(use.operand(1)))
    if elements is None or axes is None or use.operand(0).rank != 0 or len(axes) != 1:
        return None
    return sized(elements, 1, result_dtype(use))


def _reshape(use: Use) -> Expression | None:
    elements, target = elements_of(use.operand(0)), known_integers(elements_of(use.operand(1)))
    if elements is None or target is None or not elements:
        return None
    if target in ((-1,), (len(elements),)):
        return sized(elements, 1, result_dtype(use))
    return sized(elements, 0, result_dtype(use)) if not target and len(elements) == 1 else None


def _expand(use: Use) -> Expression | None:
    elements, target = elements_of(use.operand(0)), known_integers(elements_of(use.operand(1)))
    if elements is None or target is None or len(target) != 1:
        return None
    if len(elements) != 1 or target[0] in (1, len(elements)):
        return sized(elements, 1, result_dtype(use)) if target[0] in (1, len(elements)) else None
    return _made(use, elements * target[0], 1)


def _constant_of_shape(use: Use) -> Expression | None:
    target, value = known_integers(elements_of(use.operand(0))), use.attributes.get("value")
    if target is None or len(target) != 1 or value is None or np.asarray(value).dtype.kind not in "iu":
        return None
    if target[0] > LONGEST:
        return None
    return sized((int(np.asarray(value).ravel()[0]),) * target[0], 1, str(np.asarray(value).dtype))


def _range(use: Use) -> Expression | None:
    given = _given(use)
    numbers = known_integers(tuple(item for elements in given for item in elements)) if given is not None else None
    if numbers is None or len(numbers) != 3 or numbers[2] == 0 or not _is_integer(result_dtype(use)):
        return None
    return _made(use, list(range(*numbers)[: LONGEST + 1]), 1)


def _reduction(combine: _Combine, nothing: Size | None) -> SizeRule:
    """All elements into one; `nothing` is what none give."""

    def rule(use: Use) -> Expression | None:
        x, given = use.operand(0), use.given(1)
        elements = elements_of(x)
        axes = use.attributes.get("axes", ()) if given is None else known_integers(elements_of(given))
        if elements is None or axes is None or x.rank != 1:
            return None
        if not len(axes) and use.attributes.get("noop_with_empty_axes", 0):
            return sized(elements, 1, result_dtype(use))
        total: Size | None = elements[0] if elements else nothing
        for element in elements[1:]:
            total = None if total is None else combine(total, element)
        return _made(use, [total], 1 if use.attributes.get("keepdims", 1) else 0)

    return rule


def _same(use: Use) -> Expression | None:
    elements = elements_of(use.operand(0))
    return None if elements is None else sized(elements, use.operand(0).rank or 0, result_dtype(use))


SIZE_RULES: Mapping[str, Callable[[Use], Expression | tuple[Expression, ...] | None]] = {
    "Abs": _absolute,
    "Add": _each(plus),
    "Cast": _cast,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Div": _truncating_quotient,
    "Equal": _each(lambda a, b: compared("==", a, b)),
    "Expand": _expand,
    "Gather": _gather,
    "Greater": _each(lambda a, b: compared(">", a, b)),
    "GreaterOrEqual": _each(lambda a, b: compared(">=", a, b)),
    "Identity": _same,
    "Less": _each(lambda a, b: compared("<", a, b)),
    "LessOrEqual": _each(lambda a, b: compared("<=", a, b)),
    "Max": _all_of(greatest),
    "Min": _all_of(least),
    "Mod": _modulo,
    "Mul": _each(times),
    "Neg": _each(lambda a: minus(0, a)),
    "Not": _each(inverted),
    "Range": _range,
    "ReduceMax": _reduction(greatest, None),
    "ReduceMin": _reduction(least, None),
    "ReduceProd": _reduction(times, 1),
    "ReduceSum": _reduction(plus, 0),
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Sub": _each(minus),
    "Unsqueeze": _unsqueeze,
    "Where": _each(chosen),
}
