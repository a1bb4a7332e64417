"""Weights as int8 numbers with a scale for each channel.

    w ~ scale * q,  q from -127 to 127

The scale of a channel is that of its largest weight, or larger where products would saturate: on x86 without VNNI an
unsigned byte times a signed one is added to its neighbour's product in 16 bits (`vpmaddubsw`), which holds
255 * 128 and no more. A file goes from host to host, so that two weights that are added there never exceed 128
together: what a channel loses by it is less than the bit that weights of 7 bits lose, and often nothing.
"""

from __future__ import annotations

import numpy as np

MOST = 127
# Rounding adds up to a half to each of two weights: together they stay within 128.
_PAIR = 127.0
_LEAST = 1e-30  # of a channel of zeros


def per_channel(weight: np.ndarray, axis: int, along: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(q, scale): `weight` in int8, and the float32 scale of each place on `axis`.

    Args:
        weight: finite numbers.
        axis: that of the channels.
        along: the axis over which products are added up, two by two; None where the weights are used as float32.
    """
    rest = tuple(at for at in range(weight.ndim) if at != axis % weight.ndim)
    size = np.abs(weight).max(axis=rest, keepdims=True, initial=0.0).astype(np.float64)
    if along is not None:
        size = np.maximum(size, _pairs(weight, along).max(axis=rest, keepdims=True, initial=0.0) * (MOST / _PAIR))
    scale = np.maximum(size / MOST, _LEAST).astype(np.float32)
    q = np.clip(np.rint(weight / scale.astype(np.float64)), -MOST, MOST).astype(np.int8)
    return q, scale.reshape(-1)


def _pairs(weight: np.ndarray, along: int) -> np.ndarray:
    """What two neighbours of one sign are together, whose products are added first; the last of an odd number alone."""
    moved = np.moveaxis(weight.astype(np.float64), along, 0)
    first, second = moved[0::2], moved[1::2]
    if len(second) < len(first):
        second = np.concatenate([second, np.zeros_like(first[:1])])
    both: np.ndarray = np.where(first * second > 0, np.abs(first + second), 0.0)
    return np.moveaxis(both, 0, along)
