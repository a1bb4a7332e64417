"""One fault at one place of an artifact that is no ONNX file, and those of constants, whatever the format."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.mutation.faults.weights import GIANT, OFF


@dataclass(frozen=True)
class Change:
    """One fault at one place.

    Attributes:
        fault: the kind, named as those of ONNX files are.
        where: the place, in words that are the same in every run.
        apply: puts it into the artifact at a path.
    """

    fault: str
    where: str
    apply: Callable[[Path], None]


def array_faults(array: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    """(fault, place, array with it) of a constant: a weight off, rounded, a bias lost, a square transposed."""
    if array.dtype != np.float32 or not array.ndim or not array.any():
        return
    size = np.where(np.abs(array) < GIANT, np.abs(array), 0).ravel()
    largest = int(np.argmax(size))
    others = np.setdiff1d(np.flatnonzero(size), [largest])
    drawn = [int(np.random.default_rng(zlib.crc32(str(array.shape).encode())).choice(others))] if others.size else []
    for at in (largest, *drawn):
        moved = array.copy()
        moved.reshape(-1)[at] *= 1 + OFF
        yield "weight off by 1e-3", f"[{at}]", moved
    narrow = array.astype(np.float16).astype(np.float32)
    if not np.array_equal(narrow, array) and np.isfinite(narrow).all():
        yield "float16 weights", "all", narrow
    if array.ndim == 1:
        yield "bias dropped", "all", np.zeros_like(array)
    elif array.ndim == 2 and array.shape[0] == array.shape[1] and not np.array_equal(array, array.T):
        yield "kernel transposed", "all", np.ascontiguousarray(array.T)
