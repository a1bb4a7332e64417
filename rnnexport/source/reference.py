"""The truth: what eager Keras computes, with its own state variables. Shares no code with the traced graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from rnnexport.errors import ConversionError, ForeignCode
from rnnexport.signature import Signature
from rnnexport.source.load import SourceModel


def run_eager(
    source: SourceModel, inputs: Sequence[np.ndarray], states: Sequence[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """One eager call from the given states; the states the live model had before are put back after it.

    Returns:
        The outputs, and the states the call left behind.
    """
    variables = [state.variable for state in source.api.states(source.model)]
    before = [tf.convert_to_tensor(variable).numpy() for variable in variables]
    try:
        _assign(variables, states)
        outputs = source.api.call(source.model, [tf.constant(array) for array in inputs])
        after = [tf.convert_to_tensor(variable).numpy() for variable in variables]
    finally:
        _assign(variables, before)
    return [tf.convert_to_tensor(output).numpy() for output in outputs], after


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


def explain_call(source: SourceModel) -> Callable[[Exception], ConversionError]:
    """For `ForeignCode` around a call of the model."""

    def explain(error: Exception) -> ConversionError:
        return ConversionError(
            f"calling {source.name} in eager mode raises {type(error).__name__}: {error}",
            "a model that runs in Keras",
            "try model(x) in Python; --debug shows the traceback",
        )

    return explain


def _assign(variables: Sequence[tf.Variable], values: Sequence[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
