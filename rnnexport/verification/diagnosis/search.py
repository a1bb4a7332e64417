"""Looking for the values of a source in an artifact that never passed: what is nowhere in it is wrong. See `locate`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnnexport.artifact.layer_map import InnerValues, LayerValue
from rnnexport.verification.diagnosis.locate import WIDER, Departure, Location, Step, departure_at, error_of, step_of
from rnnexport.verification.diagnosis.match import Matcher

# A value that differs by less than half its size from the source's is taken for what became of it.
_NEAR = 0.5


def search(layers: Sequence[LayerValue], inner: InnerValues, *, rtol: float, atol: float) -> Location:
    """Look for every value of the source in an artifact that never passed.

    A value that is nowhere in the artifact departs only if nothing that depends on it is there: it may be computed
    inside a fused or native operator.

    Args:
        layers, inner: see `record`.
        rtol: of the verification.
        atol: the same.
    """
    matcher = Matcher(inner.values, rtol * WIDER, atol * WIDER)
    told = [matcher.telling(value.array) for value in layers]
    places = [matcher.find(value) for value in layers]
    lost = [tells and place is None for tells, place in zip(told, places, strict=True)]
    present = [index for index, place in enumerate(places) if place is not None]
    after = present[-1] + 1 if present else 0
    first = next((index for index in range(after, len(layers)) if lost[index]), None)
    if first is None:
        # A small fault may be lost in rounding further on; what has become of it is near it still.
        outputs = [index for index, value in enumerate(layers) if lost[index] and value.output.startswith("output")]
        first = next((index for index in outputs if _near(layers[index], matcher) is not None), None)
    culprit = None if first is None else _origin(first, layers, lost, matcher)
    steps = [
        _looked_for(value, matcher, place is not None, index == culprit)
        for index, (value, place) in enumerate(zip(layers, places, strict=True))
        if told[index]
    ]
    if culprit is None:
        return Location(tuple(steps), None)
    step = next(step for step in steps if step.state == "departs")
    return Location(tuple(steps), _departure(step, layers[culprit], matcher))


def _origin(index: int, layers: Sequence[LayerValue], lost: Sequence[bool], matcher: Matcher) -> int:
    """From a value that is lost back to the first that is: what its layer was called with, or computes inside."""
    while True:
        inside = [at for at in _inside(index, layers) if not layers[at].loop]
        before = [at for at in (*layers[index].inputs, *inside) if at < index and lost[at]]
        if not before:
            break
        index = min(before)
    # A state may be lost in a native operator, which has no such value; what it gives is not.
    loop = layers[index].loop
    among = [at for at, value in enumerate(layers) if value.loop == loop] if loop else _inside(index, layers)
    cells = [at for at in among if lost[at] and layers[at].output.startswith("output")]
    # In a loop, what is computed last in one step is there before what is computed first in the next.
    return min(cells, key=lambda at: _first_timestep(layers[at], matcher), default=index)


def _inside(index: int, layers: Sequence[LayerValue]) -> list[int]:
    return [at for at in range(index) if layers[at].layer.startswith(f"{layers[index].layer}/")]


def _first_timestep(value: LayerValue, matcher: Matcher) -> float:
    """Where the value that is nearest to it departs from it first; infinite where none is near."""
    near = _near(value, matcher)
    if near is None or value.time_axis is None:
        return float("inf")
    return float(
        np.min(np.argwhere(~(error_of(near, value.array) <= matcher.allowed(value.array)))[:, value.time_axis])
    )


def _near(value: LayerValue, matcher: Matcher) -> np.ndarray | None:
    nearest = matcher.nearest(value)
    size = float(np.linalg.norm(value.array.astype(np.float64)))
    return None if nearest is None or float(np.linalg.norm(nearest - value.array)) > _NEAR * size else nearest


def _departure(step: Step, value: LayerValue, matcher: Matcher) -> Departure:
    nearest = _near(value, matcher)
    if nearest is None:
        return Departure(step, None, (), (), float("nan"), float("nan"))
    error = error_of(nearest, value.array)
    bad = np.argwhere(~(error <= step.allowed))
    timestep = None
    if value.time_axis is not None:
        timestep = int(np.min(bad[:, value.time_axis]))
        bad = bad[bad[:, value.time_axis] == timestep]
    index = tuple(int(i) for i in max(bad, key=lambda at: float(error[tuple(at)])))
    return departure_at(step, timestep, index, value.time_axis, float(nearest[index]), float(value.array[index]))


def _looked_for(value: LayerValue, matcher: Matcher, present: bool, culprit: bool) -> Step:
    allowed = matcher.allowed(value.array)
    nearest = matcher.nearest(value) if present or culprit else None
    error = float("nan") if nearest is None else float(np.max(error_of(nearest, value.array)))
    return step_of(value, "", error, allowed, "departs" if culprit else "ok" if present else "absent")
