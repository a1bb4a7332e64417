"""Whether an artifact is as precise as its source, over all feeds: rounding is random, and a fault is not.

A wrong weight may move every value by less than the tolerance of a single one. Beside the float64 truth it shows: the
source is off by its own rounding, an artifact that computes the same by about as much, and a fault adds to that.

    precision = rms(artifact - truth) / rms(source - truth)

taken over all values of one output, and over those of each of its units, since a weight may act on one alone. Each
value counts in units of what it may be off, so that large feeds do not hide small ones, nor ill-conditioned values
well-conditioned ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain

import numpy as np

from rnnexport.verification.compare import Comparison
from rnnexport.verification.report import FeedReport
from rnnexport.verification.statistics import UnitErrors
from rnnexport.verification.tolerance import Tolerances

# How many times as far from the truth as its source an artifact may be: other kernels round in another order, and take
# other approximations of tanh and the logistic function. Measured by `make mutation` on artifacts that are right.
LIMIT = 4.0
# Of few values the ratio is less certain: the limit of a unit of so many is larger by the root of 2.
_FEW = 20.0


@dataclass(frozen=True)
class Precision:
    """How many times as far from the truth as its source an output is.

    Attributes:
        whole: over all its values.
        unit: over those of the unit where this is most.
        worst: that unit; None for an output without units.
        limit: of a unit, of which there are fewer values.
    """

    whole: float
    unit: float = 0.0
    worst: int | None = None
    limit: float = LIMIT

    @property
    def passed(self) -> bool:
        """Whether that may be rounding. NaN is not."""
        return self.whole <= LIMIT and self.unit <= self.limit


def precision_problems(feeds: Sequence[FeedReport], tolerances: Tolerances) -> list[str]:
    """What is wrong with the precision of each output, in words; nothing where the user set a wider tolerance.

    Long sequences don't count: where a state adds up what goes in, both sides drift as one walk at random each does.

    Args:
        feeds: with their comparisons.
        tolerances: of the artifact.
    """
    calls: dict[str, list[Comparison]] = {}
    for one in chain.from_iterable(feed.outputs for feed in feeds if not feed.steps):
        calls.setdefault(one.name, []).append(one)
    # Where single values are wrong already, this would only say so again.
    found = {
        name: precision(ones, spreads=tolerances.kernels.spreads)
        for name, ones in calls.items()
        if all(one.passed for one in ones) and not tolerances.loosens(name)
    }
    return [_told(name, one) for name, one in found.items() if one is not None and not one.passed]


def precision(calls: Sequence[Comparison], *, spreads: float = 0.0) -> Precision | None:
    """The precision of one output over its calls; None where no call has a truth, or there are no values.

    Args:
        calls: of that output.
        spreads: how many times as far from the truth as rounding moves the values the artifact may be, whatever its
            source is.
    """
    measured = [one.units for one in calls if one.units is not None and one.units.counts.any()]
    if not measured:
        return None
    found = reduce(UnitErrors.merged, measured)
    artifact, source = found.artifact.floats(), found.source.floats()
    if spreads:
        source = np.fmax(source, (spreads / LIMIT) ** 2 * found.spread.floats())
    whole, values = _root(artifact.sum(), source.sum()), int(found.counts.sum())
    if not found.divided:
        return Precision(float(whole))
    # The source is taken to be as far from the truth at each unit as it is on the average at least.
    usual = source.sum() / values
    ratios = _root(artifact, np.fmax(source, usual * found.counts))
    worst = int(np.argmax(ratios))
    return Precision(float(whole), float(ratios[worst]), worst, LIMIT * math.sqrt(1 + _FEW * len(ratios) / values))


def _root(artifact: np.ndarray, source: np.ndarray) -> np.ndarray:
    """The root of the ratios; infinite where only the artifact is off."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: np.ndarray = np.where(artifact == 0, 0.0, np.sqrt(artifact / source))
    return found


def _told(name: str, one: Precision) -> str:
    if not one.whole <= LIMIT:
        return f"output {name} is {one.whole:.1f} times as far from the float64 truth as its source (at most {LIMIT:g})"
    return (
        f"output {name} is {one.unit:.1f} times as far from the float64 truth as its source at unit {one.worst} "
        f"(at most {one.limit:.2g})"
    )
