"""Where the values of the source's layers are found inside an artifact, with a sample of what they must be.

The layer map is made at export, of the artifact that was verified, and rides in its proof. If the artifact mismatches
later, it says which layer departs first: names inside an artifact mean nothing without it, because conversion and
lowering rename, fuse and move values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class LayerValue:
    """One output of one call of a layer of the source.

    Attributes:
        layer: the names of the layer and of those around it, joined by `/`; the model's own name left out.
        class_name: the class of the layer.
        output: which output: `output`, `output 1`, ...; of a cell `state 0`, ... too.
        array: as eager Keras computed it; in a loop `[B, T, ...]`, the steps in the order in which they were taken.
        time_axis: the axis of the timesteps; None where there is none, or it is not known.
        loop: of what is called once a timestep, its outputs stacked, the recurrent layer that calls it; else empty.
        inputs: the positions, among the values of the same run, of those that the layer was called with; what reached
            it by way of an operation between layers is not among them.
    """

    layer: str
    class_name: str
    output: str
    array: np.ndarray
    time_axis: int | None = None
    loop: str = ""
    inputs: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class InnerValue:
    """One floating-point value inside an artifact.

    Attributes:
        name: unique in the artifact, and the same in another run and in a copy of it with other weights.
        array: the value; of one in a loop, stacked over the steps on the first axis.
        recurrence: the node that it is an output of, or in the body of; empty where that is no recurrence.
    """

    name: str
    array: np.ndarray
    recurrence: str = ""


@dataclass(frozen=True, eq=False)
class InnerValues:
    """The values inside an artifact for one feed.

    Attributes:
        values: in the order in which they are computed.
        left_out: the names of those that were too large to keep.
    """

    values: tuple[InnerValue, ...]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class ValueLocation:
    """Where in an artifact a value of the source is, and how its axes lie there.

    Attributes:
        names: the inner value; or, of a recurrence that is unrolled, one for each timestep in the order of steps.
        axes: the axes of the inner value, those of size 1 left out, in the order that the source has them.
        backwards: whether the artifact has the timesteps in the opposite order.
        recurrence: see `InnerValue`; of the first name.
    """

    names: tuple[str, ...]
    axes: tuple[int, ...]
    backwards: bool = False
    recurrence: str = ""


@dataclass(frozen=True, eq=False)
class Mark:
    """One value of the source, its place in the artifact, and a sample of it.

    Attributes:
        layer, class_name, loop, output, time_axis: see `LayerValue`.
        shape: of the source's array.
        place: where the artifact has it.
        scale: the largest magnitude in the source's array.
        noise: the largest error that the verified artifact had.
        indices: flat indices of the sample; None where the sample is the whole array.
        values: the source's values there.
        sums: of the source's array, see `sums`; None where the sample is the whole array.
        sum_noise: the largest error of a plain sum that the verified artifact had.
    """

    layer: str
    class_name: str
    loop: str
    output: str
    time_axis: int | None
    shape: tuple[int, ...]
    place: ValueLocation
    scale: float
    noise: float
    indices: np.ndarray | None
    values: np.ndarray
    sums: np.ndarray | None = None
    sum_noise: float = 0.0

    @property
    def flat_indices(self) -> np.ndarray:
        """The flat indices of the sample."""
        return np.arange(self.values.size) if self.indices is None else self.indices

    def found_in(self, inner: Arrays) -> np.ndarray | None:
        """The artifact's values, in the axes of the source's; None where it has no such value any more.

        Args:
            inner: the values inside the artifact by name.
        """
        return located(self.place, self.shape, self.time_axis, inner)


@dataclass(frozen=True, eq=False)
class LayerMap:
    """The marks of one artifact.

    Attributes:
        golden: the index of the golden whose feed they were taken on.
        marks: in the order in which the source computes.
    """

    golden: int
    marks: tuple[Mark, ...]

    def to_json(self) -> dict[str, Any]:
        """All but the samples."""
        return {"golden": self.golden, "marks": [_mark_to_json(mark) for mark in self.marks]}

    def arrays(self) -> dict[str, np.ndarray]:
        """The samples, under names that only `read` needs to know."""
        found = {f"{index}/values": mark.values for index, mark in enumerate(self.marks)}
        found |= {f"{index}/indices": mark.indices for index, mark in enumerate(self.marks) if mark.indices is not None}
        return found | {f"{index}/sums": mark.sums for index, mark in enumerate(self.marks) if mark.sums is not None}


def read(value: Mapping[str, Any], arrays: Arrays) -> LayerMap:
    """The inverse of `LayerMap.to_json` and `LayerMap.arrays`.

    Raises:
        ValueError, LookupError, TypeError: they are not as they were written.
    """
    marks = [_mark_from_json(mark, index, arrays) for index, mark in enumerate(value["marks"])]
    return LayerMap(int(value["golden"]), tuple(marks))


def located(place: ValueLocation, shape: Sequence[int], time_axis: int | None, inner: Arrays) -> np.ndarray | None:
    """The artifact's values at `place` as an array of `shape`; None where they are missing or of another size."""
    if any(name not in inner for name in place.names):
        return None
    if len(place.names) == 1:
        array = _laid(inner[place.names[0]], place.axes, shape)
        return array if array is None or not place.backwards else np.flip(array, time_axis)
    assert time_axis is not None
    rest = [size for axis, size in enumerate(shape) if axis != time_axis]
    steps = [_laid(inner[name], place.axes, rest) for name in place.names]
    found = [step for step in steps if step is not None]
    return np.stack(found, time_axis) if len(found) == shape[time_axis] else None


