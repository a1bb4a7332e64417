"""What each value of an output may be off: the tolerance, or more where rounding alone moves the source further."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rnnexport.verification.tolerance import Tolerance

# How many times its spread, which is that of errors several times as large as those of rounding, a value may be from
# its source.
_SPREADS = 1.5
# A bound of a larger part of the value, or of the usual size of the output, tells right from wrong no more.
_COARSE = 1e-2


@dataclass(frozen=True)
class Bounds:
    """How many values had a wider bound than the tolerance.

    Attributes:
        wider: how many.
        coarse: how many of these had one above a hundredth of their size, or of that of the output where that is more.
        largest: the largest bound in units of the tolerance.
    """

    wider: int = 0
    coarse: int = 0
    largest: float = 1.0

    def merged(self, other: Bounds) -> Bounds:
        """Of the values of both."""
        return Bounds(self.wider + other.wider, self.coarse + other.coarse, max(self.largest, other.largest))


def leeway(spread: np.ndarray) -> np.ndarray:
    """The least bound of each value, by what rounding alone does to it."""
    return _SPREADS * spread


def allowed(tolerance: Tolerance, wanted: np.ndarray, least: np.ndarray | None) -> np.ndarray:
    """The largest error that passes at each value."""
    bound = tolerance.bound(wanted)
    return bound if least is None else np.maximum(bound, least)


def bounds(tolerance: Tolerance, wanted: np.ndarray, least: np.ndarray | None) -> Bounds:
    """How many bounds of those values are wider than the tolerance."""
    if least is None or not wanted.size:
        return Bounds()
    if not np.issubdtype(wanted.dtype, np.inexact):
        free = int(np.isinf(least).sum())
        return Bounds(free, free)
    wider, coarse = uncertain(tolerance, wanted, least)
    largest = np.max(least / tolerance.bound(wanted), initial=1.0, where=wider)
    return Bounds(int(wider.sum()), int(coarse.sum()), float(largest))


def uncertain(tolerance: Tolerance, wanted: np.ndarray, least: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a bound is wider than the tolerance, and where it is more than a hundredth as well."""
    sizes = np.abs(wanted.astype(np.float64))
    finite = np.isfinite(sizes)
    whole = math.sqrt(np.mean(np.square(sizes), where=finite)) if finite.any() else 0.0
    wider = least > tolerance.bound(wanted)
    return wider, wider & (least > _COARSE * np.maximum(sizes, whole))
