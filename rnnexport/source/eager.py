"""The truth: what eager Keras computes, with its own state variables. Shares no code with the traced graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.core.errors import ConversionError, ForeignCode, reason
from rnnexport.core.signature import Signature, as_text
from rnnexport.source.api import Layer, Model, ModelApi, hidden_state
from rnnexport.source.carrying import LayerCall, calls_replaced
from rnnexport.source.model import SourceModel

_POOLING = "AdaptiveMaxPooling1D"


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


def short_sequences_refused(api: ModelApi, model: Model) -> AbstractContextManager[None]:
    """Inside this block a layer raises a ValueError where it has fewer steps than it reads at once.

    Two kinds do not in TensorFlow 2.21, which runs them with what lies in memory, or until the process ends:

        DepthwiseConv1D(3, dilation_rate=2)(x_B3I)    reads five steps; gives three, of numbers that nobody computed
        AdaptiveMaxPooling1D(2)(x_B1I)                divides by zero in the kernel, which ends the process (SIGFPE)

    Others raise by themselves: on such a sequence there is no truth.
    """
    return calls_replaced({layer: _checked for layer in api.layers(model) if _is_dilated(layer) or _pools(layer)})


def _is_dilated(layer: Layer) -> bool:
    dilation = getattr(layer, "dilation_rate", None)
    return isinstance(dilation, tuple) and max(dilation) > 1 and getattr(layer, "padding", None) == "valid"


def _pools(layer: Layer) -> bool:
    return any(kind.__name__ == _POOLING for kind in type(layer).__mro__)


def _checked(call: LayerCall) -> Any:
    layer = call.layer
    first = 2 if layer.data_format == "channels_first" else 1
    needed = (2,) if _pools(layer) else _reads(layer)
    sizes = tuple(call.sequence.shape[first : first + len(needed)])
    if any(size is not None and size < least for size, least in zip(sizes, needed, strict=True)):
        raise ValueError(f"layer {layer.name} reads {needed} steps at once, and is given {sizes}")
    return call.run()


def _reads(layer: Layer) -> tuple[int, ...]:
    return tuple(rate * (size - 1) + 1 for rate, size in zip(layer.dilation_rate, layer.kernel_size, strict=True))
