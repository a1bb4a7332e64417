"""What stands in for a state variable of Keras while the caller holds the states."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


class StateCell:
    """Read as a tensor, assigned as a value.

    Both Keras read the state of a stateful layer by converting it to a tensor, and write it with `assign` (tf_keras by
    way of `tf.compat.v1.assign`). No more is asked of a state than that, a `dtype` and a `shape`.
    """

    def __init__(self, value: tf.Tensor) -> None:
        self.value = value

    @property
    def dtype(self) -> tf.DType:
        return self.value.dtype

    @property
    def shape(self) -> tf.TensorShape:
        return self.value.shape

    def __tf_tensor__(self, dtype: tf.DType | None = None, name: str | None = None) -> tf.Tensor:
        value = self.value if dtype is None else tf.cast(self.value, dtype)
        return tf.convert_to_tensor(value, name=name)

    def assign(self, value: Any, use_locking: Any = None, name: Any = None, read_value: Any = None) -> None:
        """Take the new value, in the state's dtype; the extra arguments are those `tf.compat.v1.assign` passes."""
        self.value = tf.cast(tf.convert_to_tensor(value), self.value.dtype)
