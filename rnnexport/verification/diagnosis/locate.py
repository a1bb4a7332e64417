"""Where an artifact that mismatches departs from its source: the first layer, timestep and unit.

record.layer_map_of    at export, of the artifact that passed: where each value of the source is in it, with samples
locate                 later, on one that mismatches: the first value of the layer map that is different now
search.search          if the artifact never passed, so without a layer map: the first value that is nowhere in it
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from rnnexport.artifact.layer_map import InnerValues, LayerMap, LayerValue, Mark, by_step, sums

# An inner value may be this many times further off than an output: rounding must never point at an innocent layer.
WIDER = 2.0
# What is this many times the rounding that the verified artifact showed is no rounding.
_JUMP = 32.0
_ROUNDING_STEPS = 2.0
# What is this many times that rounding, but less than a jump, is worth a hint.
_HINT = 4.0
# The share of the error of a value that departs which one before it must have for the fault to be there already.
_COMPARABLE = 0.1
# How far from a whole number the quotient of two sums may be for it to be a unit.
_WHOLE = 0.02


@dataclass(frozen=True)
class Step:
    """One value of the source, compared with the artifact's.

    Attributes:
        layer, class_name, loop, output: see `rnnexport.artifact.layer_map.LayerValue`.
        recurrence: the node of the artifact that computes it, where that is a recurrence.
        error: the largest error; NaN where there is nothing to compare.
        allowed: the largest error that passes for rounding.
        state: `ok`; `moved`, off by more than this artifact's rounding was, but less than `allowed`; `departs`; or
            `absent`, where the artifact has no such value.
        jump: the largest error in units of the rounding that the verified artifact showed; 0 where that is not known.
    """

    layer: str
    class_name: str
    loop: str
    output: str
    recurrence: str
    error: float
    allowed: float
    state: str
    jump: float = 0.0


@dataclass(frozen=True)
class Departure:
    """The first value that is another one.

    Attributes:
        step: which value, and by how much.
        timestep: the first at which it departs, counted in the order in which the layer takes them; None where it has
            no timesteps.
        index: of the value that is off by most there, in the source's array, -1 where it is one of several units that
            were not sampled; empty where nothing is known.
        unit: the index without the row of the batch and the timestep.
        found: the artifact's value there; NaN where it is not known.
        wanted: the source's.
    """

    step: Step
    timestep: int | None
    index: tuple[int, ...]
    unit: tuple[int, ...]
    found: float
    wanted: float

    def sentence(self) -> str:
        """In words."""
        step = self.step
        what = f"{step.layer} ({step.class_name})"
        where = "" if step.output == "output" else f", its {step.output}"
        node = f", computed by {step.recurrence}" if step.recurrence else ""
        if not self.index:
            return f"The first to depart is {what}{where}: no value in the artifact is near it."
        time = "" if self.timestep is None else f"timestep {self.timestep}, "
        if math.isnan(self.wanted) and min(self.index) < 0:
            return f"The first to depart is {what}{where}{node}, at {time}several units of row {self.index[0]}."
        unit = f"unit {_joined(self.unit)}" if self.unit else "its value"
        return (
            f"The first to depart is {what}{where}{node}, at {time}{unit} of row {self.index[0]}: "
            f"{self.found:.9g}, not {self.wanted:.9g}."
        )


@dataclass(frozen=True)
class Location:
    """What comparing with a layer map gave.

    Attributes:
        steps: every value that was looked at, in the order in which the source computes.
        departure: the first that departs; None where none does.
    """

    steps: tuple[Step, ...]
    departure: Departure | None

    def sentence(self) -> str:
        """In words."""
        if self.departure is not None:
            return self.departure.sentence()
        seen = [step for step in self.steps if step.state != "absent"]
        if not seen:
            return "No value of any layer was found in the artifact, so that the fault can't be located."
        behind = f"the fault is behind {seen[-1].layer}, or shows on others"
        agree = f"All {len(seen)} values of layers that were found agree on the feed that was followed: {behind}"
        largest = max(seen, key=lambda step: step.jump)
        if largest.jump < _HINT:
            return f"{agree}."
        return f"{agree}, or it is one that {largest.layer} shows first, off by {largest.jump:.0f} times its rounding."


def locate(found: LayerMap, inner: InnerValues, *, rtol: float, atol: float) -> Location:
    """Compare the values inside an artifact with its layer map.

    Args:
        found: that of the artifact when it was verified.
        inner: the values inside the artifact now, for the feed of the layer map's golden.
        rtol: of the verification.
        atol: the same.
    """
    by_name = {value.name: value.array for value in inner.values}
    seen = [_compared(mark, mark.found_in(by_name), rtol, atol) for mark in found.marks]
    steps = tuple(_followed(mark, item, rtol, atol) for mark, item in zip(found.marks, seen, strict=True))
    states = [step.state for step in steps]
    first = next((states.index(state) for state in ("departs", "moved") if state in states), None)
    if first is None:
        return Location(steps, None)
    # An error does not grow much from a layer to the next: what is off as far, and by no rounding, comes first.
    least = _COMPARABLE * _relative(steps[first], found.marks[first])
    off = [
        index
        for index, (step, mark) in enumerate(zip(steps, found.marks, strict=True))
        if step.state in ("departs", "moved") and _relative(step, mark) >= least
    ]
    # In a loop, what is computed last in one step is there before what is computed first in the next.
    loop = steps[off[0]].loop
    same = [index for index in off if steps[index].loop == loop] if loop else off[:1]
    departures = [_departure(steps[index], found.marks[index], seen[index]) for index in same]
    return Location(steps, min(departures, key=lambda departure: departure.timestep or 0))


def _relative(step: Step, mark: Mark) -> float:
    return step.error / max(mark.scale, float(np.finfo(mark.values.dtype).tiny))


@dataclass(frozen=True, eq=False)
class _Compared:
    """Values of an artifact and of its source, one to one: the sample, and what the sums tell of other values.

    Attributes:
        index: `[n, rank]`, in the source's array; a unit that is not known is -1 on every axis of its own.
        found: `[n]`, of the artifact.
        wanted: `[n]`, of the source.
        error: `[n]`.
        rounding: `[n]`, the largest error that may be rounding as this artifact has it.
        allowed: `[n]`, the largest that may be rounding as another runtime has it.
    """

    index: np.ndarray
    found: np.ndarray
    wanted: np.ndarray
    error: np.ndarray
    rounding: np.ndarray
    allowed: np.ndarray


def _compared(mark: Mark, array: np.ndarray | None, rtol: float, atol: float) -> _Compared | None:
    if array is None:
        return None
    found, flat = array.ravel()[mark.flat_indices], mark.flat_indices
    error = error_of(found, mark.values)
    rounding = np.full(error.shape, _JUMP * max(mark.noise, _least_noise(mark)))
    allowed = np.full(error.shape, _allowed(mark, rtol, atol))
    index = np.stack(np.unravel_index(flat, mark.shape), axis=1)
    sampled = _Compared(index, found.astype(np.float64), mark.values.astype(np.float64), error, rounding, allowed)
    return sampled if mark.sums is None else _joined_with(sampled, _told_by_sums(mark, array, rtol, atol))


def _told_by_sums(mark: Mark, array: np.ndarray, rtol: float, atol: float) -> _Compared:
    """A value for each row and timestep whose sum is off: the one that alone explains both sums, where there is one."""
    assert mark.sums is not None
    units_TBU = by_step(array, mark.time_axis)
    with np.errstate(invalid="ignore"):
        plain, weighted = sums(array, mark.time_axis) - mark.sums
    count = units_TBU.shape[-1]
    # Independent roundings add up as their root.
    rounding = _JUMP * max(mark.sum_noise, _least_noise(mark) * math.sqrt(count))
    allowed = max(rounding, _allowed(mark, rtol, atol))
    places = np.argwhere(~(np.abs(plain) <= rounding))
    told = [_alone(units_TBU[step, row], plain[step, row], weighted[step, row]) for step, row in places]
    index = [_index(mark, step, row, unit) for (step, row), (unit, _) in zip(places, told, strict=True)]
    found = np.array([value for _, value in told], np.float64)
    error = np.array([plain[step, row] for step, row in places], np.float64)
    return _Compared(
        index=np.array(index, np.int64).reshape(len(places), len(mark.shape)),
        found=found,
        wanted=found - error,
        error=np.where(np.isfinite(error), np.abs(error), np.inf),
        rounding=np.full(error.shape, rounding),
        allowed=np.full(error.shape, allowed),
    )


def _alone(units: np.ndarray, plain: float, weighted: float) -> tuple[int, float]:
    """The unit that alone explains both sums, and the artifact's value there; -1 and NaN where there is none."""
    unit = weighted / plain
    if not np.isfinite(unit) or abs(unit - round(unit)) > _WHOLE or not 0 <= round(unit) < units.size:
        return -1, math.nan
    return round(unit), float(units[round(unit)])


