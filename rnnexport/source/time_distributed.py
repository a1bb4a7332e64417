"""Keras 3's `TimeDistributed`, put right for a length that is not known when it is traced.

    Before: vectorized_map(step, arange(batch))     After: vectorized_map(step, arange(time))

It takes the number of steps from the shape before it swaps batch and time, and so returns `(B, B, ...)`. Eagerly, and
with a fixed length, it takes another path, which is right.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

_lock = threading.Lock()


@contextmanager
def time_distributed_over_time() -> Iterator[None]:
    """Inside this block `TimeDistributed` runs over time, whatever is known of its length. One thread at a time."""
    layer_class = keras.layers.TimeDistributed

    def call(self: Any, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if inputs.shape[1] is not None:
            return original(self, inputs, training=training, mask=mask)
        x_TB = _swapped(inputs)
        mask_TB = None if mask is None else _swapped(mask)

        def step(t: Any) -> Any:
            options = {"training": training} if self.layer._call_has_training_arg else {}
            if mask_TB is not None and self.layer._call_has_mask_arg:
                options["mask"] = mask_TB[t]
            return self.layer.call(x_TB[t], **options)

        return _swapped(tf.vectorized_map(step, tf.range(tf.shape(x_TB)[0])))

    with _lock:
        original = layer_class.call
        layer_class.call = call
        try:
            yield
        finally:
            layer_class.call = original


def _swapped(tensor: Any) -> Any:
    """Batch and time swapped: `[B, T, ...]` to `[T, B, ...]` and back."""
    return tf.transpose(tensor, [1, 0, *range(2, len(tensor.shape))])
