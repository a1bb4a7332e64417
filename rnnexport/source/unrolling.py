"""`backend.rnn` of either Keras, made to write a recurrence as a loop, or step by step, whatever a layer asks for.

How Keras writes a recurrence does not change what it computes, but for this:

1. Backwards with a mask and `zero_output_for_mask` (so inside `Bidirectional`): both Keras, when they unroll, reverse
   the inputs but not the mask that zeroes the outputs. Of a layer that a file unrolls that is what it computes:
       Before: rnn(x, mask, go_backwards, zero)  After: rnn(x, mask, go_backwards), zero where mask is False
   One that we unroll does what its loop does:
       Before: rnn(x, mask, go_backwards)        After: rnn(reversed x, reversed mask)
2. Several outputs a step: tf_keras stacks them as if they were one tensor when it unrolls.
       Before: step -> ([y_BP, a_BQ], states)    After: step -> (ya_B(P+Q), states), cut again behind the last step
   Joining is by concatenation of the flattened outputs, so that masks act on each value as before. A cell with one
   output is run as it was.
3. Layers that never pass `unroll` on (the ConvLSTM layers of tf_keras) unroll too.

`keras.ops.scan` and `keras.ops.associative_scan`, traced as loops over values.

1. `scan`: what it carries is a variable of the loop.
       Before: the carry is written to and read from an array of one element, which has no ONNX form
       After:  tf.while_loop(..., (step, carry, outputs))
2. `associative_scan` over an open length, which Keras halves while it traces, and so can't.
       After:  y[t] = f(y[t - d], y[t]) for t >= d, with d = 1, 2, 4, ... up to the length (Hillis and Steele, 1986)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import keras
import tensorflow as tf

from rnnexport.compat.keras3 import backend
from rnnexport.core.errors import ConversionError
from rnnexport.source.api import Layer, attributes_set

# An unrolled recurrence has the operators of its step this many times at most: what is longer is never done.
MOST_STEPS = 10_000
_lock = threading.Lock()
_scan_lock = threading.Lock()
_Combine = Callable[[Any, Any], Any]


@contextmanager
def recurrences_written(backend: ModuleType, layers: Iterable[Layer], *, unroll: bool | None) -> Iterator[None]:
    """Inside this block recurrences are loops, or unrolled. One thread at a time.

    Args:
        backend: the module whose `rnn` the layers of one Keras call.
        layers: the recurrent ones.
        unroll: whether all are unrolled, or none; None for those that ask for it.
    """
    if unroll is None:
        yield
        return

    # Stands in for a function of Keras, whatever else its layers pass to it.
    def rnn(
        step_function: Callable[..., Any],
        inputs: Any,
        initial_states: Any,
        go_backwards: bool = False,
        mask: Any = None,
        time_major: bool = False,
        **options: Any,
    ) -> Any:
        late = options.get("unroll") and go_backwards and mask is not None and options.get("zero_output_for_mask")
        given = mask
        if unroll and go_backwards and mask is not None:
            axis = [0 if time_major else 1]
            inputs = tf.nest.map_structure(lambda tensor: tf.reverse(tensor, axis), inputs)
            mask, go_backwards = tf.reverse(mask, axis), False
        if unroll:
            require_few_steps("a recurrence", tf.nest.flatten(inputs)[0].shape[0 if time_major else 1])
        options |= {"go_backwards": go_backwards, "mask": mask, "time_major": time_major, "unroll": unroll}
        options |= {"zero_output_for_mask": False} if late else {}
        joined = _Joined(step_function)
        step = joined.step if unroll else step_function
        last_output, outputs, states = original(step, inputs, initial_states, **options)
        last_output, outputs = joined.cut(last_output), joined.cut(outputs)
        if late:
            last_output = _zeroed(last_output, given[0] if time_major else given[:, 0])
            outputs = _zeroed(outputs, given)
        return last_output, outputs, states

    # A layer that asks for it wants a fixed length even where nothing is unrolled.
    rolled = [layer for layer in layers if not (layer.go_backwards and getattr(layer, "zero_output_for_mask", False))]
    with _lock, attributes_set(rolled, {"unroll": False}):
        original = backend.rnn
        backend.rnn = rnn  # type: ignore[attr-defined]
        try:
            yield
        finally:
            backend.rnn = original  # type: ignore[attr-defined]


def require_few_steps(what: str, steps: int | None) -> None:
    """Refuse to unroll a recurrence over more steps than `MOST_STEPS`; None are those that are not known.

    Raises:
        ConversionError: names the number.
    """
    if steps is not None and steps > MOST_STEPS:
        raise ConversionError(
            f"{what} takes {steps} timesteps, each of which is written out in this format",
            f"at most {MOST_STEPS}",
            "give --form rolled (not with --quantize int8) or fewer --timesteps, or export single steps with --stream",
        )


def unrolls(layer: Layer) -> bool:
    """Whether a recurrent layer asks to be unrolled."""
    return bool(getattr(layer, "unroll", False))


def _zeroed(values: Any, mask: Any) -> Any:
    """Zero where the mask, of the first axes of the values, is False."""

    def zeroed(tensor: Any) -> Any:
        kept = tf.cast(mask, tf.bool)
        for _ in range(len(tensor.shape) - len(kept.shape)):
            kept = kept[..., tf.newaxis]
        return tf.where(kept, tensor, tf.zeros_like(tensor))

    return tf.nest.map_structure(zeroed, values)


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


@contextmanager
def scans_that_carry_values() -> Iterator[None]:
    """Inside this block both scans are loops over values. One thread at a time."""
    original = backend.core.associative_scan

    def associative_scan(f: _Combine, elems: Any, reverse: bool = False, axis: int = 0) -> Any:
        parts = [tf.convert_to_tensor(part) for part in keras.tree.flatten(elems)]
        if parts[0].shape[axis] is not None:
            return original(f, elems, reverse=reverse, axis=axis)
        return _doubled(f, elems, parts, reverse, axis % parts[0].shape.rank)

    with _scan_lock, attributes_set([backend.core], {"scan": _scan, "associative_scan": associative_scan}):
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
