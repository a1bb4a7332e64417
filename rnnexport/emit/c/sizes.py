"""Sizes of a C program: numbers, and polynomials of the lengths that a caller gives, `64 * T + 3`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Union

Monomial = tuple[str, ...]
Size = Union[int, "Poly"]


@dataclass(frozen=True)
class Poly:
    """A polynomial with whole coefficients that is no number.

    Attributes:
        terms: coefficient of each product of letters, sorted; `()` for what is added.
    """

    terms: tuple[tuple[Monomial, int], ...]

    def __add__(self, other: Size) -> Size:
        return _sum([*self.terms, *_terms(other)])

    def __mul__(self, other: Size) -> Size:
        mine, others = self.terms, _terms(other)
        return _sum((tuple(sorted(a + b)), m * n) for a, m in mine for b, n in others)

    def __neg__(self) -> Size:
        return self * -1

    def __sub__(self, other: Size) -> Size:
        return self + -other

    def __rsub__(self, other: int) -> Size:
        return -self + other

    __radd__ = __add__
    __rmul__ = __mul__

    def __str__(self) -> str:
        return text(self)


def letter(name: str) -> Size:
    """The length that a caller gives under that name."""
    return Poly((((name,), 1),))


def _terms(size: Size) -> tuple[tuple[Monomial, int], ...]:
    return size.terms if isinstance(size, Poly) else (((), size),) if size else ()


def _sum(terms: Iterable[tuple[Monomial, int]]) -> Size:
    found: dict[Monomial, int] = {}
    for monomial, factor in terms:
        found[monomial] = found.get(monomial, 0) + factor
    kept = tuple(sorted((monomial, factor) for monomial, factor in found.items() if factor))
    if not kept:
        return 0
    return kept[0][1] if kept[0][0] == () and len(kept) == 1 else Poly(kept)


def quotient(size: Size, by: Size) -> Size | None:
    """`size / by` where it has no remainder, whatever the lengths; None elsewhere."""
    if isinstance(size, int) and isinstance(by, int):
        return size // by if by and size % by == 0 else None
    if size == 0:
        return 0
    divisor = _terms(by)
    if len(divisor) != 1:
        return 1 if size == by else None
    (gone, factor), parts = divisor[0], []
    for monomial, coefficient in _terms(size):
        left = list(monomial)
        for name in gone:
            if name not in left:
                return None
            left.remove(name)
        if coefficient % factor:
            return None
        parts.append((tuple(left), coefficient // factor))
    return _sum(parts)


def product(sizes: Iterable[Size]) -> Size:
    """The product; 1 of none."""
    return prod(sizes, start=1)


def at(size: Size, lengths: Mapping[str, int]) -> int:
    """The number that a size is for these lengths."""
    return sum(factor * prod(lengths[name] for name in monomial) for monomial, factor in _terms(size))


def letters(size: Size) -> set[str]:
    """The lengths that a size depends on."""
    return {name for monomial, _ in _terms(size) for name in monomial}


def is_positive(size: Size) -> bool:
    """Whether a size is above 0 for all lengths from 1 on; False where that is not known."""
    terms = dict(_terms(size))
    return sum(terms.values()) > 0 and all(factor > 0 for monomial, factor in terms.items() if monomial)


def text(size: Size) -> str:
    """As C has it, without brackets around a sum."""
    if isinstance(size, int):
        return str(size)
    parts = sorted(size.terms, key=lambda term: (-len(term[0]), term[0]))
    found = ""
    for monomial, factor in parts:
        number = [str(abs(factor))] if abs(factor) != 1 or not monomial else []
        one = " * ".join([*number, *monomial])
        found += (" - " if factor < 0 else " + ") + one if found else ("-" if factor < 0 else "") + one
    return found


def factor(size: Size) -> str:
    """As C has it, to be multiplied."""
    written = text(size)
    return f"({written})" if " + " in written or " - " in written or written.startswith("-") else written
