"""Narrow floats: rounded where the model runs in float32, exact where it runs in float64."""

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