def _index(mark: Mark, step: int, row: int, unit: int) -> list[int]:
    """The index in the source's array of a unit, all axes of which are -1 where it is not known."""
    others = [axis for axis in range(1, len(mark.shape)) if axis != mark.time_axis]
    index = [-1] * len(mark.shape)
    index[0] = int(row)
    if mark.time_axis is not None:
        index[mark.time_axis] = int(step)
    if unit >= 0:
        for axis, at in zip(others, np.unravel_index(unit, [mark.shape[axis] for axis in others]), strict=True):
            index[axis] = int(at)
    return index


def _joined_with(one: _Compared, other: _Compared) -> _Compared:
    return _Compared(*(np.concatenate([getattr(one, part.name), getattr(other, part.name)]) for part in fields(one)))


def _followed(mark: Mark, seen: _Compared | None, rtol: float, atol: float) -> Step:
    allowed = _allowed(mark, rtol, atol)
    if seen is None:
        return step_of(mark, mark.place.recurrence, float("nan"), allowed, "absent")
    departs, moved = ~(seen.error <= seen.allowed), ~(seen.error <= seen.rounding)
    state = "departs" if departs.any() else "moved" if moved.any() else "ok"
    jump = _JUMP * float(np.max(seen.error / seen.rounding))
    return replace(step_of(mark, mark.place.recurrence, float(np.max(seen.error)), allowed, state), jump=jump)


