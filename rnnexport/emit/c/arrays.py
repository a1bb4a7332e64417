"""What the terms of a program are in C: arrays in memory, seen through strides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnexport.emit.c.sizes import Size, factor, product, text

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
