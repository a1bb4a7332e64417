"""Arrays to a verdict. Pure functions: nothing here knows where the arrays come from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rnnexport.artifact.goldens import KeptValues
from rnnexport.core.errors import UsageError
from rnnexport.verification.statistics import Errors, UnitErrors, measure, nothing, unit_errors
from rnnexport.verification.tolerance import Bounds, Tolerance, allowed, bounds

_USUAL = Bounds()


@dataclass(frozen=True)
class Comparison:
    """What comparing one output gave.

    Attributes:
        name: the output.
        passed: whether every value is within tolerance, and names, shapes and dtypes are right.
        errors: of the artifact against its source.
        tolerance: what was allowed.
        problem: what is wrong in words; empty where it passed.
        first_bad: the index of the first value that is out of tolerance.
        first_timestep: the first timestep with such a value; None where the output has no timesteps.
        artifact_error: of the artifact against the float64 truth; None where there is none.
        source_error: of the source against it.
        units: both by unit; None where there is no truth.
        bounds: how many values had a wider bound than the tolerance.
    """

    name: str
    passed: bool
    errors: Errors
    tolerance: Tolerance
    problem: str = ""
    first_bad: tuple[int, ...] | None = None
    first_timestep: int | None = None
    artifact_error: Errors | None = None
    source_error: Errors | None = None
    units: UnitErrors | None = None
    bounds: Bounds = _USUAL

    def merged(self, other: Comparison) -> Comparison:
        """The comparison of both pieces of one output; the first problem is kept."""
        first = self if not self.passed else other
        return Comparison(
            name=self.name,
            passed=self.passed and other.passed,
            errors=self.errors.merged(other.errors),
            tolerance=first.tolerance,
            problem=first.problem,
            first_bad=first.first_bad,
            first_timestep=first.first_timestep,
            artifact_error=_merged(self.artifact_error, other.artifact_error),
            source_error=_merged(self.source_error, other.source_error),
            units=_merged_units(self.units, other.units),
            bounds=self.bounds.merged(other.bounds),
        )


@dataclass(frozen=True, eq=False)
class Wanted:
    """What one output should be.

    Attributes:
        value: what the source gave; where `kept` says which, only some of its values, in one row.
        truth: the same in float64, by an independent run; None where there is none.
        time_axis: the axis of the timesteps; None where there is none.
        kept: which values of the output these are; None for all.
        spread: how far rounding alone moves each value; None where that is not known.
        least: the least bound of each value, where that may be more than the tolerance; None for the tolerance alone.
        timesteps: the length of the call.
    """

    value: np.ndarray
    truth: np.ndarray | None = None
    time_axis: int | None = None
    kept: KeptValues | None = None
    spread: np.ndarray | None = None
    least: np.ndarray | None = None
    timesteps: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the whole output."""
        return self.value.shape if self.kept is None else self.kept.shape

    def steps(self) -> np.ndarray | None:
        """The timestep of each value."""
        if self.time_axis is None:
            return None
        if self.kept is not None:
            return np.unravel_index(self.kept.indices, self.shape)[self.time_axis]
        axes = [1] * self.value.ndim
        axes[self.time_axis] = -1
        return np.arange(self.shape[self.time_axis]).reshape(axes)

    def units(self) -> np.ndarray | None:
        """The unit of each value: its place on the last axis, where that is neither the batch nor the time."""
        axis = len(self.shape) - 1
        if axis < 1 or axis == self.time_axis:
            return None
        count = self.shape[axis]
        return np.arange(count) if self.kept is None else self.kept.indices % count


def compare_outputs(
    found: Mapping[str, np.ndarray], wanted: Mapping[str, Wanted], tolerance: Callable[[str, int], Tolerance]
) -> tuple[Comparison, ...]:
    """Compare every output of one call. A missing output and one too many are failures.

    Args:
        found: by name, whole.
        wanted: by name.
        tolerance: of an output and a number of timesteps.

    Raises:
        UsageError: there is nothing to compare.
    """
    if not wanted:
        raise UsageError("no outputs to compare", "at least one", "export the model again")
    extra = tuple(failed(name, "is an output the source does not have") for name in found if name not in wanted)
    return (
        tuple(compare(name, found.get(name), one, tolerance(name, one.timesteps)) for name, one in wanted.items())
        + extra
    )