def _departure(step: Step, mark: Mark, seen: _Compared | None) -> Departure:
    """The first timestep at which the error is no rounding, and what is off by most there."""
    assert seen is not None
    bad = ~(seen.error <= seen.rounding)
    timestep = None
    if mark.time_axis is not None:
        timestep = int(np.min(seen.index[bad, mark.time_axis]))
        bad &= seen.index[:, mark.time_axis] == timestep
    if np.any(bad & (seen.index.min(axis=1) >= 0)):
        bad &= seen.index.min(axis=1) >= 0  # better one that is known
    worst = int(np.argmax(np.where(bad, seen.error, -1.0)))
    index = tuple(int(at) for at in seen.index[worst])
    return departure_at(step, timestep, index, mark.time_axis, float(seen.found[worst]), float(seen.wanted[worst]))


def _allowed(mark: Mark, rtol: float, atol: float) -> float:
    return max(WIDER * (atol + rtol * mark.scale), _JUMP * mark.noise)


def departure_at(
    step: Step, timestep: int | None, index: tuple[int, ...], time_axis: int | None, found: float, wanted: float
) -> Departure:
    """The departure of one value, at `index` of the source's array."""
    unit = tuple(at for axis, at in enumerate(index) if axis and axis != time_axis)
    return Departure(step, timestep, index, unit, found, wanted)


def step_of(value: Mark | LayerValue, recurrence: str, error: float, allowed: float, state: str) -> Step:
    """The step of one value of the source."""
    return Step(value.layer, value.class_name, value.loop, value.output, recurrence, error, allowed, state)


def _least_noise(mark: Mark) -> float:
    return _ROUNDING_STEPS * float(np.finfo(mark.values.dtype).eps) * mark.scale


def error_of(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The absolute error. Infinite where one side is no finite number and the other is another."""
    with np.errstate(invalid="ignore"):
        error = np.abs(found.astype(np.float64) - wanted.astype(np.float64))
    return np.where(found == wanted, 0.0, np.where(np.isfinite(error), error, np.inf))


def _joined(index: Sequence[int]) -> str:
    return str(index[0]) if len(index) == 1 else str(list(index))
