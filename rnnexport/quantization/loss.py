"""What a quantised artifact loses: each output against the truth, over all calls, and step by step.

range    max |found - wanted| / (max wanted - min wanted)
rmse     the root of the mean squared error over the same range
cosine   1 - the cosine of the angle between both as vectors
top1     the share of rows whose largest value is at another place
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rnnexport.core.errors import ForeignCode, UsageError, reason

Metric = Callable[[np.ndarray, np.ndarray], float]
POINTS = 50  # of a curve at most


@dataclass(frozen=True, eq=False)
class Found:
    """One output of one call.

    Attributes:
        wanted: the truth.
        found: what the artifact gave.
        steps: the timestep of each place on the first axis, from the initial state; None where there are none.
    """

    wanted: np.ndarray
    found: np.ndarray
    steps: np.ndarray | None = None


@dataclass(frozen=True)
class Loss:
    """What one output loses.

    Attributes:
        output: its name.
        value: in units of the metric.
        largest: the largest error of a value.
        span: what a part of the output's range is counted in: its largest value less its smallest.
        curve: the largest error of each so many steps in parts of that range; empty where it is not known of some,
            as of a state that is seen at the end of each call alone.
        per_point: how many steps a point of the curve has.
    """

    output: str
    value: float
    largest: float
    span: float
    curve: tuple[float, ...] = ()
    per_point: int = 1

    def at_step(self, step: int) -> float | None:
        """The largest error at about that step, from 1; None behind the end."""
        at = (step - 1) // self.per_point
        return self.curve[at] if at < len(self.curve) else None

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "output": self.output,
            "loss": self.value,
            "largest": self.largest,
            "span": self.span,
            "curve": [round(point, 9) for point in self.curve],
            "steps_per_point": self.per_point,
        }


@dataclass
class Measure:
    """The calls of one output, as they come. Holds them: a metric of the user's own wants them all.

    Attributes:
        output: its name.
    """

    output: str
    _calls: list[Found] = field(default_factory=list)

    def add(self, call: Found) -> None:
        """One call more."""
        self._calls.append(call)

    def loss(self, metric: Metric) -> Loss:
        """What the output loses over all of them. UsageError where the metric of the user's own fails."""
        wanted = [call.wanted.astype(np.float64) for call in self._calls]
        found = [call.found.astype(np.float64) for call in self._calls]
        if any(one.shape != two.shape for one, two in zip(wanted, found, strict=True)):
            return Loss(self.output, math.inf, math.inf, 0.0)
        whole, got = (np.concatenate([_rows(one) for one in side]) for side in (_alike(wanted), _alike(found)))
        errors = _errors(whole, got)
        span = _span(whole)
        curve, per_point = self._curve(span)
        largest = float(errors.max(initial=0.0))
        return Loss(self.output, _measured(metric, whole, got, largest), largest, span, curve, per_point)

    def _curve(self, span: float) -> tuple[tuple[float, ...], int]:
        timed = [call for call in self._calls if call.steps is not None and call.steps.size]
        last = max((int(call.steps.max()) for call in timed if call.steps is not None), default=-1)
        if last < 1:
            return (), 1
        per_point = -(-(last + 1) // POINTS)
        points = np.full(last // per_point + 1, -1.0)
        for call in timed:
            assert call.steps is not None
            errors = _errors(call.wanted.astype(np.float64), call.found.astype(np.float64))
            np.maximum.at(points, call.steps // per_point, errors.reshape(len(errors), -1).max(axis=1, initial=0.0))
        return (() if (points < 0).any() else tuple(float(point / span) for point in points)), per_point


def metric_of(name: str) -> Metric:
    """The metric of that name, or the function that `FILE.py:function` names. UsageError where there is none."""
    known: dict[str, Metric] = {"range": _range, "rmse": _rmse, "cosine": _cosine, "top1": _top1}
    return known[name] if name in known else _own(name)


def _own(name: str) -> Metric:
    place, _, function = name.rpartition(":")
    if not Path(place).is_file():
        raise UsageError(f"no file {place} of --metric {name}", "FILE.py:function", "check the path")
    spec = importlib.util.spec_from_file_location("rnnexport_metric", place)
    assert spec is not None  # it ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with ForeignCode(lambda error: _failed(name, error)):
        spec.loader.exec_module(module)
    found = getattr(module, function, None)
    if not callable(found):
        raise UsageError(f"no function {function} in {place}", "that of --metric", "change --metric")

    def metric(wanted: np.ndarray, got: np.ndarray) -> float:
        with ForeignCode(lambda error: _failed(name, error)):
            return float(found(wanted, got))

    return metric


def _failed(name: str, error: BaseException) -> UsageError:
    return UsageError(f"--metric {name} raised {reason(error)}", "a number", "check it")


def _measured(metric: Metric, wanted: np.ndarray, found: np.ndarray, largest: float) -> float:
    """The loss; infinite where the artifact has no number for a value that is one, whatever the metric says."""
    if not math.isfinite(largest):
        return math.inf
    value = metric(wanted, found)
    return value if math.isfinite(value) else math.inf


def _errors(wanted: np.ndarray, found: np.ndarray) -> np.ndarray:
    same = (wanted == found) | (np.isnan(wanted) & np.isnan(found))
    with np.errstate(invalid="ignore"):
        error = np.abs(found - wanted)
    return np.where(same, 0.0, np.where(np.isnan(error), np.inf, error))


def _span(wanted: np.ndarray) -> float:
    """The range of an output; of one that is always the same number that number's size, or 1."""
    finite = wanted[np.isfinite(wanted)]
    if not finite.size:
        return 1.0
    span = float(finite.max() - finite.min())
    return span or float(np.abs(finite).max()) or 1.0


def _range(wanted: np.ndarray, found: np.ndarray) -> float:
    return float(_errors(wanted, found).max(initial=0.0)) / _span(wanted)


def _rmse(wanted: np.ndarray, found: np.ndarray) -> float:
    errors = _errors(wanted, found)
    return math.sqrt(float(np.mean(np.square(errors)))) / _span(wanted) if errors.size else 0.0


def _cosine(wanted: np.ndarray, found: np.ndarray) -> float:
    lengths = float(np.linalg.norm(wanted) * np.linalg.norm(found))
    if lengths == 0:
        return 0.0 if np.array_equal(wanted, found) else 1.0
    return max(0.0, 1.0 - float(np.sum(wanted * found)) / lengths)


def _top1(wanted: np.ndarray, found: np.ndarray) -> float:
    return float(np.mean(wanted.argmax(axis=-1) != found.argmax(axis=-1))) if wanted.size else 0.0


def _rows(array: np.ndarray) -> np.ndarray:
    """The output as rows of its last axis; of one without axes one row."""
    return array.reshape(-1, array.shape[-1]) if array.ndim > 1 else array.reshape(1, -1)


def _alike(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The arrays with rows of one width: an output whose last axis is open is laid flat."""
    widths = {_rows(array).shape[-1] for array in arrays}
    return list(arrays) if len(widths) == 1 else [array.reshape(-1, 1) for array in arrays]
