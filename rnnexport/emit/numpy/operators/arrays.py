"""Arrays: narrow floats, what NumPy has no function of, other shapes, elements at computed places, sums along axes.

Narrow floats are rounded where the model runs in float32, and exact where it runs in float64.
"""

from __future__ import annotations

import numpy as np


def half(dtype: type) -> type:
    """The dtype of the model's float16 values; float64 holds them all."""
    return np.float16 if np.dtype(dtype) == np.float32 else dtype


def as_half(x: np.ndarray, dtype: type) -> np.ndarray:
    """Round x to float16, unless the model runs in float64."""
    return np.asarray(x).astype(half(dtype))


def as_bfloat16(x: np.ndarray, dtype: type) -> np.ndarray:
    """Round x to the nearest bfloat16, ties to even, kept as float32, unless the model runs in float64."""
    x = np.asarray(x).astype(dtype)
    if x.dtype != np.float32:
        return x
    bits = x.view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return np.where(np.isnan(x), x, rounded.view(np.float32))


def erf(x: np.ndarray) -> np.ndarray:
    """The error function, to the rounding of float64: series of Chebyshev polynomials for |x| below and above 1."""
    near = (
        *(0.9754769393826541, -0.14226120510371365, 0.010035582187599796, -0.0005768764699767485),
        *(2.741993125219606e-05, -1.1043175507344507e-06, 3.8488755420345036e-08, -1.1808582533875466e-09),
        *(3.233421582605091e-11, -7.991015947004549e-13, 1.7990725113961456e-14, -3.718635487818693e-16),
    )
    far = (
        *(0.24078150322816144, -0.1660357343713446, 0.01937548512710411, -0.0013725838866457216),
        *(2.3301617872657463e-05, 4.842439456015362e-06, -2.1925049177302584e-07, -2.8603646284729237e-08),
        *(1.258114961136046e-09, 2.4685801467325007e-10, -2.494144837888475e-12, -2.3295004504759956e-12),
        *(-9.680201775604102e-14, 1.779692405045016e-14, 2.244625861005935e-15, -2.9106217488718164e-17),
    )
    exact = np.asarray(x, np.float64)
    # erf(6) is 1 in float64.
    size = np.minimum(np.abs(exact), 6.0)
    tail = np.maximum(size, 1.0)
    tail = 1.0 - np.exp(-tail * tail) * np.polynomial.chebyshev.chebval((12 * (tail - 2) / (tail + 2) - 1) / 5, far)
    size = np.minimum(size, 1.0)
    head = size * np.polynomial.chebyshev.chebval(2 * size * size - 1, near)
    return np.copysign(np.where(np.abs(exact) > 1.0, tail, head), exact).astype(np.asarray(x).dtype)


def truncated_quotient(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The quotient of integers, rounded toward zero: `//` rounds down."""
    quotient = a // b
    inexact = quotient * b != a
    return quotient + (inexact & ((a < 0) != (b < 0)))


def float_range(start: float, limit: float, step: float, dtype: type) -> np.ndarray:
    """Numbers from start in equal steps, before limit."""
    start, limit, step = np.array([start, limit, step], dtype)
    length = max(int(np.ceil((limit - start) / step)), 0)
    return start + step * np.arange(length, dtype=dtype)


def reshape(x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Give x another shape: 0 keeps the size that x has there, -1 is what is left."""
    return x.reshape([x.shape[axis] if size == 0 else size for axis, size in enumerate(shape)])


def flatten(x: np.ndarray, axis: int) -> np.ndarray:
    """Make a matrix of x: the axes before `axis` are rows, the rest columns."""
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(np.prod(x.shape[:axis], dtype=int), np.prod(x.shape[axis:], dtype=int))


def expand(x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Broadcast x and another shape with each other."""
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape)))


def split(x: np.ndarray, parts: int, axis: int = 0) -> list[np.ndarray]:
    """Cut x along an axis into equal parts, the last one smaller where it does not divide."""
    size = -(-x.shape[axis] // parts)
    before = (slice(None),) * (axis % x.ndim)
    return [x[(*before, slice(part * size, (part + 1) * size))] for part in range(parts)]


def take_slice(
    x: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    axes: tuple[int, ...] | None = None,
    steps: tuple[int, ...] | None = None,
) -> np.ndarray:
    """Take start:end:step along each of the axes."""
    items = [slice(None)] * x.ndim
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        items[number if axes is None else axes[number]] = slice(start, end, 1 if steps is None else steps[number])
    return x[tuple(items)]


def depth_to_space(x: np.ndarray, block: int, mode: str = "DCR") -> np.ndarray:
    """Move channels of x [N, C * block * block, H, W] into blocks of space; DCR has the blocks before C, CRD after."""
    n, c, h, w = x.shape
    c = c // (block * block)
    if mode == "DCR":
        x = x.reshape(n, block, block, c, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        x = x.reshape(n, c, block, block, h, w).transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(n, c, h * block, w * block)


def space_to_depth(x: np.ndarray, block: int) -> np.ndarray:
    """Move blocks of space of x [N, C, H, W] into channels, before C."""
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // block, block, w // block, block).transpose(0, 3, 5, 1, 2, 4)
    return x.reshape(n, c * block * block, h // block, w // block)


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
