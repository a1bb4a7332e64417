"""What was measured, as values: a figure for each peer in each row, ratios, geometric means, aims."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.cells import Size
from benchmarks.peers import OURS, TF2ONNX
from benchmarks.timing import geometric_mean

Status = Literal["ok", "wrong", "failed", "skipped"]
SMALL, LARGE = Size(1, 100, 32), Size(32, 100, 256)
NEAR_FLOOR = ("lstm", "gru", "gru_reset_before")


@dataclass(frozen=True)
class Figure:
    """One peer in one row.

    Attributes:
        status: `ok`; `wrong`, it was run and gives something else than the eager model; `failed`, it can't be made or
            run; `skipped`, there was nothing to measure.
        seconds: the median of one call; None unless `ok`.
        error: the largest absolute error against the eager model; None where nothing was run.
        why: what went wrong, or why it was skipped.
        emitted: the recurrent operators of an ONNX file.
    """

    status: Status
    seconds: float | None = None
    error: float | None = None
    why: str = ""
    emitted: str = ""


@dataclass(frozen=True)
class Row:
    """One cell at one size.

    Attributes:
        cell: its name.
        title: its title.
        size: at which it was run.
        figures: by the peer's name.
        floor: the seconds that its matrix products take at the rate of a large one.
        gemm_rate: that rate, operations a second, as measured in turns with the figures.
    """

    cell: str
    title: str
    size: Size
    figures: Mapping[str, Figure]
    floor: float
    gemm_rate: float

    def ratio(self, peer: str) -> float | None:
        """How many times as long as ours the peer takes; None unless both are right."""
        ours, theirs = self.figures.get(OURS), self.figures.get(peer)
        if ours is None or theirs is None or ours.seconds is None or theirs.seconds is None:
            return None
        return theirs.seconds / ours.seconds

    @property
    def over_floor(self) -> float | None:
        """How many times the floor ours takes."""
        ours = self.figures.get(OURS)
        return None if ours is None or ours.seconds is None else ours.seconds / self.floor


@dataclass(frozen=True)
class Aim:
    """One aim and what became of it: `met` is None where it was not measured."""

    what: str
    found: str
    met: bool | None


def mean_ratio(rows: Sequence[Row], size: Size, value: Callable[[Row], float | None]) -> float | None:
    """The geometric mean over the rows of a size that have a value."""
    values = [value(row) for row in rows if row.size == size]
    return geometric_mean(each for each in values if each is not None)


def aims(rows: Sequence[Row]) -> list[Aim]:
    """The aims of the project for speed, against what was measured."""
    return [
        _mean_aim(rows, SMALL, 4.0),
        _mean_aim(rows, LARGE, 1.15),
        _slowest_aim(rows, 0.95),
        *(_floor_aim(rows, cell, 1.6) for cell in NEAR_FLOOR),
    ]


def _mean_aim(rows: Sequence[Row], size: Size, least: float) -> Aim:
    what = f"geometric mean over tf2onnx at {size} at least {least:g}x"
    mean = mean_ratio(rows, size, lambda row: row.ratio(TF2ONNX))
    return Aim(what, "not measured", None) if mean is None else Aim(what, f"{mean:.2f}x", mean >= least)


def _slowest_aim(rows: Sequence[Row], least: float) -> Aim:
    what = f"no row under {least:g}x of tf2onnx"
    found = sorted((ratio, f"{row.cell} at {row.size}") for row in rows if (ratio := row.ratio(TF2ONNX)) is not None)
    if not found:
        return Aim(what, "not measured", None)
    below = [f"{ratio:.2f}x {where}" for ratio, where in found if ratio < least]
    lowest = f"lowest {found[0][0]:.2f}x, {found[0][1]}"
    return Aim(what, "; ".join(below) or lowest, not below)


def _floor_aim(rows: Sequence[Row], cell: str, most: float) -> Aim:
    what = f"{cell} at {LARGE} at most {most:g}x the GEMM floor"
    found = [row.over_floor for row in rows if row.size == LARGE and row.cell == cell]
    if not found or found[0] is None:
        return Aim(what, "not measured", None)
    return Aim(what, f"{found[0]:.2f}x", found[0] <= most)


def faults(rows: Sequence[Row]) -> list[str]:
    """Where ours is wrong or fails, which no speed makes good."""
    pairs = [(row, row.figures[OURS]) for row in rows if OURS in row.figures]
    return [f"{row.cell} at {row.size}: {ours.why}" for row, ours in pairs if ours.status in ("wrong", "failed")]


def finite(value: float | None) -> float | None:
    """For JSON, which has no infinity: other shapes, or NaN, have no largest error."""
    return value if value is not None and math.isfinite(value) else None


def row_json(row: Row) -> dict[str, Any]:
    """A row as plain values. Times are in microseconds."""
    return {
        "cell": row.cell,
        "batch": row.size.batch,
        "timesteps": row.size.timesteps,
        "units": row.size.units,
        "gemm_floor_us": row.floor * 1e6,
        "gemm_gflops": row.gemm_rate / 1e9,
        "ours_over_floor": row.over_floor,
        "peers": {name: _figure_json(row, name) for name in row.figures},
    }


def _figure_json(row: Row, name: str) -> dict[str, Any]:
    figure = row.figures[name]
    return {
        "status": figure.status,
        "median_us": None if figure.seconds is None else figure.seconds * 1e6,
        "ratio_to_ours": row.ratio(name),
        "max_error": finite(figure.error),
        "emitted": figure.emitted or None,
        "why": figure.why or None,
    }
