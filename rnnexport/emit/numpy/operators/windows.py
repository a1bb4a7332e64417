"""Windows over the axes of space of an array of the shape (N, C, ...), and what is put around it for them."""

from __future__ import annotations

import numpy as np


def windows(
    x: np.ndarray, size: tuple[int, ...], strides: tuple[int, ...] = (), dilations: tuple[int, ...] = ()
) -> np.ndarray:
    """All windows of that size, without a copy: the axes of the windows come last."""
    strides, dilations = strides or (1,) * len(size), dilations or (1,) * len(size)
    reach = tuple((k - 1) * d + 1 for k, d in zip(size, dilations, strict=True))
    seen = np.lib.stride_tricks.sliding_window_view(x, reach, axis=tuple(range(2, x.ndim)))
    return seen[:, :, *(slice(None, None, step) for step in (*strides, *dilations))]


def padded(x: np.ndarray, around: tuple[tuple[int, int], ...], value: float = 0) -> np.ndarray:
    """The value before and behind x on each axis of space, so often as `around` says."""
    if not any(map(any, around)):
        return x
    sides = [(before, n, behind) for n, (before, behind) in zip(x.shape[2:], around, strict=True)]
    y = np.full((*x.shape[:2], *map(sum, sides)), value, x.dtype)
    y[:, :, *(slice(before, before + n) for before, n, _ in sides)] = x
    return y


def margins(
    space: tuple[int, ...],
    size: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    padding: tuple[tuple[int, int], ...] | str,
) -> tuple[tuple[int, int], ...]:
    """How much goes before and behind each axis of space; `same_upper` and `same_lower` mean n / stride windows."""
    if not isinstance(padding, str):
        return padding or ((0, 0),) * len(size)
    strides, dilations = strides or (1,) * len(size), dilations or (1,) * len(size)
    around = []
    for n, k, s, d in zip(space, size, strides, dilations, strict=True):
        half, rest = divmod(max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0), 2)
        around.append((half, half + rest) if padding == "same_upper" else (half + rest, half))
    return tuple(around)


def pool_windows(
    x: np.ndarray,
    size: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    padding: tuple[tuple[int, int], ...] | str,
    ceil_mode: bool,
    outside: float = 0,
    beyond: float = 0,
) -> np.ndarray:
    """The windows of a pooling, over padding that holds `outside`.

    With `ceil_mode` the last window may go beyond the padded end, where it sees `beyond`, if it begins before it.
    """
    around = margins(x.shape[2:], size, strides, dilations, padding)
    y = padded(x, around, outside)
    if ceil_mode:
        strides, dilations = strides or (1,) * len(size), dilations or (1,) * len(size)
        more = []
        for n, k, s, d, (_, behind) in zip(y.shape[2:], size, strides, dilations, around, strict=True):
            reach = (k - 1) * d + 1
            last = -(-(n - reach) // s) * s
            last -= s if last >= n - behind else 0
            more.append((0, max(last + reach - n, 0)))
        y = padded(y, tuple(more), beyond)
    return windows(y, size, strides, dilations)
