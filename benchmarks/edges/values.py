"""The numbers at which operators are tried: where a formula that is right in the middle breaks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

LARGEST = float(np.finfo(np.float32).max)
TINY = float(np.finfo(np.float32).tiny)
SUBNORMAL = 1e-40
# Positive ones: powers of ten, both sides of thresholds that functions have, ties, where exp over- and underflows.
SIZES = (
    *(SUBNORMAL, TINY, 1e-30, 1e-8, 1e-6, 1e-4, 0.01, 0.25, 0.49999997, 0.5, 0.50000006, 0.99999994, 1.0, 1.0000001),
    *(1.5, 2.0, 2.5, 2.9999998, 3.0, 3.0000002, 3.5, 5.9999995, 6.0, 6.0000005, 7.3, 14.5, 19.999998, 20.000002, 30.0),
    *(88.0, 89.0, 100.0, 104.0, 255.5, 1e4, 65504.0, 65520.0, 1e6, 16777217.0, 1e10, 1.7e9, 1e30, LARGEST, np.inf),
)
# Those that are taken in pairs.
PAIRED = (0.0, -0.0, SUBNORMAL, 1e-6, 0.3, 1.0, -1.0, 2.5, -2.5, 3.0, -3.0, 7.0, 100.0, -1e6, 1e6, 1e30, -1e30)
PAIRED_TOO = (LARGEST, np.inf, -np.inf, np.nan)
WHOLE = (0, 1, -1, 2, -2, 3, -3, 7, -7, 8, 100, -101, 16777217, -16777217, 2147483647, -2147483647)
DIVISORS = (1, -1, 2, -2, 3, -3, 7, -8, 1000, 65537)
ROWS = (
    (0.5, -1.25, 2.0, 0.125, -3.0, 1.0),
    (2.0, 5.0, 5.0, -1.0, 5.0, -1.0),  # ties
    (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    (-0.0, 0.0, -0.0, 0.0, -0.0, -0.0),
    (1e-6, -2e-6, 3e-6, 1e-8, -1e-7, 2e-6),
    (1e-30, 2e-30, -1e-30, 3e-30, 1e-30, -2e-30),
    (SUBNORMAL, -SUBNORMAL, 0.0, TINY, -TINY, SUBNORMAL),
    (100.0, -100.0, 99.5, 89.0, -89.0, 0.0),
    (1e4, -1e4, 9999.0, 1.0, 0.0, -1.0),
    (1e30, -1e30, 1e29, 1.0, 0.0, 2e30),
    (1e6, 1e6, 1000001.0, 999999.0, 1e6, 1e6),
    (np.inf, 1.0, -2.0, 0.0, 3.0, 4.0),
    (-np.inf, 1.0, -2.0, 0.0, 3.0, 4.0),
    (np.nan, 1.0, -2.0, 0.0, 3.0, 4.0),
    (1.0, 2.0, np.nan, 5.0, -1.0, 0.5),
    (-np.inf, -np.inf, -np.inf, -np.inf, -np.inf, -np.inf),
)
ROWS_OF_IDS = ((0, 1, 2), (5, 4, 3), (-1, 6, 0), (100, -7, 5))


def inputs() -> Mapping[str, np.ndarray]:
    """By name: `x` alone; `a` and `b` in pairs; `i` and `j` integers in pairs; `r` rows; `k` ids, some out of range 6.

    float32 and int32. No two inputs have a shape in common.
    """
    signed = [0.0, -0.0, *SIZES, *(-size for size in SIZES), np.nan]
    pairs = (*PAIRED, *PAIRED_TOO)
    whole, divisors = np.meshgrid(np.array(WHOLE, np.int32), np.array(DIVISORS, np.int32), indexing="ij")
    a, b = np.meshgrid(np.array(pairs, np.float32), np.array(pairs, np.float32), indexing="ij")
    return {
        "x": np.array(signed, np.float32).reshape(1, -1),
        "a": a,
        "b": b,
        "i": whole,
        "j": divisors,
        "r": np.array(ROWS, np.float32),
        "k": np.array(ROWS_OF_IDS, np.int32),
    }
