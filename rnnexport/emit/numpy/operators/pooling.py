"""Pooling of any rank, over windows of an array of the shape (N, C, ...)."""

from __future__ import annotations

import numpy as np

from rnnexport.emit.numpy.operators.windows import pool_windows


def max_pool(
    x: np.ndarray,
    size: tuple[int, ...],
    strides: tuple[int, ...] = (),
    dilations: tuple[int, ...] = (),
    padding: tuple[tuple[int, int], ...] | str = (),
    ceil_mode: bool = False,
) -> np.ndarray:
    """The largest of every window."""
    seen = pool_windows(x, size, strides, dilations, padding, ceil_mode, -np.inf, -np.inf)
    return seen.max(axis=tuple(range(x.ndim, seen.ndim)))


def average_pool(
    x: np.ndarray,
    size: tuple[int, ...],
    strides: tuple[int, ...] = (),
    dilations: tuple[int, ...] = (),
    padding: tuple[tuple[int, int], ...] | str = (),
    ceil_mode: bool = False,
    count_padding: bool = False,
) -> np.ndarray:
    """The mean of every window: of what is inside x, and of its padding too where that counts."""
    seen = pool_windows(x, size, strides, dilations, padding, ceil_mode)
    inside = np.ones((1, 1, *x.shape[2:]), x.dtype)
    counted = pool_windows(inside, size, strides, dilations, padding, ceil_mode, float(count_padding))
    axes = tuple(range(x.ndim, seen.ndim))
    return seen.sum(axis=axes) / counted.sum(axis=axes)


def power_pool(
    x: np.ndarray,
    size: tuple[int, ...],
    strides: tuple[int, ...] = (),
    dilations: tuple[int, ...] = (),
    padding: tuple[tuple[int, int], ...] | str = (),
    ceil_mode: bool = False,
    p: int = 2,
) -> np.ndarray:
    """The p-norm of every window."""
    seen = pool_windows(np.abs(x) ** p, size, strides, dilations, padding, ceil_mode)
    return seen.sum(axis=tuple(range(x.ndim, seen.ndim))) ** (1 / p)