def by_step(array: np.ndarray, time_axis: int | None) -> np.ndarray:
    """The array as `[T, B, units]`, T being 1 where there is no time."""
    timed = array[np.newaxis] if time_axis is None else np.moveaxis(array, time_axis, 0)
    return timed.reshape(timed.shape[0], timed.shape[1], -1)


def sums(array: np.ndarray, time_axis: int | None) -> np.ndarray:
    """Two sums over the units of each row at each timestep, `[2, T, B]` in float64: plain, and weighted by the unit.

    The first shows that any of the units is another one; the second, where it is one alone, which.
    """
    wide = by_step(array, time_axis).astype(np.float64)
    return np.stack([wide.sum(axis=-1), wide @ np.arange(wide.shape[-1], dtype=np.float64)])


def _laid(array: np.ndarray, axes: Sequence[int], shape: Sequence[int]) -> np.ndarray | None:
    bare = np.squeeze(array)
    wanted = [size for size in shape if size != 1]
    if sorted(axes) != list(range(bare.ndim)) or [bare.shape[axis] for axis in axes] != wanted:
        return None
    return bare.transpose(axes).reshape(tuple(shape))


def _mark_to_json(mark: Mark) -> dict[str, Any]:
    return {
        "layer": mark.layer,
        "class": mark.class_name,
        "loop": mark.loop,
        "output": mark.output,
        "time_axis": mark.time_axis,
        "shape": list(mark.shape),
        "names": list(mark.place.names),
        "axes": list(mark.place.axes),
        "backwards": mark.place.backwards,
        "recurrence": mark.place.recurrence,
        "scale": mark.scale,
        "noise": mark.noise,
        "sum_noise": mark.sum_noise,
    }


def _mark_from_json(value: Mapping[str, Any], index: int, arrays: Arrays) -> Mark:
    shape = tuple(map(int, value["shape"]))
    names = tuple(map(str, value["names"]))
    axis = None if value["time_axis"] is None else int(value["time_axis"])
    place = ValueLocation(names, tuple(map(int, value["axes"])), bool(value["backwards"]), str(value["recurrence"]))
    mark = Mark(
        layer=str(value["layer"]),
        class_name=str(value["class"]),
        loop=str(value["loop"]),
        output=str(value["output"]),
        time_axis=axis,
        shape=shape,
        place=place,
        scale=float(value["scale"]),
        noise=float(value["noise"]),
        indices=arrays.get(f"{index}/indices"),
        values=arrays[f"{index}/values"],
        sums=arrays.get(f"{index}/sums"),
        sum_noise=float(value["sum_noise"]),
    )
    if not (_shaped(mark) and _sampled(mark)):
        raise ValueError(f"mark {index} of the layer map is not as it was written")
    return mark


def _shaped(mark: Mark) -> bool:
    """Whether time and the artifact's values fit the shape, for a file may hold anything."""
    axis, steps = mark.time_axis, len(mark.place.names)
    if not mark.shape or math.prod(mark.shape) < 1:
        return False
    if axis is None:
        return steps == 1 and not mark.place.backwards
    return 0 < axis < len(mark.shape) and steps in (1, mark.shape[axis])


def _sampled(mark: Mark) -> bool:
    """Whether the sample is of the array, so that nothing is read out of bounds."""
    size, values, indices = math.prod(mark.shape), mark.values, mark.indices
    if values.ndim != 1 or values.dtype.kind != "f":
        return False
    if indices is None:
        return values.size == size and mark.sums is None
    inside = indices.dtype.kind == "i" and bool(np.all((indices >= 0) & (indices < size)))
    steps = 1 if mark.time_axis is None else mark.shape[mark.time_axis]
    summed = mark.sums is not None and mark.sums.dtype == np.float64 and mark.sums.shape == (2, steps, mark.shape[0])
    return inside and indices.shape == values.shape and values.size > 0 and summed
