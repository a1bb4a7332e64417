"""Arrays in memory, seen through strides, and their sizes: numbers, and polynomials of lengths, `64 * T + 3`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Union

import numpy as np

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


Shape = tuple[Size, ...]
C_TYPES = {
    "float32": "float",
    "float64": "double",
    "int8": "int8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "uint8": "uint8_t",
    "uint16": "uint16_t",
    "uint32": "uint32_t",
    "uint64": "uint64_t",
    "bool": "uint8_t",
}


@dataclass(frozen=True, eq=False)
class Array:
    """Numbers in memory.

    Attributes:
        dtype: the NumPy name.
        shape: of what is seen.
        strides: how many numbers apart neighbours on each axis are; 0 for an axis along which all are one.
        base: the C name of a pointer.
        offset: where the first number is behind it.
        padded: whether a vector may be read at every element: memory goes on behind the last one.
        values: what the numbers are, where that is known.
    """

    dtype: str
    shape: Shape
    strides: tuple[Size, ...]
    base: str
    offset: Size = 0
    padded: bool = True
    values: np.ndarray | None = None

    @property
    def ctype(self) -> str:
        """The C type of an element."""
        return C_TYPES[self.dtype]

    @property
    def size(self) -> Size:
        """How many numbers are seen."""
        return product(self.shape)

    @property
    def pointer(self) -> str:
        """The address of the first number."""
        return self.base if self.offset == 0 else f"{self.base} + {text(self.offset)}"

    @property
    def is_solid(self) -> bool:
        """Whether the numbers lie one behind the other, in the order of their indices."""
        return all(
            found == wanted
            for size, found, wanted in zip(self.shape, self.strides, solid_strides(self.shape), strict=True)
            if size != 1
        )

    def seen(self, shape: Shape, strides: Sequence[Size], offset: Size = 0) -> Array:
        """Another view of the same memory; what its numbers are is forgotten."""
        return replace(self, shape=shape, strides=tuple(strides), offset=self.offset + offset, values=None)

    def element_at(self, place: str) -> str:
        """The C expression of a number of a solid array, by how many stand before it."""
        return f"{self.base}[{place}]" if self.offset == 0 else f"({self.pointer})[{place}]"

    def element(self, indices: Sequence[str]) -> str:
        """The C expression of the number at these indices, each the name of a variable or a number."""
        parts = [] if self.offset == 0 else [text(self.offset)]
        for index, stride in zip(indices, self.strides, strict=True):
            if stride != 0 and index != "0":
                parts.append(index if stride == 1 else f"{index} * {factor(stride)}")
        return f"{self.base}[{' + '.join(parts) or '0'}]"


def solid_strides(shape: Sequence[Size]) -> tuple[Size, ...]:
    """Those of an array whose numbers lie one behind the other."""
    strides: list[Size] = []
    count: Size = 1
    for size in reversed(shape):
        strides.append(count)
        count = count * size
    return tuple(reversed(strides))


def broadcast_strides(array: Array, shape: Shape) -> tuple[Size, ...] | None:
    """The strides of an array seen in a shape that it is broadcast to; None where it does not fit."""
    extra = len(shape) - len(array.shape)
    found: list[Size] = [0] * extra
    for size, stride, wanted in zip(array.shape, array.strides, shape[extra:], strict=True):
        if size == wanted:
            found.append(0 if size == 1 else stride)
        elif size == 1:
            found.append(0)
        else:
            return None
    return tuple(found)


def broadcast(shapes: Sequence[Shape]) -> Shape | None:
    """The shape that arrays of these shapes have together; None where they have none."""
    rank = max(map(len, shapes), default=0)
    padded: list[Shape] = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    found: list[Size] = []
    for sizes in zip(*padded, strict=True):
        wide = dict.fromkeys(size for size in sizes if size != 1)
        if len(wide) > 1:
            return None
        found.append(next(iter(wide), 1))
    return tuple(found)


def shape_text(shape: Shape) -> str:
    """`(T, 64)`, for a comment."""
    return f"({', '.join(map(text, shape))}{',' if len(shape) == 1 else ''})"
