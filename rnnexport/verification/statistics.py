"""How far arrays are apart, in numbers that merge: data of any size is measured piece by piece at constant memory.

Squared errors against the float64 truth by unit, in terms of what each value may be off. They add up over calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import zip_longest
from typing import Any

import numpy as np

from rnnexport.verification.tolerance import Tolerance

# The histogram counts absolute errors: exactly 0, below the first edge, between two edges, from the last one on.
EDGES = tuple(10.0**power for power in range(-12, 3))
_QUANTA = 1 << 1074  # the least positive float64 is one over it
_PART = 52  # binary digits behind the point of a sum
_LARGEST_SUMMED = 2.0**40  # so that 2^23 of them fit an int64
_INTS = {2: np.int16, 4: np.int32, 8: np.int64}
# A source that happens to round to the truth itself is taken to be off by half a unit of a float32's last place at the
# size of its unit, by a whole one at the size of each value: TensorFlow rounds exp and its kin better than runtimes do,
_HALF_A_UNIT, _A_UNIT = 2.0**-25, 2.0**-24
# or by what rounding usually makes of a value: this part of its spread.
_USUAL_PART = 0.075
# How many times its own size a unit is measured at, where the other units are that much larger.
_FAR = 10.0
_USUAL = Tolerance()


@dataclass(frozen=True)
class ExactSum:
    """A sum of float64 numbers without any rounding, so that the order in which they are added says nothing.

    Attributes:
        quanta: the sum of those that are finite, in units of the least positive float64.
        rest: the sum of the others: 0, an infinity or NaN.
    """

    quanta: int = 0
    rest: float = 0.0

    @staticmethod
    def of(value: float) -> ExactSum:
        """The sum of one number."""
        if not math.isfinite(value):
            return ExactSum(0, value)
        numerator, denominator = float(value).as_integer_ratio()
        return ExactSum(numerator * (_QUANTA // denominator))

    def __add__(self, other: ExactSum) -> ExactSum:
        return ExactSum(self.quanta + other.quanta, self.rest + other.rest)

    def __truediv__(self, count: int) -> float:
        """The nearest float64 to the mean of `count` numbers."""
        if self.rest != 0:
            return self.rest
        try:
            return self.quanta / (_QUANTA * count)
        except OverflowError:
            return math.inf if self.quanta > 0 else -math.inf

    def __float__(self) -> float:
        return self / 1

    def to_json(self) -> list[str]:
        """A value `from_json` reads back."""
        return [hex(self.quanta), str(self.rest)]

    @staticmethod
    def from_json(value: Sequence[str]) -> ExactSum:
        """The inverse of `to_json`."""
        quanta, rest = value
        return ExactSum(int(quanta, 16), float(rest))


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums side by side of squares, in fixed point: the order in which they are added says nothing here either.

    A number is taken to a multiple of 2^-52, and one above 2^40 as it is, which is wrong by any measure.

    Attributes:
        whole, part: the sums of whole numbers, and what is above them in units of 2^-52; int64.
        rest: the sums of what is not finite, or too large; float64.
    """

    whole: np.ndarray
    part: np.ndarray
    rest: np.ndarray

    @staticmethod
    def of(values: np.ndarray) -> Sums:
        """The sums of one number each, float64."""
        small = np.abs(values) < _LARGEST_SUMMED
        fixed = np.where(small, values, 0.0)
        whole = np.floor(fixed)
        part = ((fixed - whole) * 2.0**_PART).astype(np.int64)
        return Sums(whole.astype(np.int64), part, np.where(small, 0.0, values))

    def __add__(self, other: Sums) -> Sums:
        """Of two of different lengths the longer one's."""
        pairs = (self.whole, other.whole), (self.part, other.part), (self.rest, other.rest)
        whole, part, rest = (_longer_sum(*pair) for pair in pairs)
        return Sums(whole + (part >> _PART), part & ((1 << _PART) - 1), rest)

    def floats(self) -> np.ndarray:
        """The nearest float64 to each, or its neighbour."""
        found: np.ndarray = self.whole + self.part * 2.0**-_PART + self.rest
        return found

    def to_json(self) -> list[Any]:
        """A value `from_json` reads back."""
        return [self.whole.tolist(), self.part.tolist(), list(map(str, self.rest.tolist()))]

    @staticmethod
    def from_json(value: Sequence[Any]) -> Sums:
        """The inverse of `to_json`."""
        whole, part, rest = value
        return Sums(np.array(whole, np.int64), np.array(part, np.int64), np.array(list(map(float, rest)), np.float64))


