"""Two arrays to a verdict. Pure functions: nothing here knows where the arrays come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rnnexport.errors import UsageError


@dataclass(frozen=True)
class Tolerance:
    """A value passes when `|found - wanted| <= atol + rtol * |wanted|`.

    The defaults are some ten times the float32 rounding error of the deepest sample, and far below the effect of
    one weight that is off by 1e-3.
    """

    rtol: float = 1e-5
    atol: float = 2e-6

    def __post_init__(self) -> None:
        for name, value in (("rtol", self.rtol), ("atol", self.atol)):
            if not (np.isfinite(value) and value >= 0):
                raise UsageError(f"--{name} {value}", "a number of at least 0", "change it")


@dataclass(frozen=True)
class Comparison:
    """What comparing one output gave.

    Attributes:
        name: the output.
        passed: whether every value is within tolerance, and names, shapes and dtypes are right.
        max_abs: the largest absolute error; `nan` where values can't be compared.
        max_rel: the largest error over the magnitude of the wanted value, where that is not 0.
        bad: how many values are out of tolerance.
        count: how many values there are.
        first_bad: the index of the first one that is out of tolerance.
        problem: what is wrong in words; empty where it passed.
    """

    name: str
    passed: bool
    max_abs: float
    max_rel: float = 0.0
    bad: int = 0
    count: int = 0
    first_bad: tuple[int, ...] | None = None
    problem: str = ""


def compare_outputs(
    found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray], tolerance: Tolerance
) -> tuple[Comparison, ...]:
    """Compare every output of one call. A missing output and one too many are failures.

    Raises:
        UsageError: there is nothing to compare.
    """
    if not wanted:
        raise UsageError("no outputs to compare", "at least one", "export the model again")
    extra = tuple(failed(name, "is an output the source does not have") for name in found if name not in wanted)
    return tuple(compare(name, found.get(name), wanted[name], tolerance) for name in wanted) + extra


def compare(name: str, found: np.ndarray | None, wanted: np.ndarray, tolerance: Tolerance) -> Comparison:
    """Compare one output. NaN never passes, on either side; an infinity passes only against itself."""
    if found is None:
        return failed(name, "is missing")
    if found.dtype != wanted.dtype:
        return failed(name, f"has dtype {found.dtype}, not {wanted.dtype}")
    if found.shape != wanted.shape:
        return failed(name, f"has shape {found.shape}, not {wanted.shape}")
    if wanted.size == 0:
        return failed(name, f"is empty: shape {wanted.shape}")
    if not np.issubdtype(wanted.dtype, np.inexact):
        return _verdict(name, found, wanted, np.abs(_wide(found) - _wide(wanted)), found != wanted)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(_wide(found) - _wide(wanted))
        within = error <= tolerance.atol + tolerance.rtol * np.abs(_wide(wanted))
    # inf - inf is NaN: equal infinities are right; an infinite bound must let nothing else through.
    same = found == wanted
    finite = np.isfinite(_wide(found)) & np.isfinite(_wide(wanted))
    error = np.where(same, 0.0, error)
    return _verdict(name, found, wanted, error, ~(same | (finite & within)))


def excess(found: np.ndarray, wanted: np.ndarray, tolerance: Tolerance) -> float:
    """The largest error in units of what `tolerance` allows; 0 where the dtype is exact or nothing is finite."""
    if not np.issubdtype(wanted.dtype, np.inexact) or found.shape != wanted.shape:
        return 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(_wide(found) - _wide(wanted)) / (tolerance.atol + tolerance.rtol * np.abs(_wide(wanted)))
    return float(np.max(error, initial=0.0, where=np.isfinite(error)))


def _verdict(name: str, found: np.ndarray, wanted: np.ndarray, error: np.ndarray, bad: np.ndarray) -> Comparison:
    magnitude = np.abs(_wide(wanted))
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.where(magnitude > 0, error / magnitude, 0.0)
    indices = np.argwhere(bad)
    first = tuple(int(i) for i in indices[0]) if len(indices) else None
    problem = ""
    if first is not None:
        problem = f"{len(indices)} of {bad.size} values off, first at {list(first)}: {found[first]} not {wanted[first]}"
    return Comparison(
        name=name,
        passed=first is None,
        max_abs=float(np.max(error)),
        max_rel=float(np.max(relative)),
        bad=len(indices),
        count=int(bad.size),
        first_bad=first,
        problem=problem,
    )


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64)


def failed(name: str, problem: str) -> Comparison:
    """An output that has no values to compare, and why."""
    return Comparison(name=name, passed=False, max_abs=float("nan"), problem=problem)


def worst(comparisons: Sequence[Comparison]) -> float:
    """The largest absolute error of several comparisons; `nan` where one could not be compared, or there is none."""
    errors = [comparison.max_abs for comparison in comparisons]
    return float(np.max(errors)) if errors else float("nan")
