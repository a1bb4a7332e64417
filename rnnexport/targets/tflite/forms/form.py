"""What a form is, and the sizes of tensors that it is made with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.compat.tensorflow import smart_constant_value

Operation = Any
Form = Callable[..., tf.Tensor | Sequence[tf.Tensor] | None]
Size = Any  # a number, or a tensor of one


def on_floats(function: Callable[..., tf.Tensor]) -> Form:
    """The form of an operator that is a function of its inputs alone, of floats."""
    return lambda operation, *inputs: function(*inputs) if inputs[0].dtype.is_floating else None


def known(tensor: Any) -> np.ndarray | None:
    """The numbers of a tensor that follows from constants and known shapes; None of all else."""
    if not isinstance(tensor, tf.Tensor) or tensor.dtype in (tf.variant, tf.resource, tf.string):
        return None
    found = smart_constant_value(tensor)
    return None if found is None else np.asarray(found)


def sizes(tensor: tf.Tensor) -> list[Size]:
    """The sizes of a tensor: a number where it is known, else a tensor of one."""
    if tensor.shape.is_fully_defined():
        return list(tensor.shape)
    dynamic = tf.shape(tensor)
    return [dynamic[at] if size is None else size for at, size in enumerate(tensor.shape)]


def product(parts: Sequence[Size]) -> Size:
    """Of sizes, known where all are."""
    found: Size = 1
    for part in parts:
        found = part if isinstance(found, int) and found == 1 else found * part
    return found


def reshaped(tensor: tf.Tensor, shape: Sequence[Size]) -> tf.Tensor:
    """The tensor in another shape, of which one size that is not known is left to the runtime."""
    if sum(not isinstance(size, int) for size in shape) == 1 and all(size != 0 for size in shape if type(size) is int):
        shape = [size if isinstance(size, int) else -1 for size in shape]
    return tf.reshape(tensor, shape)


def fixed(tensor: tf.Tensor, *axes: int) -> bool:
    """Whether the rank is known, and the sizes of these axes are; of all axes where none is named."""
    if tensor.shape.rank is None:
        return False
    return all(tensor.shape[axis] is not None for axis in (axes or range(tensor.shape.rank)))
