"""The layer map: where each value of the source is in an artifact that was verified. See `locate`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rnnexport.artifact.layer_map import (
    Arrays,
    InnerValues,
    LayerMap,
    LayerValue,
    Mark,
    ValueLocation,
    by_step,
    located,
    sums,
)
from rnnexport.verification.diagnosis.locate import WIDER, error_of
from rnnexport.verification.diagnosis.match import Matcher

# Numbers in a layer map: of one mark, and of all, but for a few of each.
_MOST_OF_ONE, _MOST_OF_ALL, _LEAST_OF_ONE = 1024, 8192, 64
# Values that a mark samples at each timestep at least; where there are too many timesteps for that, some are left out.
_LEAST_OF_A_STEP = 8


def layer_map_of(
    layers: Sequence[LayerValue], inner: InnerValues, golden: int, *, rtol: float, atol: float
) -> LayerMap:
    """The layer map: for each value of the source that the artifact has, where it has it, and a sample of it.

    Args:
        layers: what the source's layers gave for the golden's feed.
        inner: the values inside the artifact, which was verified, for the same feed.
        golden: the index of that golden.
        rtol: of the verification.
        atol: the same.
    """
    matcher = Matcher(inner.values, rtol * WIDER, atol * WIDER)
    places = [(value, matcher.find(value)) for value in layers]
    known: dict[ValueLocation, LayerValue] = {}
    for value, place in places:
        if place is not None:
            # Of several layers that hand one value on, the first computes it.
            known.setdefault(place, value)
    limit = max(_LEAST_OF_ONE, min(_MOST_OF_ONE, _MOST_OF_ALL // max(len(known), 1)))
    return LayerMap(golden, tuple(_mark(value, place, matcher.by_name, limit) for place, value in known.items()))


def _mark(value: LayerValue, place: ValueLocation, inner: Arrays, limit: int) -> Mark:
    array, axis = value.array, value.time_axis
    found = located(place, array.shape, axis, inner)
    assert found is not None
    if array.size <= limit:
        indices = summed = None
        sum_noise = 0.0
    else:
        indices, summed = sampled(array.shape, axis, limit), sums(array, axis)
        sum_noise = _rounded_up(float(np.max(error_of(sums(found, axis)[0], summed[0]))))
    return Mark(
        layer=value.layer,
        class_name=value.class_name,
        loop=value.loop,
        output=value.output,
        time_axis=axis,
        shape=tuple(array.shape),
        place=place,
        scale=float(np.max(np.abs(array))),
        noise=_rounded_up(float(np.max(error_of(found, array)))),
        indices=indices,
        values=array.ravel() if indices is None else array.ravel()[indices],
        sums=summed,
        sum_noise=sum_noise,
    )


def _rounded_up(noise: float) -> float:
    """To a power of 2: the last digits of an error must not make two exports of one model differ."""
    return 2.0 ** math.ceil(math.log2(noise)) if noise > 0 else 0.0


def sampled(shape: Sequence[int], time_axis: int | None, limit: int) -> np.ndarray:
    """Flat indices of at most `limit` values of an array, in rising order.

    The first timesteps are in it, where a fault shows first, and others at even distances. At each of them the same
    values are sampled: different units before different rows of the batch, because a weight acts on all rows and, at
    first, on one unit.
    """
    grid = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(tuple(shape))
    grid_TBU = by_step(grid, time_axis)
    count, rows, units = grid_TBU.shape
    most = max(1, limit // _LEAST_OF_A_STEP)
    half = most // 2
    far = np.linspace(half, count - 1, most - half).astype(int) if count > most else np.arange(half, count)
    steps = np.unique(np.concatenate([np.arange(min(half, count)), far]))
    each = min(limit // len(steps), rows * units)
    order = np.random.default_rng(0).permutation(units)
    turns = np.arange(each)
    picked = grid_TBU[steps][:, (turns % units + turns // units) % rows, order[turns % units]]
    return np.unique(picked).astype(np.int32 if grid.size < 1 << 31 else np.int64)
