"""`keras.ops.scan`, traced so that what it carries is a variable of the loop.

Before: the carry is written to and read from an array of one element, which has no ONNX form
After:  tf.while_loop(..., (step, carry, outputs))
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from rnnexport.compat.keras3 import backend

_lock = threading.Lock()


@contextmanager
def scans_that_carry_values() -> Iterator[None]:
    """Inside this block `keras.ops.scan` is a loop over values. One thread at a time."""
    with _lock:
        original = backend.core.scan
        backend.core.scan = _scan
        try:
            yield
        finally:
            backend.core.scan = original


def _scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> tuple[Any, Any]:
    """As `keras.ops.scan` documents: the last carry, and the outputs of every step, stacked where they belong."""
    del unroll  # says how fast, not what
    sequences = [tf.convert_to_tensor(part) for part in keras.tree.flatten(xs)] if xs is not None else []
    steps = int(length) if length is not None else _length(sequences[0])
    first = [tf.convert_to_tensor(part) for part in keras.tree.flatten(init)]
    arrays = [tf.TensorArray(part.dtype, steps, element_shape=part.shape) for part in first]

    def step(at: Any, carry: list[Any], kept: list[Any]) -> tuple[Any, list[Any], list[Any]]:
        place = steps - 1 - at if reverse else at
        elements = [tf.gather(part, place) for part in sequences]
        packed = keras.tree.pack_sequence_as(xs, elements) if xs is not None else None
        after, output = f(keras.tree.pack_sequence_as(init, carry), packed)
        # Keras gives zeros where a step gives no output.
        outputs = [tf.zeros_like(part) for part in carry] if output is None else keras.tree.flatten(output)
        following = carry if after is None else keras.tree.flatten(after)
        return at + 1, following, [array.write(at, value) for array, value in zip(kept, outputs, strict=False)]

    _, last, kept = tf.while_loop(lambda at, *_: at < steps, step, (0, first, arrays))
    stacked = [array.stack() for array in kept]
    ordered = [tf.reverse(part, [0]) for part in stacked] if reverse else stacked
    return keras.tree.pack_sequence_as(init, last), keras.tree.pack_sequence_as(init, ordered)


def _length(sequence: Any) -> Any:
    known = sequence.shape[0]
    return tf.shape(sequence)[0] if known is None else known
