"""Along an axis: running sums, and the last of equal extremes."""

from __future__ import annotations

import numpy as np


def cumulative_sum(x: np.ndarray, axis: int, exclusive: bool = False, reverse: bool = False) -> np.ndarray:
    """The sum up to each element along an axis, without itself where exclusive, from the end where reverse."""
    if reverse:
        x = np.flip(x, axis)
    total = np.cumsum(x, axis=axis, dtype=x.dtype)
    if exclusive:
        total = np.roll(total, 1, axis)
        np.moveaxis(total, axis, 0)[:1] = 0
    return np.flip(total, axis) if reverse else total


def last_argmax(x: np.ndarray, axis: int, keepdims: bool = False) -> np.ndarray:
    """Where the largest along an axis is, the last of equal ones."""
    return x.shape[axis] - 1 - np.argmax(np.flip(x, axis), axis=axis, keepdims=keepdims)


def last_argmin(x: np.ndarray, axis: int, keepdims: bool = False) -> np.ndarray:
    """Where the smallest along an axis is, the last of equal ones."""
    return x.shape[axis] - 1 - np.argmin(np.flip(x, axis), axis=axis, keepdims=keepdims)
