"""Which value inside an artifact carries a value of the source: by its numbers, up to the order of axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations

import numpy as np

from rnnexport.artifact.layer_map import InnerValue, LayerValue, ValueLocation

# What a value has to vary by, in units of what is allowed, to be told from another.
_TELLING = 100.0


class Matcher:
    """The values inside one artifact, to be searched.

    Args:
        values: in the order in which they are computed.
        rtol: how far two values may be apart, relative to the largest magnitude of the source's.
        atol: the same, for a magnitude of 0.
    """

    def __init__(self, values: Sequence[InnerValue], rtol: float, atol: float) -> None:
        self.by_name = {value.name: value.array for value in values}
        self._rtol, self._atol = rtol, atol
        self._by_size: dict[int, list[tuple[InnerValue, np.ndarray, np.ndarray]]] = {}
        for value in values:
            wide = np.squeeze(value.array).astype(np.float64)
            self._by_size.setdefault(wide.size, []).append((value, wide, _summary(wide)))

    def allowed(self, array: np.ndarray) -> float:
        """How far a value of the artifact may be from one in `array`. NaN where `array` holds one."""
        return self._atol + self._rtol * float(np.max(np.abs(array), initial=0.0))

    def telling(self, array: np.ndarray) -> bool:
        """Whether `array` varies enough to be recognised: a constant is everywhere."""
        return bool(np.ptp(array.astype(np.float64)) > _TELLING * self.allowed(array)) if array.size > 1 else False

    def find(self, value: LayerValue) -> ValueLocation | None:
        """Where the artifact has `value`: the first of its values that is equal, or one of them for each timestep."""
        if not self.telling(value.array):
            return None
        whole = self._search(value.array, value.time_axis)
        if whole is not None or value.time_axis is None:
            return whole
        return self._find_steps(np.moveaxis(value.array, value.time_axis, 0))

    def nearest(self, value: LayerValue) -> np.ndarray | None:
        """The value inside the artifact that differs least from `value` of those that have its shape.

        Returns:
            The artifact's array in the axes of the source's; None where no shape fits.
        """
        best: tuple[float, np.ndarray] | None = None
        for _, wide, _ in self._by_size.get(value.array.size, ()):
            for _, laid in _laid_out(wide, value.array.shape):
                shaped = laid.reshape(value.array.shape)
                for array in [shaped] if value.time_axis is None else [shaped, np.flip(shaped, value.time_axis)]:
                    distance = float(np.linalg.norm(array - value.array))
                    if best is None or distance < best[0]:
                        best = (distance, array)
        return None if best is None else best[1]

    def _find_steps(self, steps: np.ndarray) -> ValueLocation | None:
        """One value for each timestep, all with their axes in one order."""
        places = []
        for step in steps:
            place = self._search(step, None)
            if place is None:
                return None
            places.append(place)
        if len({place.axes for place in places}) != 1:
            return None
        names = tuple(place.names[0] for place in places)
        return (
            ValueLocation(names, places[0].axes, False, places[0].recurrence) if len(set(names)) == len(names) else None
        )

    def _search(self, array: np.ndarray, time_axis: int | None) -> ValueLocation | None:
        wide = array.astype(np.float64)
        allowed, summary = self.allowed(wide), _summary(wide)
        # A sum is off by as many errors as it has terms.
        slack = allowed * np.array([1.0, 1.0, wide.size])
        for inner, found, own in self._by_size.get(wide.size, ()):
            if not np.all(np.abs(own - summary) <= slack):
                continue
            for axes, laid in _laid_out(found, wide.shape):
                shaped = laid.reshape(wide.shape)
                if np.all(np.abs(shaped - wide) <= allowed):
                    return ValueLocation((inner.name,), axes, False, inner.recurrence)
                if time_axis is not None and np.all(np.abs(np.flip(shaped, time_axis) - wide) <= allowed):
                    return ValueLocation((inner.name,), axes, True, inner.recurrence)
        return None


def _summary(array: np.ndarray) -> np.ndarray:
    """Numbers that no order of axes changes."""
    if not array.size:
        return np.full(3, np.nan)
    return np.array([array.min(), array.max(), array.sum()])


def _laid_out(bare: np.ndarray, shape: Sequence[int]) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """Every order of the axes of `bare`, which has none of size 1, that gives `shape` without its axes of size 1."""
    wanted = tuple(size for size in shape if size != 1)
    if sorted(bare.shape) != sorted(wanted):
        return
    for axes in permutations(range(bare.ndim)):
        if tuple(bare.shape[axis] for axis in axes) == wanted:
            yield axes, bare.transpose(axes)
