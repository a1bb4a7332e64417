"""What each value of an output may be off: the tolerance, or more where rounding alone moves the source further."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnexport.verification.tolerance import Tolerance

# How many times its spread a value may be from the source: that of the source, that of the artifact, and as much again
# for a spread that a few runs show too small.
_SPREADS = 3.0
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


def leeway(spread: np.ndarray | None) -> np.ndarray | None:
    """The least bound of each value, by what rounding alone does to it."""
    return None if spread is None else _SPREADS * spread


def allowed(tolerance: Tolerance, wanted: np.ndarray, least: np.ndarray | None) -> np.ndarray:
    """The largest error that passes at each value."""
    bound = tolerance.bound(wanted)
    return bound if least is None else np.maximum(bound, least)


def bounds(tolerance: Tolerance, wanted: np.ndarray, least: np.ndarray | None) -> Bounds:
    """How many bounds of those values are wider than the tolerance."""
    if least is None or not wanted.size:
        return Bounds()
    usual = tolerance.bound(wanted)
    wider = least > usual
    if not wider.any():
        return Bounds()
    sizes = np.abs(wanted.astype(np.float64))
    whole = np.sqrt(np.mean(np.square(sizes), where=np.isfinite(sizes)))
    coarse = wider & (least > _COARSE * np.maximum(sizes, whole))
    return Bounds(int(wider.sum()), int(coarse.sum()), float(np.max(least[wider] / usual[wider])))
