"""Shape arithmetic: integers that are sizes, computed while the program is written, so that nothing of it is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnexport.emit.c.arrays import Poly, Shape, Size, is_positive, product, quotient
from rnnexport.ir.terms import Term

_MOST = 64


@dataclass(frozen=True)
class Numbers:
    """A scalar or a vector of integers that are known as sizes.

    Attributes:
        shape: () or one length.
        flat: its elements.
    """

    shape: tuple[int, ...]
    flat: tuple[Size, ...]


Rule = Callable[[Term, Sequence["Numbers | None"]], "Numbers | None"]


def numbers_of(term: Term, operands: Sequence[Numbers | None], shapes: Sequence[Shape | None]) -> Numbers | None:
    """The numbers that a term always is, or None where they are not known."""
    if term.op == "Const":
        return of_array(term.array)
    if term.op == "Shape":
        shape = shapes[0]
        return None if shape is None else _vector(shape[slice(term.attribute("start", 0), term.attribute("end"))])
    if term.op == "Size":
        return None if shapes[0] is None else Numbers((), (product(shapes[0]),))
    rule = _RULES.get(term.op)
    if rule is None or term.dtype is None or np.dtype(term.dtype.numpy()).kind not in "iu":
        return None
    return rule(term, operands)


def of_array(array: np.ndarray) -> Numbers | None:
    """The numbers of a constant, where it is a short vector of integers or one integer."""
    if array.dtype.kind not in "iu" or array.ndim > 1 or array.size > _MOST:
        return None
    return Numbers(array.shape, tuple(int(item) for item in array.ravel()))


def _vector(flat: Sequence[Size]) -> Numbers:
    return Numbers((len(flat),), tuple(flat))


def _integers(numbers: Numbers | None) -> list[int] | None:
    if numbers is None or any(isinstance(item, Poly) for item in numbers.flat):
        return None
    return [item for item in numbers.flat if isinstance(item, int)]


def _same(term: Term, operands: Sequence[Numbers | None]) -> Numbers | None:
    return operands[0]


def _moved(term: Term, operands: Sequence[Numbers | None]) -> Numbers | None:
    """Squeeze, Unsqueeze and Reshape, to a scalar or a vector."""
    (source, *rest) = operands
    if source is None:
        return None
    if term.op == "Squeeze":
        return Numbers((), source.flat) if len(source.flat) == 1 else None
    if term.op == "Unsqueeze":
        return _vector(source.flat) if source.shape == () else None
    wanted = _integers(rest[0]) if rest else None
    if wanted is None or len(wanted) > 1:
        return None
    return Numbers((), source.flat) if not wanted else _vector(source.flat)


def _concat(term: Term, operands: Sequence[Numbers | None]) -> Numbers | None:
    if any(part is None for part in operands):
        return None
    return _vector([item for part in operands if part is not None for item in part.flat])


def _gather(term: Term, operands: Sequence[Numbers | None]) -> Numbers | None:
    source, at = operands[0], _integers(operands[1])
    if source is None or at is None or operands[1] is None:
        return None
    return Numbers(operands[1].shape, tuple(source.flat[index] for index in at))


def _slice(term: Term, operands: Sequence[Numbers | None]) -> Numbers | None:
    source, bounds = operands[0], [_integers(part) for part in operands[1:3]]
    step = _integers(operands[4]) if len(operands) > 4 else [1]
    if source is None or step is None or any(bound is None for bound in bounds):
        return None
    start, end = (bound[0] for bound in bounds if bound is not None)
    return _vector(source.flat[start : end if end > -len(source.flat) - 1 else None : step[0]])


def _split(term: Term, operands: Sequence[Numbers | None]) -> Numbers | None:
    """One of the parts: of the lengths that are given, else of equal ones, the last of which may be shorter."""
    source, parts = operands[0], len(term.call.results)
    if source is None:
        return None
    lengths = _integers(operands[1]) if len(operands) > 1 else [-(-len(source.flat) // parts)] * parts
    if lengths is None:
        return None
    start = sum(lengths[: term.port])
    return _vector(source.flat[start : start + lengths[term.port]])


def _pairs(found: Callable[[Size, Size], Size | None]) -> Rule:
    def rule(term: Term, operands: Sequence[Numbers | None]) -> Numbers | None:
        one, other = operands[0], operands[1]
        if one is None or other is None:
            return None
        count = max(len(one.flat), len(other.flat))
        left, right = (part.flat * (count if len(part.flat) == 1 else 1) for part in (one, other))
        made = [found(a, b) for a, b in zip(left, right, strict=True)]
        if any(item is None for item in made):
            return None
        return Numbers(one.shape or other.shape, tuple(item for item in made if item is not None))

    return rule


def _floor(a: Size, b: Size) -> Size | None:
    if isinstance(a, int) and isinstance(b, int):
        return None if b == 0 else int(a / b)
    return quotient(a, b)


def _largest(a: Size, b: Size) -> Size | None:
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return a if a == b or is_positive(a - b + 1) else b if is_positive(b - a + 1) else None


def _smallest(a: Size, b: Size) -> Size | None:
    larger = _largest(a, b)
    return None if larger is None else a + b - larger


def _prod(term: Term, operands: Sequence[Numbers | None]) -> Numbers | None:
    source = operands[0]
    if source is None:
        return None
    return Numbers((1,) if term.attribute("keepdims", 1) else (), (product(source.flat),))


def _where(term: Term, operands: Sequence[Numbers | None]) -> Numbers | None:
    return operands[1] if operands[1] == operands[2] else None


def _negated(term: Term, operands: Sequence[Numbers | None]) -> Numbers | None:
    source = operands[0]
    return None if source is None else Numbers(source.shape, tuple(-item for item in source.flat))


def _range(term: Term, operands: Sequence[Numbers | None]) -> Numbers | None:
    ends = [_integers(part) for part in operands]
    if any(end is None for end in ends):
        return None
    found = range(*(end[0] for end in ends if end is not None))
    return _vector(found) if len(found) <= _MOST else None


def _repeated(term: Term, operands: Sequence[Numbers | None]) -> Numbers | None:
    """Expand of a number to a vector, and ConstantOfShape."""
    wanted = _integers(operands[-1])
    if wanted is None or len(wanted) != 1 or wanted[0] > _MOST:
        return None
    if term.op == "ConstantOfShape":
        value: Any = term.attribute("value")
        fill = 0 if value is None else int(value.numpy().ravel()[0])
        return _vector((fill,) * wanted[0])
    source = operands[0]
    return _vector(source.flat * wanted[0]) if source is not None and len(source.flat) == 1 else None


_RULES: dict[str, Rule] = {
    **dict.fromkeys(("Cast", "Identity"), _same),
    **dict.fromkeys(("Squeeze", "Unsqueeze", "Reshape"), _moved),
    **dict.fromkeys(("Expand", "ConstantOfShape"), _repeated),
    "Concat": _concat,
    "Gather": _gather,
    "Slice": _slice,
    "Split": _split,
    "Add": _pairs(lambda a, b: a + b),
    "Sub": _pairs(lambda a, b: a - b),
    "Mul": _pairs(lambda a, b: a * b),
    "Div": _pairs(_floor),
    "Max": _pairs(_largest),
    "Min": _pairs(_smallest),
    "Neg": _negated,
    "Range": _range,
    "ReduceProd": _prod,
    "Where": _where,
}
