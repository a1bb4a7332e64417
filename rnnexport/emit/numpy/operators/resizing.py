"""Resizing of arrays along their axes, by the coordinates that image libraries use."""

from __future__ import annotations

import numpy as np


def resize(
    x: np.ndarray,
    sizes: dict[int, int],
    mode: str = "nearest",
    coordinates: str = "half_pixel",
    rounding: str = "round_prefer_floor",
    cubic: float = -0.75,
    exclude_outside: bool = False,
) -> np.ndarray:
    """Axes to their new sizes. `cubic` is the free coefficient; `exclude_outside` leaves out what is beyond an end."""
    for axis, size in sizes.items():
        n = x.shape[axis]
        if n != size:
            at = places(size, n, n, size, coordinates)
            x = sampled(x, axis, at, mode, rounding, cubic, exclude_outside)
    return x


def resize_by(
    x: np.ndarray,
    scales: dict[int, float],
    mode: str = "nearest",
    coordinates: str = "half_pixel",
    rounding: str = "round_prefer_floor",
    cubic: float = -0.75,
    exclude_outside: bool = False,
) -> np.ndarray:
    """Axes to so many times their sizes, rounded down; see `resize`. A scale is what float32 has of it."""
    for axis, scale in scales.items():
        n = x.shape[axis]
        size = int(np.float32(n) * np.float32(scale))
        old, new = (n, size) if np.float32(size / n) == np.float32(scale) else (1, scale)
        at = places(size, n, old, new, coordinates)
        x = sampled(x, axis, at, mode, rounding, cubic, exclude_outside)
    return x


def places(size: int, n: int, old: float, new: float, coordinates: str) -> np.ndarray:
    """Where each of `size` new elements lies among the n old ones, if `new` of them take the room of `old` ones."""
    i = np.arange(size)
    if coordinates == "align_corners":
        return i * (n - 1) / max(size - 1, 1)
    if coordinates == "asymmetric":
        return i * old / new
    if coordinates == "tf_half_pixel_for_nn":
        return (i + 0.5) * old / new
    if coordinates == "pytorch_half_pixel" and size == 1:
        return np.zeros(1)
    return (i + 0.5) * old / new - 0.5


def sampled(
    x: np.ndarray, axis: int, at: np.ndarray, mode: str, rounding: str, cubic: float, exclude_outside: bool
) -> np.ndarray:
    """The elements at these places of an axis, or what lies between them; beyond the ends the last one goes on."""
    last = x.shape[axis] - 1
    if mode == "nearest":
        return x.take(np.clip(nearest(at, rounding), 0, last), axis=axis)
    first = np.floor(at).astype(int)
    distance = at - first
    if mode == "linear":
        around, weights = [0, 1], [1 - distance, distance]
    else:
        around = [-1, 0, 1, 2]
        weights = [cubic_weight(np.abs(distance - step), cubic) for step in around]
    if exclude_outside:
        weights = [w * ((first + step >= 0) & (first + step <= last)) for w, step in zip(weights, around, strict=True)]
        weights = [w / sum(weights) for w in weights]
    along = (-1, *[1] * (x.ndim - 1 - axis))
    y = np.zeros((), x.dtype)
    for w, step in zip(weights, around, strict=True):
        y = y + x.take(np.clip(first + step, 0, last), axis=axis) * w.astype(x.dtype).reshape(along)
    return y


def nearest(at: np.ndarray, rounding: str) -> np.ndarray:
    """The number of the element that is nearest to each place."""
    if rounding == "floor":
        y = np.floor(at)
    elif rounding == "ceil":
        y = np.ceil(at)
    elif rounding == "round_prefer_ceil":
        y = np.floor(at + 0.5)
    else:
        y = np.ceil(at - 0.5)
    return y.astype(int)


def cubic_weight(distance: np.ndarray, a: float) -> np.ndarray:
    """What an element at this distance, below 2, counts in a cubic with the free coefficient a."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, far)