def _longer_sum(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The sum of two arrays, what one of them has not being 0."""
    longer, shorter = (one, other) if one.size >= other.size else (other, one)
    found = longer.copy()
    found[: shorter.size] += shorter
    return found


@dataclass(frozen=True)
class Errors:
    """How far the values of one array are from those they should be.

    Attributes:
        count: how many values there are, but for those that are NaN on both sides.
        bad: how many are out of tolerance; 0 where none was given.
        max_abs: the largest absolute error; `nan` where a value can't be compared.
        max_rel: the largest error over the magnitude of the wanted value, where that is not 0.
        max_ulp: the largest error in units of the last place of the dtype; 0 for dtypes that are compared exactly.
        squares: the sum of the squared errors.
        dot: the sum of the products of both sides.
        found_squares: the sum of squares of the one side.
        wanted_squares: the sum of squares of the other.
        histogram: how many errors lie in each range, see `EDGES`.
        by_timestep: the largest absolute error of each `span` timesteps; empty for what has no timesteps.
        span: how many timesteps one point of `by_timestep` stands for: more than 1 where there are many.
    """

    count: int = 0
    bad: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0
    max_ulp: float = 0.0
    squares: ExactSum = ExactSum()
    dot: ExactSum = ExactSum()
    found_squares: ExactSum = ExactSum()
    wanted_squares: ExactSum = ExactSum()
    histogram: tuple[int, ...] = (0,) * (len(EDGES) + 2)
    by_timestep: tuple[float, ...] = ()
    span: int = 1

    @property
    def rmse(self) -> float:
        """The root of the mean squared error; `nan` for nothing."""
        return math.sqrt(self.squares / self.count) if self.count else math.nan

    @property
    def cosine(self) -> float:
        """The cosine of the angle between both sides as vectors: 1 where they point the same way, or both are 0."""
        lengths = math.sqrt(float(self.found_squares)) * math.sqrt(float(self.wanted_squares))
        if lengths == 0:
            return 1.0 if self.found_squares == self.wanted_squares else 0.0
        return float(self.dot) / lengths

    def merged(self, other: Errors) -> Errors:
        """The errors of both, as if they had been measured at once. Curves may differ in length and in span."""
        span = math.lcm(self.span, other.span)
        curves = zip_longest(self._curve(span), other._curve(span), fillvalue=0.0)
        return Errors(
            count=self.count + other.count,
            bad=self.bad + other.bad,
            max_abs=_larger(self.max_abs, other.max_abs),
            max_rel=_larger(self.max_rel, other.max_rel),
            max_ulp=_larger(self.max_ulp, other.max_ulp),
            squares=self.squares + other.squares,
            dot=self.dot + other.dot,
            found_squares=self.found_squares + other.found_squares,
            wanted_squares=self.wanted_squares + other.wanted_squares,
            histogram=tuple(a + b for a, b in zip(self.histogram, other.histogram, strict=True)),
            by_timestep=tuple(_larger(one, two) for one, two in curves),
            span=span,
        )

    def _curve(self, span: int) -> tuple[float, ...]:
        """`by_timestep` with points of `span` timesteps, a multiple of its own."""
        size = span // self.span
        starts = range(0, len(self.by_timestep), size)
        return tuple(reduce(_larger, self.by_timestep[start : start + size]) for start in starts)


def measure(
    found: np.ndarray,
    wanted: np.ndarray,
    bad: np.ndarray | None = None,
    steps: np.ndarray | None = None,
) -> Errors:
    """Measure two arrays of one shape.

    Args:
        found: values of any dtype.
        wanted: the same; in float64 where it is a truth that is more precise than `found`.
        bad: which values are out of tolerance.
        steps: the timestep of each value, of any shape that broadcasts; None for what has no timesteps.
    """
    if not np.issubdtype(wanted.dtype, np.number) and wanted.dtype != np.bool_:
        return _measure_text(found, wanted, bad)
    one, other = found.astype(np.float64), wanted.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        # inf - inf is NaN, and equal infinities are right; so is NaN where the other side is NaN.
        error = np.where((one == other) | (np.isnan(one) & np.isnan(other)), 0.0, np.abs(one - other))
        magnitude = np.abs(other)
        relative = np.where(magnitude > 0, error / magnitude, 0.0)
        # Infinities that are right, and NaN, say nothing about the others.
        neither = np.isnan(one) & np.isnan(other)
        same = (np.isinf(other) & (one == other)) | neither
        one, other = np.where(same, 0.0, one), np.where(same, 0.0, other)
        products = [
            ExactSum.of(float(np.sum(a * b))) for a, b in ((error, error), (one, other), (one, one), (other, other))
        ]
    return Errors(
        count=error.size - int(np.count_nonzero(neither)),
        bad=0 if bad is None else int(np.count_nonzero(bad)),
        max_abs=_max(error),
        max_rel=_max(relative),
        max_ulp=_max(ulps(found, wanted)),
        squares=products[0],
        dot=products[1],
        found_squares=products[2],
        wanted_squares=products[3],
        histogram=_histogram(error),
        by_timestep=() if steps is None else _by_timestep(error, np.broadcast_to(steps, error.shape)),
    )


def nothing() -> Errors:
    """What can't be measured."""
    return Errors(max_abs=math.nan, max_rel=math.nan, max_ulp=math.nan, squares=ExactSum.of(math.nan))


def ulps(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Each error in units of the last place of `found`'s dtype: how many numbers of it lie between the two.

    0 throughout where `found` is no float of 2, 4 or 8 bytes; infinite where one side alone is NaN.
    """
    if not np.issubdtype(found.dtype, np.floating) or found.dtype.itemsize not in _INTS:
        return np.zeros(found.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        if wanted.dtype.itemsize > found.dtype.itemsize:
            # Against a more precise truth the error may be a part of a unit.
            gap = np.spacing(np.abs(wanted).astype(found.dtype)).astype(np.float64)
            distance = np.abs(found.astype(np.float64) - wanted) / gap
        else:
            distance = _apart(_ordered(found), _ordered(wanted.astype(found.dtype)))
    distance = np.where(np.isnan(found) | np.isnan(wanted), np.inf, distance)
    return np.where((found == wanted) | (np.isnan(found) & np.isnan(wanted)), 0.0, distance)


def _ordered(array: np.ndarray) -> np.ndarray:
    """Floats as whole numbers that are one apart where the floats are neighbours."""
    bits = np.ascontiguousarray(array).view(_INTS[array.dtype.itemsize])
    return np.where(bits < 0, np.iinfo(bits.dtype).min - bits, bits).astype(np.int64)


def _apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The distance of whole numbers, which of two signs may not fit their dtype."""
    across = np.abs(one.astype(np.float64)) + np.abs(other.astype(np.float64))
    return np.where((one < 0) == (other < 0), np.abs(one - other), across)


def _measure_text(found: np.ndarray, wanted: np.ndarray, bad: np.ndarray | None) -> Errors:
    """Text is right or wrong: an error is 1."""
    wrong = (found != wanted).astype(np.float64)
    return Errors(
        count=wrong.size,
        bad=0 if bad is None else int(np.count_nonzero(bad)),
        max_abs=_max(wrong),
        max_rel=_max(wrong),
        squares=ExactSum.of(wrong.sum()),
        dot=ExactSum.of(wrong.size - wrong.sum()),
        found_squares=ExactSum.of(wrong.size),
        wanted_squares=ExactSum.of(wrong.size),
        histogram=_histogram(wrong),
    )


def _histogram(error: np.ndarray) -> tuple[int, ...]:
    places = np.where(error == 0, 0, 1 + np.searchsorted(EDGES, error.ravel(), side="right").reshape(error.shape))
    return tuple(map(int, np.bincount(places.ravel(), minlength=len(EDGES) + 2)))


def _by_timestep(error: np.ndarray, steps: np.ndarray) -> tuple[float, ...]:
    curve = np.zeros(int(steps.max(initial=-1)) + 1)
    with np.errstate(invalid="ignore"):
        np.maximum.at(curve, steps.ravel(), error.ravel())
    return tuple(map(float, curve))


def _max(values: np.ndarray) -> float:
    return float(np.max(values)) if values.size else 0.0


def _larger(one: float, other: float) -> float:
    """The larger one; NaN where either is."""
    return math.nan if math.isnan(one) or math.isnan(other) else max(one, other)


@dataclass(frozen=True, eq=False)
class UnitErrors:
    """Sums over the values of each unit of an output, or over all values of one that has no units.

    Attributes:
        counts: how many values there are, without those that are no number; int64.
        artifact: the squared errors of the artifact.
        source: those of the source, or what rounding usually makes them where that is more.
        spread: the squares of how far rounding may move the values; 0 where that is not known.
        divided: whether there are units.
    """

    counts: np.ndarray
    artifact: Sums
    source: Sums
    spread: Sums
    divided: bool

    def merged(self, other: UnitErrors) -> UnitErrors:
        """Over the values of both. An output that has more units in one call than in another has those of both."""
        return UnitErrors(
            _longer_sum(self.counts, other.counts),
            self.artifact + other.artifact,
            self.source + other.source,
            self.spread + other.spread,
            self.divided or other.divided,
        )

    def to_json(self) -> list[Any]:
        """A value `from_json` reads back."""
        sums = [one.to_json() for one in (self.artifact, self.source, self.spread)]
        return [self.counts.tolist(), *sums, self.divided]

    @staticmethod
    def from_json(value: Sequence[Any]) -> UnitErrors:
        """The inverse of `to_json`."""
        counts, *sums, divided = value
        artifact, source, spread = map(Sums.from_json, sums)
        return UnitErrors(np.array(counts, np.int64), artifact, source, spread, bool(divided))


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
    return UnitErrors(counts, Sums.of(ours), Sums.of(theirs), Sums.of(moved), divided=units is not None)


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
