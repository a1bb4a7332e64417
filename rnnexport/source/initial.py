"""The states of a fresh model as tensors, for formats whose artifacts hold several functions."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rnnexport.core.signature import BATCH, Signature, StateSpec, argument_name


def initial_state(signature: Signature, argument: str) -> Any:
    """A `ConcreteFunction` that gives every state as it is before the first call, under the argument that it is for.

    Args:
        signature: of the model; it has states.
        argument: the name of its one argument, an int32 scalar that says how many rows are wanted. It has none where
            the batch is fixed.
    """
    states = signature.states
    if not any(BATCH in state.input.shape for state in states):
        fixed = tf.function(lambda: {argument_name(state.input.name): fresh_state(state, None) for state in states})
        return fixed.get_concrete_function()
    by_rows = tf.function(lambda rows: {argument_name(state.input.name): fresh_state(state, rows) for state in states})
    return by_rows.get_concrete_function(tf.TensorSpec([], tf.int32, argument))


def fresh_state(state: StateSpec, rows: tf.Tensor | None) -> tf.Tensor:
    """The state of `rows` fresh rows, an int32 scalar; where the batch is fixed, of as many as it is fixed to."""
    value = tf.constant(state.initial)
    if BATCH not in state.input.shape:
        return value
    return tf.broadcast_to(value, [rows if dim == BATCH else dim for dim in state.input.shape])
