"""Whether an artifact is as precise as its source, over all feeds: rounding is random, and a fault is not.

A wrong weight may move every value by less than the tolerance of a single one. Beside the float64 truth it shows: the
source is off by its own rounding, an artifact that computes the same by about as much, and a fault adds to that.

    precision = rms(artifact - truth) / rms(source - truth)

taken over all values of one output, and over those of each of its units, since a weight may act on one alone. Each
feed counts in units of its own tolerance, so that large feeds do not hide small ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from rnnexport.verification.compare import Comparison
from rnnexport.verification.report import FeedReport
from rnnexport.verification.statistics import Errors
from rnnexport.verification.tolerance import Tolerance, Tolerances

# How many times as far from the truth as its source an artifact may be: other kernels round in another order, and take
# other approximations of tanh and the logistic function. Measured by `make mutation` on artifacts that are right.
LIMIT = 4.0
# A source that happens to round to the truth itself is taken to be off by half a unit of a float32's last place.
_HALF_A_UNIT = 2.0**-25
# How many times its own size a unit is measured at, where the other units are that much larger.
_FAR = 10.0
# Of few values the ratio is less certain: the limit of a unit of so many is larger by the root of 2.
_FEW = 10.0
_USUAL = Tolerance()


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
    """
    calls: dict[str, list[Comparison]] = {}
    for one in chain.from_iterable(feed.outputs for feed in feeds if not feed.steps):
        calls.setdefault(one.name, []).append(one)
    # Where single values are wrong already, this would only say so again.
    found = {
        name: precision(ones)
        for name, ones in calls.items()
        if all(one.passed for one in ones) and not tolerances.loosens(name)
    }
    return [_told(name, one) for name, one in found.items() if one is not None and not one.passed]


def precision(calls: Sequence[Comparison]) -> Precision | None:
    """The precision of one output over its calls; None where no call has a truth, or there are no values."""
    measured = [
        _Units.of(one, one.artifact_error, one.source_error)
        for one in calls
        if one.artifact_error is not None and one.source_error is not None and one.source_error.count
    ]
    if not measured:
        return None
    artifact, source = sum(one.artifact for one in measured), sum(one.source for one in measured)
    values = sum(one.count for one in measured)
    if not values:
        return None
    ratios = _by_unit(measured, source / values)
    worst = max(range(len(ratios)), key=ratios.__getitem__, default=None)
    if worst is None:
        return Precision(_root(artifact, source))
    limit = LIMIT * math.sqrt(1 + _FEW * len(ratios) / values)
    return Precision(_root(artifact, source), ratios[worst], worst, limit)


@dataclass(frozen=True)
class _Units:
    """Squared errors of one call in units of its tolerance: sums over all values, and (count, sum) of each unit."""

    count: int
    artifact: float
    source: float
    artifact_units: tuple[tuple[int, float], ...]
    source_units: tuple[tuple[int, float], ...]

    @staticmethod
    def of(one: Comparison, artifact: Errors, source: Errors) -> _Units:
        whole = ((source.count, source.squares, source.wanted_squares),)
        units = source.by_unit or whole
        ours = artifact.by_unit or ((artifact.count, artifact.squares, artifact.wanted_squares),)
        overall = math.sqrt(source.wanted_squares / source.count) if source.count else 0.0
        own = [math.sqrt(wanted / count) if count else 0.0 for count, _, wanted in units]
        # At the size of the whole output, but beside a column of millions one of units must not pass with any value.
        usual = [max(size, min(overall, _FAR * size)) for size in own]
        allowed = [_unit_of(one.tolerance, size) for size in usual]
        theirs = tuple(
            (count, max(squares / bound / bound, (_HALF_A_UNIT * (size / bound)) ** 2 * count))
            for (count, squares, _), size, bound in zip(units, usual, allowed, strict=True)
        )
        found = tuple(
            (count, squares / bound / bound) for (count, squares, _), bound in zip(ours, allowed, strict=True)
        )
        return _Units(
            source.count,
            sum(squares for _, squares in found),
            sum(squares for _, squares in theirs),
            found if source.by_unit else (),
            theirs if source.by_unit else (),
        )


def _unit_of(tolerance: Tolerance, size: float) -> float:
    """What errors of values of that size are measured in: what they may be, but no less because the user says so.

    A bound of 0 is a question of single values; in units of it no error has a size.
    """
    return max(tolerance.atol, _USUAL.atol) + max(tolerance.rtol, _USUAL.rtol) * size


def _by_unit(measured: Sequence[_Units], usual: float) -> list[float]:
    """The ratio of each unit, whose source is taken to be as far from the truth as that of all units at least."""
    nothing = (0, 0.0)
    artifacts = zip_longest(*(one.artifact_units for one in measured), fillvalue=nothing)
    sources = zip_longest(*(one.source_units for one in measured), fillvalue=nothing)
    return [
        _root(
            sum(squares for _, squares in ours),
            max(sum(squares for _, squares in theirs), usual * sum(count for count, _ in theirs)),
        )
        for ours, theirs in zip(artifacts, sources, strict=True)
    ]


def _root(artifact: float, source: float) -> float:
    if source > 0 or math.isnan(artifact):
        return math.sqrt(artifact / source) if source > 0 else math.nan
    return 0.0 if artifact == 0 else math.inf


def _told(name: str, one: Precision) -> str:
    if not one.whole <= LIMIT:
        return f"output {name} is {one.whole:.1f} times as far from the float64 truth as its source (at most {LIMIT:g})"
    return (
        f"output {name} is {one.unit:.1f} times as far from the float64 truth as its source at unit {one.worst} "
        f"(at most {one.limit:.2g})"
    )
