"""Activation functions without overflow, windows over the axes of space, convolution, pooling and normalization.

Letters: N rows, C channels in, M channels out, G groups of channels. An array with axes of space is (N, C, ...).
"""

from __future__ import annotations

import numpy as np


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), to the last digits at both ends; from the bound on it rounds to 1."""
    y = np.empty_like(x)
    np.minimum(x, 11 if y.itemsize == 2 else 40, out=y)
    np.exp(y, out=y)
    y /= y + 1
    return y


def leaky_relu(x: np.ndarray, slope: float | np.ndarray) -> np.ndarray:
    """Above zero x, below it slope * x."""
    return np.where(x < 0, slope * x, x)


def elu(x: np.ndarray, alpha: float) -> np.ndarray:
    """Above zero x, below it alpha * (exp(x) - 1)."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def softsign(x: np.ndarray) -> np.ndarray:
    """A sigmoid between -1 and 1, without exp."""
    return x / (1 + np.abs(x))


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """exp(x), divided by its sum along the axis."""
    y = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
    np.exp(y, out=y)
    y /= y.sum(axis=axis, keepdims=True)
    return y


def log_softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """The logarithm of softmax."""
    y = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
    y -= np.log(np.exp(y).sum(axis=axis, keepdims=True))
    return y


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


def convolve(
    x: np.ndarray,
    kernel: np.ndarray,
    bias_M: np.ndarray | None = None,
    strides: tuple[int, ...] = (),
    dilations: tuple[int, ...] = (),
    padding: tuple[tuple[int, int], ...] | str = (),
    groups: int = 1,
) -> np.ndarray:
    """Slide a kernel of the shape (M, C / G, ...) over x of the shape (N, C, ...); gives (N, M, ...)."""
    rank, size, N, M = x.ndim - 2, kernel.shape[2:], len(x), len(kernel)
    around = margins(x.shape[2:], size, strides, dilations, padding)
    seen = windows(padded(x, around), size, strides, dilations)
    space = seen.shape[2 : 2 + rank]
    # Space stays last: its elements are neighbours before and after the copy.
    seen = seen.transpose(0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank))
    columns = seen.reshape(N, groups, kernel[0].size, np.prod(space, dtype=int))
    y = (kernel.reshape(groups, M // groups, kernel[0].size) @ columns).reshape(N, M, *space)
    return y if bias_M is None else y + per_channel(bias_M, y.ndim)


def transposed_convolve(
    x: np.ndarray,
    kernel: np.ndarray,
    bias_M: np.ndarray | None = None,
    strides: tuple[int, ...] = (),
    dilations: tuple[int, ...] = (),
    padding: tuple[tuple[int, int], ...] | str = (),
    groups: int = 1,
    output_padding: tuple[int, ...] = (),
    output_shape: tuple[int, ...] = (),
) -> np.ndarray:
    """Spread x of the shape (N, C, ...) by a kernel of the shape (C, M / G, ...); gives (N, M, ...)."""
    (N, C), space, size, M = x.shape[:2], x.shape[2:], kernel.shape[2:], kernel.shape[1] * groups
    strides, dilations = strides or (1,) * len(space), dilations or (1,) * len(space)
    rows = np.moveaxis(x.reshape(N, groups, C // groups, *space), (1, 2), (0, -1))
    rows = rows.reshape(groups, N * np.prod(space, dtype=int), C // groups)
    spread = rows @ kernel.reshape(groups, C // groups, kernel[0].size)
    spread = np.moveaxis(spread.reshape(groups, N, *space, M // groups, *size), (0, 2 + len(space)), (1, 2))
    spread = spread.reshape(N, M, *space, *size)
    reach = [s * (n - 1) + 1 for s, n in zip(strides, space, strict=True)]
    whole = [r + d * (k - 1) for r, d, k in zip(reach, dilations, size, strict=True)]
    whole = [n + more for n, more in zip(whole, output_padding or (0,) * len(space), strict=True)]
    cut = cuts(whole, space, strides, padding, output_shape)
    y = np.zeros((N, M, *(max(sizes) for sizes in zip(whole, output_shape or whole, strict=True))), x.dtype)
    for at in np.ndindex(*size):
        into = [slice(i * d, i * d + r, s) for i, d, r, s in zip(at, dilations, reach, strides, strict=True)]
        y[:, :, *into] += spread[..., *at]
    y = y[:, :, *(slice(before, n - behind) for n, (before, behind) in zip(y.shape[2:], cut, strict=True))]
    return y if bias_M is None else y + per_channel(bias_M, y.ndim)


def cuts(
    whole: list[int],
    space: tuple[int, ...],
    strides: tuple[int, ...],
    padding: tuple[tuple[int, int], ...] | str,
    output_shape: tuple[int, ...],
) -> tuple[tuple[int, int], ...]:
    """How much of a transposed convolution is cut off before and behind on each axis of space."""
    if not output_shape and not isinstance(padding, str):
        return padding or ((0, 0),) * len(space)
    wanted = output_shape or tuple(n * s for n, s in zip(space, strides, strict=True))
    halves = [divmod(max(n - m, 0), 2) for n, m in zip(whole, wanted, strict=True)]
    if padding == "same_upper":
        return tuple((half, half + rest) for half, rest in halves)
    return tuple((half + rest, half) for half, rest in halves)


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


def per_channel(vector_C: np.ndarray, rank: int) -> np.ndarray:
    """A number a channel, along the second axis of an array of that rank."""
    return vector_C.reshape(-1, *[1] * (rank - 2))


def normalize(x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> np.ndarray:
    """Along the axes to mean 0 and variance 1."""
    centred = x - x.mean(axis=axes, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(axis=axes, keepdims=True) + epsilon)


def batch_normalize(
    x: np.ndarray, scale_C: np.ndarray, bias_C: np.ndarray, mean_C: np.ndarray, variance_C: np.ndarray, epsilon: float
) -> np.ndarray:
    """Every channel by the mean and the variance that were learned for it."""
    factor_C = scale_C / np.sqrt(variance_C + epsilon)
    return (x - per_channel(mean_C, x.ndim)) * per_channel(factor_C, x.ndim) + per_channel(bias_C, x.ndim)


def instance_normalize(x: np.ndarray, scale_C: np.ndarray, bias_C: np.ndarray, epsilon: float) -> np.ndarray:
    """Every channel of every row by itself."""
    normal = normalize(x, tuple(range(2, x.ndim)), epsilon)
    return normal * per_channel(scale_C, x.ndim) + per_channel(bias_C, x.ndim)


def local_response_normalize(x: np.ndarray, size: int, alpha: float, beta: float, bias: float) -> np.ndarray:
    """By the squares of `size` neighbouring channels."""
    around = [(0, 0), ((size - 1) // 2, size // 2), *[(0, 0)] * (x.ndim - 2)]
    squares = np.lib.stride_tricks.sliding_window_view(np.pad(np.square(x), around), size, axis=1).sum(axis=-1)
    return x / (bias + alpha / size * squares) ** beta
