"""Activation functions without overflow, windows over the axes of space, convolution, pooling and normalization.

Letters: N rows, C channels in, M channels out, G groups of channels. An array with axes of space is (N, C, ...).
"""

from __future__ import annotations

import numpy as np

from rnnexport.emit.numpy.operators.arrays import erf


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


def celu(x: np.ndarray, alpha: float) -> np.ndarray:
    """Above zero x, below it alpha * (exp(x / alpha) - 1)."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))


def thresholded_relu(x: np.ndarray, threshold: float) -> np.ndarray:
    """Above the threshold x, below it 0."""
    return np.where(x > threshold, x, 0)


def softsign(x: np.ndarray) -> np.ndarray:
    """A sigmoid between -1 and 1, without exp."""
    return x / (1 + np.abs(x))


def hard_swish(x: np.ndarray) -> np.ndarray:
    """Swish: x times a sigmoid of straight lines."""
    return x * np.clip(x / 6 + 0.5, 0, 1)


def gelu(x: np.ndarray) -> np.ndarray:
    """Swish of a normal distribution: x times the probability that a standard normal variable is below x."""
    return 0.5 * x * (1 + erf(x * 0.7071067811865476))


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    """gelu, approximated by a tanh."""
    return 0.5 * x * (1 + np.tanh(0.7978845608028654 * (x + 0.044715 * x**3)))


def mish(x: np.ndarray) -> np.ndarray:
    """Swish with tanh(softplus(x)) for the sigmoid."""
    return x * np.tanh(np.logaddexp(x, 0))


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


def hardmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """1 at the first of the largest along the axis, 0 elsewhere."""
    y = np.zeros_like(x)
    np.put_along_axis(y, np.expand_dims(x.argmax(axis=axis), axis), 1, axis=axis)
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


def per_channel(vector_C: np.ndarray, rank: int) -> np.ndarray:
    """A number a channel, laid along the second axis of an array of that rank."""
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


def layer_normalize(
    x: np.ndarray, scale: np.ndarray, bias: np.ndarray | float = 0, axis: int = -1, epsilon: float = 1e-5
) -> np.ndarray:
    """Along all axes from that one on."""
    return normalize(x, tuple(range(axis % x.ndim, x.ndim)), epsilon) * scale + bias


def local_response_normalize(x: np.ndarray, size: int, alpha: float, beta: float, bias: float) -> np.ndarray:
    """By the squares of `size` neighbouring channels."""
    around = [(0, 0), ((size - 1) // 2, size // 2), *[(0, 0)] * (x.ndim - 2)]
    squares = np.lib.stride_tricks.sliding_window_view(np.pad(np.square(x), around), size, axis=1).sum(axis=-1)
    return x / (bias + alpha / size * squares) ** beta


def to_unit_length(x: np.ndarray, axis: int = -1, p: int = 2) -> np.ndarray:
    """To length 1 along the axis, by the sum of absolute values (p = 1) or the root of that of squares (p = 2)."""
    length = np.abs(x).sum(axis=axis, keepdims=True) if p == 1 else np.sqrt(np.square(x).sum(axis=axis, keepdims=True))
    return np.divide(x, length, out=np.zeros_like(x), where=length != 0)
