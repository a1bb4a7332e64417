"""Other shapes, where they are known at run time alone."""

from __future__ import annotations

import numpy as np


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
