"""Whether a layer computes each row of its batch from that row alone, found by running it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.core.errors import ConversionError, ForeignCode, reason

_ROWS = 3
_SIZES = (7, 17, 59)  # of what is open: the first that the layer takes, which may need as many steps as it pools


def rows_are_independent(layer: Callable[[Any], Any], x_BT: Any) -> bool:
    """Whether `layer` gives, for a batch of steps of `x_BT`, the rows that it gives for each of them alone.

    It is run on random numbers. One that raises, takes several tensors, gives something else than one, or gives another
    thing when it is called again does not.

    Args:
        layer: takes and gives a batch of rows.
        x_BT: what steps are taken from, a tensor with a batch and a length.
    """
    if not hasattr(x_BT, "shape"):
        return False
    for size in _SIZES:
        shape = [_ROWS, *(size if one is None else one for one in x_BT.shape[2:])]
        try:
            with tf.init_scope(), ForeignCode(_not_run):
                rows = _some(shape, x_BT.dtype)
                together, again = layer(rows), layer(rows)
                alone = [layer(rows[at : at + 1]) for at in range(_ROWS)]
        except ConversionError:
            continue
        return all(_alike(together, other) for other in (again, alone))
    return False


def _not_run(error: BaseException) -> ConversionError:
    return ConversionError(reason(error), "a layer that takes a batch of rows", "loop over time")


def _some(shape: list[int], dtype: tf.DType) -> Any:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(shape) if dtype.is_floating else rng.integers(0, 2, shape)
    return tf.constant(values, dtype)


def _alike(together: Any, other: Any) -> bool:
    """Equal but for rounding, which differs with the batch."""
    if not hasattr(together, "shape"):
        return False
    joined = np.concatenate([np.asarray(one) for one in other]) if isinstance(other, list) else np.asarray(other)
    found = np.asarray(together)
    return found.shape == joined.shape and np.allclose(found, joined, rtol=1e-2, atol=1e-3, equal_nan=True)
