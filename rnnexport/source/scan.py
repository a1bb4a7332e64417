"""`keras.ops.scan` and `keras.ops.associative_scan`, traced as loops over values.

1. `scan`: what it carries is a variable of the loop.
       Before: the carry is written to and read from an array of one element, which has no ONNX form
       After:  tf.while_loop(..., (step, carry, outputs))
2. `associative_scan` over an open length, which Keras halves while it traces, and so can't.
       After:  y[t] = f(y[t - d], y[t]) for t >= d, with d = 1, 2, 4, ... up to the length (Hillis and Steele, 1986)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from rnnexport.compat.keras3 import backend
from rnnexport.source.api import attributes_set

_lock = threading.Lock()
_Combine = Callable[[Any, Any], Any]


@contextmanager
def scans_that_carry_values() -> Iterator[None]:
    """Inside this block both scans are loops over values. One thread at a time."""
    original = backend.core.associative_scan

    def associative_scan(f: _Combine, elems: Any, reverse: bool = False, axis: int = 0) -> Any:
        parts = [tf.convert_to_tensor(part) for part in keras.tree.flatten(elems)]
        if parts[0].shape[axis] is not None:
            return original(f, elems, reverse=reverse, axis=axis)
        return _doubled(f, elems, parts, reverse, axis % parts[0].shape.rank)

    with _lock, attributes_set([backend.core], {"scan": _scan, "associative_scan": associative_scan}):
        yield


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


def _doubled(f: _Combine, elems: Any, parts: list[Any], reverse: bool, axis: int) -> Any:
    """As `keras.ops.associative_scan` documents, of a length that is open; `parts` are the tensors of `elems`."""
    before = (slice(None),) * axis
    if reverse:
        parts = [tf.reverse(part, [axis]) for part in parts]
    length = tf.shape(parts[0])[axis]

    def step(reach: Any, parts: list[Any]) -> tuple[Any, list[Any]]:
        early, late = (
            keras.tree.pack_sequence_as(elems, [part[(*before, where)] for part in parts])
            for where in (slice(None, length - reach), slice(reach, None))
        )
        combined = keras.tree.flatten(f(early, late))
        joined = [
            tf.ensure_shape(tf.concat([part[(*before, slice(None, reach))], one], axis), part.shape)
            for part, one in zip(parts, combined, strict=True)
        ]
        return 2 * reach, joined

    _, found = tf.while_loop(lambda reach, *_: reach < length, step, (1, parts))
    ordered = [tf.reverse(part, [axis]) for part in found] if reverse else found
    return keras.tree.pack_sequence_as(elems, ordered)
