"""Normalizations. Channels are the second axis: x has the shape (N, C, ...)."""

from __future__ import annotations

import numpy as np


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
