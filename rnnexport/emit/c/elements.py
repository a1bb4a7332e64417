"""Shape arithmetic in C: integers that are sizes are computed while the program is written."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnexport.emit.c.arrays import Shape, Size, is_positive, product, quotient
from rnnexport.ir.size_arithmetic import Vector, of_numbers, of_term
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


def numbers_of(term: Term, operands: Sequence[Numbers | None], shapes: Sequence[Shape | None]) -> Numbers | None:
    """The numbers that a term always is, or None where they are not known."""
    if term.op == "Const":
        return of_array(term.array)
    if term.op == "Shape":
        shape = shapes[0]
        return None if shape is None else _vector(shape[slice(term.attribute("start", 0), term.attribute("end"))])
    if term.op == "Size":
        return None if shapes[0] is None else Numbers((), (product(shapes[0]),))
    if term.dtype is None or np.dtype(term.dtype.numpy()).kind not in "iu":
        return None
    given = [None if part is None else Vector(len(part.shape), part.flat) for part in operands]
    found = of_term(term, given, _POLYNOMIALS)
    if found is None or None in found.flat:
        return None
    return _vector(found.flat) if found.rank else Numbers((), found.flat)


def of_array(array: np.ndarray) -> Numbers | None:
    """The numbers of a constant, where it is a short vector of integers or one integer."""
    if array.dtype.kind not in "iu" or array.ndim > 1 or array.size > _MOST:
        return None
    return Numbers(array.shape, tuple(int(item) for item in array.ravel()))


def _vector(flat: Sequence[Size]) -> Numbers:
    return Numbers((len(flat),), tuple(flat))


def _largest(a: Size, b: Size) -> Size | None:
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return a if a == b or is_positive(a - b + 1) else b if is_positive(b - a + 1) else None


def _smallest(a: Size, b: Size) -> Size | None:
    larger = _largest(a, b)
    return None if larger is None else a + b - larger


def _quotient(a: Size, b: Size) -> Size | None:
    return _WHOLE.quotient(a, b) if isinstance(a, int) and isinstance(b, int) else quotient(a, b)


_WHOLE = of_numbers(_MOST)
_POLYNOMIALS = replace(
    _WHOLE,
    plus=operator.add,
    minus=operator.sub,
    times=operator.mul,
    quotient=_quotient,
    least=_smallest,
    greatest=_largest,
)
