"""Convolutions of any rank. Letters: N rows, C channels in, M channels out, G groups of channels."""

from __future__ import annotations

import numpy as np

from rnnexport.emit.numpy.operators.normalization import per_channel
from rnnexport.emit.numpy.operators.windows import margins, padded, windows


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
