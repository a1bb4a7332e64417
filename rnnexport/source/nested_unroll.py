"""Cells with several outputs a step, unrolled: tf_keras stacks the outputs of a step as if they were one tensor.

    Before: step -> ([y_BP, a_BQ], states)              tf.stack fails on two shapes
    After:  step -> (ya_B(P+Q), states), cut again behind the last step

1. A cell with one output is run as it was.
2. Joining is by concatenation of the flattened outputs, so that masks act on each value as before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
from tf_keras.src import backend

_lock = threading.Lock()


@contextmanager
def nested_outputs_unrolled() -> Iterator[None]:
    """Inside this block `tf_keras.backend.rnn` unrolls nested outputs too. One thread at a time."""

    # Stands in for a function of tf_keras, whatever its layers pass to it.
    def rnn(step_function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        joined = _Joined(step_function)
        last_output, outputs, states = original(joined.step, *args, **options)
        return joined.cut(last_output), joined.cut(outputs), states

    with _lock:
        original = backend.rnn
        backend.rnn = rnn
        try:
            yield
        finally:
            backend.rnn = original


class _Joined:
    """A step function whose outputs are one tensor, and the way back."""

    def __init__(self, step_function: Callable[..., Any]) -> None:
        self._step_function = step_function
        self._structure: Any = None
        self._shapes: list[list[int]] = []

    def step(self, inputs: Any, states: Any) -> tuple[tf.Tensor, Any]:
        output, next_states = self._step_function(inputs, states)
        flat = tf.nest.flatten(output)
        if len(flat) == 1:
            return output, next_states
        self._structure = output
        self._shapes = [tensor.shape[1:].as_list() for tensor in flat]
        return tf.concat([tf.reshape(tensor, [tf.shape(tensor)[0], -1]) for tensor in flat], axis=-1), next_states

    def cut(self, joined: tf.Tensor) -> Any:
        """`[..., P + Q]` to the cell's own structure of `[..., P]` and `[..., Q]`."""
        if self._structure is None:
            return joined
        # The length is fixed where a layer is unrolled, so that the batch is the one size that may be open.
        lead = [-1 if size is None else size for size in joined.shape[:-1]]
        widths = [tf.TensorShape(shape).num_elements() for shape in self._shapes]
        pieces = tf.split(joined, widths, axis=-1)
        shaped = [tf.reshape(piece, lead + shape) for piece, shape in zip(pieces, self._shapes, strict=True)]
        return tf.nest.pack_sequence_as(self._structure, shaped)
