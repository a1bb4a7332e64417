"""The number that a constant of the source means: what a program that was written of it computes with."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnexport.emit.numpy.rules.common import literal


def meant(array: np.ndarray) -> np.ndarray:
    """Numbers in float64 as `literal` writes them: of the float32 next to 0.2 it is 0.2.

    Args:
        array: of a floating dtype.
    """
    flat = [_value(item) for item in np.asarray(array).ravel()]
    return np.array(flat, np.float64).reshape(np.shape(array))


def _value(item: Any) -> float:
    return float(eval(literal(item).text, {"np": np}))  # the text is this package's own
