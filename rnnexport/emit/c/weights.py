"""Weights in a file of their own, which the caller maps and hands over: where each array is in it, and its bytes.

A place of 64 bytes begins each array, and 15 numbers of its dtype or more follow it, so that a vector can be read at
every one. Numbers are little-endian. Two sums over the words of the whole file, the second of all values that the first
has had, say whether it is the right one: a host that reads words in another order finds others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from rnnexport.emit.c.arrays import C_TYPES
from rnnexport.emit.c.program import TranslationUnit

_PLACE = 64
_BEHIND = 15
_MODULUS = 1 << 64


@dataclass(frozen=True, eq=False)
class Outside:
    """The arrays that lie in the file.

    Attributes:
        arrays: by their names in C, in the order of the file.
        places: where each begins.
        size: of the file.
    """

    arrays: Mapping[str, np.ndarray]
    places: Mapping[str, int]
    size: int

    @staticmethod
    def of(parts: TranslationUnit) -> Outside:
        """All but what a step reads by name: these are small, and stay in the program."""
        inner = "\n".join(line for each in parts.functions for line in each.lines)
        inside = set(re.findall(r"\b\w+\b", inner))
        arrays = {name: array for name, (array, _) in parts.constants.items() if name not in inside}
        places, size = {}, 0
        for name, array in arrays.items():
            places[name] = size
            size += -(-(array.size + _BEHIND) * array.itemsize // _PLACE) * _PLACE
        return Outside(arrays, places, size)

    def blob(self) -> bytes:
        """The file."""
        found = bytearray(self.size)
        for name, array in self.arrays.items():
            numbers = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
            found[self.places[name] : self.places[name] + len(numbers)] = numbers
        return bytes(found)

    def read(self, blob: bytes) -> dict[str, np.ndarray]:
        """The arrays of these names, dtypes and shapes in a file. ValueError where it is none of them."""
        if len(blob) != self.size:
            raise ValueError(f"weights of {len(blob)} bytes, not {self.size}")
        return {
            name: np.frombuffer(blob, array.dtype.newbyteorder("<"), array.size, self.places[name])
            .reshape(array.shape)
            .astype(array.dtype)
            for name, array in self.arrays.items()
        }

    def names(self) -> Iterator[str]:
        """The lines that give each array its name, where `weights` is the address of the file."""
        for name, array in self.arrays.items():
            ctype = C_TYPES[array.dtype.name]
            yield f"#define {name} ((const {ctype} *)(const void *)(weights + {self.places[name]}))"

    def no_names(self) -> Iterator[str]:
        """The lines that take the names away."""
        return (f"#undef {name}" for name in self.arrays)


def sums(blob: bytes) -> tuple[int, int]:
    """The two sums of a file, modulo 2^64."""
    words = np.frombuffer(blob, "<u4").astype(np.uint64)
    # Each word is in the first sum from where it stands to the end.
    times = np.arange(words.size, 0, -1, dtype=np.uint64)
    return int(words.sum(dtype=np.uint64)) % _MODULUS, int((words * times).sum(dtype=np.uint64)) % _MODULUS


def check_text(name: str, macro: str, blob: bytes) -> str:
    """The function that says whether a file is the right one."""
    first, second = sums(blob)
    return f"""\
int {name}_check(const void *weights, size_t size)
{{
    uint64_t first = 0, second = 0;
    if (weights == NULL || size != {macro}_WEIGHTS_SIZE) {{
        return {macro}_BAD_WEIGHTS;
    }}
    for (size_t at = 0; at < size; at += 4) {{
        uint32_t word;
        memcpy(&word, (const char *)weights + at, 4);
        first += word;
        second += first;
    }}
    return first == UINT64_C({first}) && second == UINT64_C({second}) ? {macro}_OK : {macro}_BAD_WEIGHTS;
}}"""
