"""Elements taken from and put at positions that are computed."""

from __future__ import annotations

import numpy as np


def gather_elements(x: np.ndarray, indices: np.ndarray, axis: int) -> np.ndarray:
    """Take x[indices[i, j], j] for axis 0; indices may be shorter than x along the other axes."""
    axis = axis % x.ndim
    covered = tuple(slice(None) if at == axis else slice(size) for at, size in enumerate(indices.shape))
    return np.take_along_axis(x[covered], indices, axis)


def gather_nd(x: np.ndarray, indices: np.ndarray, batch_dims: int = 0) -> np.ndarray:
    """Take x[i, j, ...] for each row (i, j, ...) of indices; the first batch_dims axes of both are the same."""
    lead = indices.shape[:batch_dims]
    grid = [np.arange(size).reshape([-1] + [1] * (indices.ndim - 2 - at)) for at, size in enumerate(lead)]
    return x[(*grid, *np.moveaxis(indices, -1, 0))]


def scatter_nd(x: np.ndarray, indices: np.ndarray, updates: np.ndarray, reduction: str = "none") -> np.ndarray:
    """Put updates at x[i, j, ...] for each row (i, j, ...) of indices, or combine them with what is there."""
    return put(x, tuple(np.moveaxis(indices, -1, 0)), updates, reduction)


def scatter_elements(
    x: np.ndarray, indices: np.ndarray, updates: np.ndarray, axis: int = 0, reduction: str = "none"
) -> np.ndarray:
    """Put updates[i, j] at x[indices[i, j], j] for axis 0, or combine them with what is there."""
    positions: list[np.ndarray] = list(np.indices(indices.shape, sparse=True))
    positions[axis] = indices
    return put(x, tuple(positions), updates, reduction)


def put(x: np.ndarray, positions: tuple[np.ndarray, ...], updates: np.ndarray, reduction: str) -> np.ndarray:
    """Put updates into a copy of x, or combine them with what is there, each in turn."""
    y = np.array(x)
    if reduction == "none":
        y[positions] = updates
    else:
        combine = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[reduction]
        combine.at(y, positions, updates)
    return y


def looked_up(x: np.ndarray, words: list[str], values: list[int], default: int) -> np.ndarray:
    """The value of each word, of which there is one at least; the words are sorted."""
    known, x = np.array(words), np.asarray(x)
    at = np.minimum(np.searchsorted(known, x), len(words) - 1)
    return np.where(known[at] == x, np.array(values, np.int64)[at], default)


def top_k(x: np.ndarray, k: int, axis: int = -1, largest: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """The k largest or smallest along an axis, in order, and where they are; the first of equal ones comes first."""
    if largest:
        last = x.shape[axis] - 1
        order = last - np.flip(np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)
    else:
        order = np.argsort(x, axis=axis, kind="stable")
    order = np.take(order, range(k), axis=axis)
    return np.take_along_axis(x, order, axis), order


def one_hot(indices: np.ndarray, depth: int, values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Put values[1] at each index along a new axis of size depth, values[0] elsewhere; -1 is the last one."""
    indices = np.where(indices < 0, indices + depth, indices)
    hot = indices[..., None] == np.arange(depth)
    return np.moveaxis(np.where(hot, values[1], values[0]), -1, axis)


def unique(
    x: np.ndarray, axis: int | None = None, ordered: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Distinct elements or slices, where each comes first, which of them each one is, and how often it comes.

    They are in order, or as they come first.
    """
    found, first, inverse, counts = np.unique(x, return_index=True, return_inverse=True, return_counts=True, axis=axis)
    inverse = inverse.reshape(-1)
    if not ordered:
        order = np.argsort(first)
        found, first, counts = np.take(found, order, axis=axis or 0), first[order], counts[order]
        inverse = np.argsort(order)[inverse]
    return found, first, inverse, counts


def reverse_sequence(x: np.ndarray, lengths: np.ndarray, time_axis: int = 0, batch_axis: int = 1) -> np.ndarray:
    """Reverse the first `lengths` steps of each row; the others stay."""
    x = np.moveaxis(x, (batch_axis, time_axis), (0, 1))
    steps = np.arange(x.shape[1])
    lengths = lengths[:, None]
    order = np.where(steps < lengths, lengths - 1 - steps, steps)
    return np.moveaxis(x[np.arange(len(x))[:, None], order], (0, 1), (batch_axis, time_axis))
