"""Arithmetic of integers, and integers in a row."""

from __future__ import annotations

import numpy as np


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
