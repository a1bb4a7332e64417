"""The truth: what eager Keras computes, with its own state variables. Shares no code with the traced graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.core.errors import ConversionError, ForeignCode, reason
from rnnexport.core.signature import Signature, as_text
from rnnexport.source.api import hidden_state
from rnnexport.source.model import SourceModel
from rnnexport.source.short_sequences import short_sequences_refused


def run_eager(
    source: SourceModel, inputs: Sequence[np.ndarray], states: Sequence[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """One eager call from the given states. All that the call changed in the live model is put back after it.

    Whether an output depends on what else it changes is seen in the graph, when that is traced. A program of TensorFlow
    is one call there, into which nobody looks: it may change nothing.

    Returns:
        The outputs, and the states the call left behind.

    Raises:
        ConversionError: a program changed a variable.
    """
    recurrent = [state.variable for state in source.api.states(source.model)]
    others = source.api.untrained(source.model)
    before = [(variable, _value(variable)) for variable in [*recurrent, *(variable for _, variable in others)]]
    try:
        for variable, value in zip(recurrent, states, strict=True):
            variable.assign(value)
        with short_sequences_refused(source.api, source.model):
            outputs = source.api.call(source.model, [tf.constant(array) for array in inputs])
        after = [_value(variable) for variable in recurrent]
        if source.api.name == "saved-model":
            _refuse_changes(others, [value for _, value in before[len(recurrent) :]])
    finally:
        for variable, value in before:
            variable.assign(value)
    return [_value(output) for output in outputs], after


def _refuse_changes(variables: Sequence[tuple[str, Any]], before: Sequence[np.ndarray]) -> None:
    for (name, variable), value in zip(variables, before, strict=True):
        if not np.array_equal(_value(variable), value, equal_nan=True):
            raise hidden_state(name)


def reference(source: SourceModel, signature: Signature, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What every artifact must give for `feed`, by output name, states after the call included.

    Raises:
        ConversionError: the model's own code raises.
    """
    with ForeignCode(explain_call(source)):
        outputs, after = run_eager(
            source,
            [feed[spec.name] for spec in signature.inputs],
            [feed[state.input.name] for state in signature.states],
        )
    return dict(zip([spec.name for spec in signature.all_outputs], outputs + after, strict=True))


def explain_call(source: SourceModel) -> Callable[[BaseException], ConversionError]:
    """For `ForeignCode` around a call of the model."""

    def explain(error: BaseException) -> ConversionError:
        return ConversionError(
            f"calling {source.name} in eager mode raises {reason(error)}",
            "a model that runs in Keras",
            "try model(x) in Python; --debug shows the traceback",
        )

    return explain


def _value(tensor: tf.Tensor | tf.Variable) -> np.ndarray:
    return as_text(np.asarray(tf.convert_to_tensor(tensor).numpy()))