def compare(name: str, found: np.ndarray | None, wanted: Wanted, tolerance: Tolerance) -> Comparison:
    """Compare one output. NaN passes where the source gives NaN, an infinity against itself, what is empty likewise.

    Integers, bools and text must be equal, but where rounding decides which of several a value is: an infinite bound.
    """
    value = wanted.value
    if found is None:
        return failed(name, "is missing")
    if found.dtype != value.dtype and not (_is_text(found) and _is_text(value)):
        return failed(name, f"has dtype {found.dtype}, not {value.dtype}")
    if found.shape != wanted.shape:
        return failed(name, f"has shape {found.shape}, not {wanted.shape}")
    if value.size == 0:
        return Comparison(name, True, Errors(), tolerance)
    values = found if wanted.kept is None else found.reshape(-1)[wanted.kept.indices]
    steps, truth = wanted.steps(), wanted.truth
    if np.iscomplexobj(value):
        # Both parts count: each is a value of its own, on a last axis of two.
        values, value, truth = _parts(values), _parts(value), None if truth is None else _parts(truth)
        steps = None if steps is None else steps[..., np.newaxis]
    bad = _out_of(tolerance, values, value, wanted.least)
    first_bad, timestep, problem = None, None, ""
    if bad.any():
        first_bad, timestep, problem = _first(values, value, wanted, bad, steps)
    units = None if np.iscomplexobj(wanted.value) else wanted.units()
    parts = (tolerance, wanted.spread, wanted.least, units)
    return Comparison(
        name=name,
        passed=first_bad is None,
        errors=measure(values, value, bad, steps),
        tolerance=tolerance,
        problem=problem,
        first_bad=first_bad,
        first_timestep=timestep,
        artifact_error=None if truth is None else measure(values, truth, None, steps),
        source_error=None if truth is None else measure(value, truth, None, steps),
        units=None if truth is None else unit_errors(values, value, truth, *parts),
        bounds=bounds(tolerance, value, wanted.least),
    )


def excess(found: np.ndarray, wanted: np.ndarray, tolerance: Tolerance, least: np.ndarray | None = None) -> float:
    """The largest error in units of what each value may be off; 0 where the dtype is exact or nothing is finite.

    Infinite where there is an error and nothing is allowed.
    """
    return float(np.max(excesses(found, wanted, tolerance, least), initial=0.0))


def excesses(
    found: np.ndarray, wanted: np.ndarray, tolerance: Tolerance, least: np.ndarray | None = None
) -> np.ndarray:
    """Each error in units of what the value may be off; see `excess`."""
    if not np.issubdtype(wanted.dtype, np.inexact) or found.shape != wanted.shape:
        return np.zeros(wanted.shape)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        error = np.abs(_wide(found) - _wide(wanted))
        parts = error / allowed(tolerance, wanted, least)
    return np.where(np.isfinite(error) & (error > 0), parts, 0.0)


def failed(name: str, problem: str) -> Comparison:
    """An output that has no values to compare, and why."""
    return Comparison(name, False, nothing(), Tolerance(), problem)


def merged_by_name(comparisons: Iterable[Comparison]) -> dict[str, Comparison]:
    """One comparison for each output, of all its pieces. Takes them one by one, at constant memory."""
    found: dict[str, Comparison] = {}
    for one in comparisons:
        found[one.name] = found[one.name].merged(one) if one.name in found else one
    return found


def worst(comparisons: Sequence[Comparison]) -> float:
    """The largest absolute error of several comparisons; `nan` where one could not be compared, or there is none."""
    errors = [comparison.errors.max_abs for comparison in comparisons]
    return float(np.max(errors)) if errors else math.nan


def _out_of(tolerance: Tolerance, found: np.ndarray, wanted: np.ndarray, least: np.ndarray | None = None) -> np.ndarray:
    """Which values are out of their bounds."""
    same: np.ndarray = found == wanted
    if not np.issubdtype(wanted.dtype, np.inexact):
        return ~same if least is None else ~same & np.isfinite(least)
    same |= np.isnan(found) & np.isnan(wanted)
    with np.errstate(invalid="ignore", over="ignore"):
        within = np.abs(_wide(found) - _wide(wanted)) <= allowed(tolerance, wanted, least)
    # inf - inf is NaN: equal infinities are right; an infinite bound must let nothing else through.
    finite = np.isfinite(_wide(found)) & np.isfinite(_wide(wanted))
    bad: np.ndarray = ~(same | (finite & within))
    return bad


def _first(
    found: np.ndarray, value: np.ndarray, wanted: Wanted, bad: np.ndarray, steps: np.ndarray | None
) -> tuple[tuple[int, ...], int | None, str]:
    """The first value that is out of tolerance, the first timestep that has one, and both in words."""
    at = tuple(int(i) for i in np.argwhere(bad)[0])
    index = at
    if wanted.kept is not None:
        index = tuple(int(i) for i in np.unravel_index(int(wanted.kept.indices[at[0]]), wanted.shape))
    timestep = None if steps is None else int(np.broadcast_to(steps, bad.shape)[bad].min())
    count = f"{np.count_nonzero(bad)} of {bad.size} values off"
    where = "" if timestep is None else f", from timestep {timestep} on"
    return index, timestep, f"{count}{where}, first at {list(index)}: {found[at]} not {value[at]}"


def _parts(array: np.ndarray) -> np.ndarray:
    return np.stack([array.real, array.imag], axis=-1)


def _is_text(array: np.ndarray) -> bool:
    return array.dtype.kind in "OSU"


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64)


def _merged_units(one: UnitErrors | None, other: UnitErrors | None) -> UnitErrors | None:
    return None if one is None or other is None else one.merged(other)


def _merged(one: Errors | None, other: Errors | None) -> Errors | None:
    return None if one is None or other is None else one.merged(other)
