"""How far an artifact may be from its source: by dtype, by length, and by output where the user says so.

What each value of an output may be off: the tolerance, or more where rounding alone moves the source further.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rnnexport.core.errors import UsageError
from rnnexport.targets.base import Kernels

# Every timestep rounds once more, and independent roundings add up as their root: lengths up to this one share a bound.
_SHORT = 24
# How many times its spread, which is that of errors several times as large as those of rounding, a value may be from
# its source.
_SPREADS = 1.5
# A bound of a larger part of the value, or of the usual size of the output, tells right from wrong no more.
_COARSE = 1e-2


@dataclass(frozen=True)
class Tolerance:
    """A value passes when `|found - wanted| <= atol + rtol * |wanted|`.

    The defaults are some ten times the float32 rounding error of the deepest sample.
    """

    rtol: float = 1e-5
    atol: float = 2e-6

    def __post_init__(self) -> None:
        for name, value in (("rtol", self.rtol), ("atol", self.atol)):
            if not (np.isfinite(value) and value >= 0):
                raise UsageError(f"--{name} {value}", "a number of at least 0", "change it")

    def times(self, factor: float) -> Tolerance:
        """Both parts `factor` times as large."""
        return Tolerance(self.rtol * factor, self.atol * factor)

    def for_length(self, timesteps: int) -> Tolerance:
        """The tolerance of a sequence: as it is up to 24 timesteps, then growing with the root of the length."""
        return self if timesteps <= _SHORT else self.times(math.sqrt(timesteps / _SHORT))

    def bound(self, wanted: np.ndarray) -> np.ndarray:
        """The largest error that passes at each value."""
        return self.atol + self.rtol * np.abs(wanted.astype(np.float64))

    def __str__(self) -> str:
        return f"rtol {self.rtol:.2g}, atol {self.atol:.2g}"


@dataclass(frozen=True)
class Override:
    """What the user asks of one part of a tolerance, such as `--atol 1e-4` or `--atol logits:1e-4`.

    Attributes:
        rtol: for all outputs; None to leave it.
        atol: the same.
        rtols: by output, over `rtol`.
        atols: the same.
    """

    rtol: float | None = None
    atol: float | None = None
    rtols: Mapping[str, float] = field(default_factory=dict)
    atols: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for value in (self.rtol, *self.rtols.values()):
            Tolerance(rtol=0.0 if value is None else value)
        for value in (self.atol, *self.atols.values()):
            Tolerance(atol=0.0 if value is None else value)

    def __bool__(self) -> bool:
        return bool(self.rtol is not None or self.atol is not None or self.rtols or self.atols)

    def names(self) -> set[str]:
        """The outputs that are named."""
        return set(self.rtols) | set(self.atols)

    def require_known(self, outputs: Sequence[str], of: str) -> None:
        """Refuse a tolerance of an output that there is not: it would be ignored, and the user think it held.

        Args:
            outputs: those that there are.
            of: what has them.

        Raises:
            UsageError: names those that there are not.
        """
        if unknown := sorted(self.names() - set(outputs)):
            raise UsageError(
                f"a tolerance for {', '.join(unknown)}, no output of {of}", ", ".join(outputs), "change it"
            )

    def to_json(self) -> dict[str, Any]:
        """A value `from_json` reads back; empty where nothing is asked."""
        told = {"rtol": self.rtol, "atol": self.atol, "rtols": dict(self.rtols), "atols": dict(self.atols)}
        return {key: value for key, value in told.items() if value not in (None, {})}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Override:
        """The inverse of `to_json`."""
        return Override(value.get("rtol"), value.get("atol"), value.get("rtols", {}), value.get("atols", {}))


@dataclass(frozen=True)
class Tolerances:
    """The tolerance of every output.

    Attributes:
        default: what the export found right for the model (its dtypes, and how certain the source is), or the default.
        override: what the user asks for instead. It holds at every length.
        kernels: how precise those are that compute the artifact.
    """

    default: Tolerance = field(default_factory=Tolerance)
    override: Override = field(default_factory=Override)
    kernels: Kernels = field(default_factory=Kernels)

    def least(self, output: str, spread: np.ndarray | None) -> np.ndarray | None:
        """The least bound of each value of an output; None where there is none, or the user's own is all there is."""
        return None if spread is None or self.sets(output) else self.kernels.error * leeway(spread)

    def of(self, output: str, timesteps: int) -> Tolerance:
        """The tolerance of one output of a call of so many timesteps."""
        usual, asked = self.default.for_length(timesteps), self.override
        rtol = asked.rtols.get(output, asked.rtol)
        atol = asked.atols.get(output, asked.atol)
        return Tolerance(usual.rtol if rtol is None else rtol, usual.atol if atol is None else atol)

    def sets(self, output: str) -> bool:
        """Whether the user set a bound of that output."""
        asked = self.override
        return asked.rtol is not None or asked.atol is not None or output in asked.names()

    def loosens(self, output: str) -> bool:
        """Whether the user set one that lets more through."""
        asked = self.of(output, 0)
        return self.sets(output) and (asked.rtol > self.default.rtol or asked.atol > self.default.atol)

    @property
    def usual(self) -> bool:
        """Whether these are the defaults, untouched."""
        return self.default == Tolerance() and not self.override

    def __str__(self) -> str:
        told = [str(self.of("", 0))]
        told += [f"{name}: {self.of(name, 0)}" for name in sorted(self.override.names())]
        return "; ".join(told)


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
