"""Squared errors against the float64 truth by unit, in terms of what each value may be off. They add up over calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from rnnexport.verification.statistics import Sums
from rnnexport.verification.tolerance import Tolerance

# A source that happens to round to the truth itself is taken to be off by half a unit of a float32's last place at the
# size of its unit, by a whole one at the size of each value: TensorFlow rounds exp and its kin better than runtimes do,
_HALF_A_UNIT, _A_UNIT = 2.0**-25, 2.0**-24
# or by what rounding usually makes of a value: this part of its spread.
_USUAL_PART = 0.075
# How many times its own size a unit is measured at, where the other units are that much larger.
_FAR = 10.0
_USUAL = Tolerance()
_NONE = Sums()


@dataclass(frozen=True)
class UnitErrors:
    """Sums over the values of each unit of an output, or over all values of one that has no units.

    Attributes:
        counts: how many values there are, without those that are no number.
        artifact: the squared errors of the artifact.
        source: those of the source, or what rounding usually makes them where that is more.
        divided: whether there are units.
        spread: the squares of how far rounding may move the values; 0 where that is not known.
    """

    counts: tuple[int, ...]
    artifact: Sums
    source: Sums
    divided: bool
    spread: Sums = _NONE

    def merged(self, other: UnitErrors) -> UnitErrors:
        """Over the values of both. An output that has more units in one call than in another has those of both."""
        return UnitErrors(
            tuple(one + two for one, two in zip_longest(self.counts, other.counts, fillvalue=0)),
            self.artifact + other.artifact,
            self.source + other.source,
            self.divided or other.divided,
            self.spread + other.spread,
        )


def unit_errors(
    found: np.ndarray,
    source: np.ndarray,
    truth: np.ndarray,
    tolerance: Tolerance,
    spread: np.ndarray | None = None,
    least: np.ndarray | None = None,
    units: np.ndarray | None = None,
) -> UnitErrors:
    """Measure an artifact and its source.

    Args:
        found: what the artifact gave.
        source: what the source gave.
        truth: what is right, in float64.
        tolerance: of the output. A bound that the user tightens, to 0 say, is no unit to measure in.
        spread: how far rounding alone moves each value; None where that is not known.
        least: the least bound of each value; None where the tolerance is all.
        units: the unit of each value, of any shape that broadcasts; None for an output without.
    """
    places = np.zeros(truth.size, np.int64) if units is None else np.broadcast_to(units, truth.shape).ravel()
    number = int(places.max(initial=0)) + 1
    counts = np.bincount(places, weights=~np.isnan(truth.ravel()), minlength=number).astype(np.int64)

    def by_unit(values: np.ndarray) -> np.ndarray:
        return np.bincount(places, weights=values.ravel(), minlength=number)

    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        size = _sizes(truth, counts, by_unit)
        atol, rtol = max(tolerance.atol, _USUAL.atol), max(tolerance.rtol, _USUAL.rtol)
        bound = (atol + rtol * size)[places].reshape(truth.shape)
        if least is not None:
            bound = np.maximum(bound, least)
        ours, theirs = (by_unit(np.square(_error(one, truth) / bound)) for one in (found, source))
        own = np.where(truth.astype(np.float32) == truth, 0.0, _A_UNIT * np.abs(truth))  # of what has to be rounded
        least_error = np.maximum(_HALF_A_UNIT * size[places].reshape(truth.shape), own)
        rounding = by_unit(np.square(np.where(np.isfinite(truth), least_error, 0.0) / bound))
        moved = np.zeros(number) if spread is None else by_unit(np.square(spread / bound))
        theirs = np.fmax(theirs, np.maximum(rounding, _USUAL_PART**2 * moved))
    return UnitErrors(
        tuple(counts.tolist()), Sums.of(ours), Sums.of(theirs), divided=units is not None, spread=Sums.of(moved)
    )


def _sizes(truth: np.ndarray, counts: np.ndarray, by_unit: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The usual size of the values of each unit.

    That of the whole output where that is more, but a unit of small values beside one of millions must not pass with
    any value.
    """
    squares = by_unit(np.where(np.isfinite(truth), np.square(truth), 0.0))
    own = np.sqrt(squares / np.maximum(counts, 1))
    overall = np.sqrt(squares.sum() / max(int(counts.sum()), 1))
    sizes: np.ndarray = np.maximum(own, np.minimum(overall, _FAR * own))
    return sizes


def _error(values: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """What is between two values; nothing where they are equal, or NaN both."""
    wide = values.astype(np.float64)
    return np.where((wide == truth) | (np.isnan(wide) & np.isnan(truth)), 0.0, wide - truth)
