"""The truth: what eager Keras computes, with its own state variables. Shares no code with the traced graph.

What every layer of a source gives in one eager call, cells at every timestep too, in the order of computation.

Found by watching the one method through which Keras calls all layers. What a layer computes out of sight of it (the
gates of a cell, a cell that runs inside a `tf.function`) has no value of its own here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.artifact.layer_map import LayerValue
from rnnexport.core.errors import ConversionError, ForeignCode, reason
from rnnexport.core.signature import Signature, as_text
from rnnexport.source.api import Layer, Model, ModelApi, hidden_state
from rnnexport.source.carrying import LayerCall, calls_replaced
from rnnexport.source.model import SourceModel

_POOLING = "AdaptiveMaxPooling1D"
_FLOATS = (tf.float16, tf.float32, tf.float64)
_SEQUENCE_RANK = 3
_lock = threading.Lock()


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


def layer_values(source: SourceModel, signature: Signature, feed: Mapping[str, np.ndarray]) -> tuple[LayerValue, ...]:
    """The floating-point outputs of all layers for `feed`, in the order in which eager Keras computes them.

    A layer comes behind the layers inside it. The live model and its Keras are left as they were.

    Args:
        feed: an array for every input and state of `signature`.

    Returns:
        Nothing for a SavedModel, whose layers can't be told.

    Raises:
        ConversionError: the model's own code raises.
    """
    if source.api.name == "saved-model":
        return ()
    watch = _Watch(source.api.recurrent)
    inputs = [feed[spec.name] for spec in signature.inputs]
    states = [feed[state.input.name] for state in signature.states]
    with ForeignCode(explain_call(source)), _watched(source.api.name, watch):
        run_eager(source, inputs, states)
    return tuple(_timed(value, watch.lengths) for value in watch.values)


@contextmanager
def _watched(package: str, watch: _Watch) -> Iterator[None]:
    """Inside this block `watch` is told of every call of a layer. One thread at a time."""
    keras = import_module(package)
    layer_class = keras.layers.Layer
    # Keras 3 has operations between layers, which are no layers; a layer calls the same method for its own ends.
    operation_class = getattr(keras, "Operation", None)
    with _lock, ExitStack() as stack:
        stack.enter_context(_method_watched(layer_class, watch, lambda _: True))
        if operation_class is not None:
            stack.enter_context(_method_watched(operation_class, watch, lambda op: not isinstance(op, layer_class)))
        yield


@contextmanager
def _method_watched(owner: Any, watch: _Watch, wanted: Callable[[Any], bool]) -> Iterator[None]:
    original = owner.__call__

    # Stands in for a method of Keras, whatever is passed to it.
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not wanted(self):
            return original(self, *args, **kwargs)
        return watch.call(self, lambda: original(self, *args, **kwargs), [*args, *kwargs.values()])

    owner.__call__ = call
    try:
        yield
    finally:
        owner.__call__ = original


@dataclass
class _Loop:
    """A call of a recurrent layer that is going on: what was called in it, by path, with the outputs of each call."""

    path: str
    length: int
    calls: dict[str, list[tuple[Layer, list[tf.Tensor]]]] = field(default_factory=dict)


class _Watch:
    """Listens to one call of a model.

    Attributes:
        values: what was computed so far.
        lengths: of the sequences that recurrent layers were given.
    """

    def __init__(self, recurrent: Callable[[Layer], bool]) -> None:
        self.values: list[LayerValue] = []
        self.lengths: set[int] = set()
        self._recurrent = recurrent
        # By identity, which is a tensor's own as long as it is kept.
        self._given_by: dict[int, int] = {}
        self._kept: list[tf.Tensor] = []
        self._path: list[str] = []
        self._loops: list[_Loop] = []

    def call(self, layer: Layer, call: Callable[[], Any], arguments: Sequence[Any]) -> Any:
        """Carry out `call`, which calls `layer` with `arguments`, and take down what it gives."""
        flat = tf.nest.flatten(list(arguments))
        length = _length(flat) if self._recurrent(layer) else None
        self._path.append(layer.name)
        if length is not None:
            self._loops.append(_Loop("/".join(self._path[1:]), length))
        try:
            result = call()
        finally:
            path = "/".join(self._path[1:])
            self._path.pop()
            loop = self._loops.pop() if length is not None else None
        if not path:
            return result  # the model itself
        if loop is not None and not self._loops:
            self.lengths.add(loop.length)
            self.values += _stepped(loop)
        tensors = [tensor for tensor in tf.nest.flatten(result) if _eager(tensor)]
        if self._loops:
            self._loops[-1].calls.setdefault(path, []).append((layer, tensors))
        else:
            read = tuple(self._given_by[id(item)] for item in flat if id(item) in self._given_by)
            self._add(path, layer, tensors, tuple(dict.fromkeys(read)))
        return result

    def _add(self, path: str, layer: Layer, tensors: Sequence[tf.Tensor], inputs: tuple[int, ...]) -> None:
        for index, tensor in enumerate(tensors):
            if tensor.dtype in _FLOATS and len(tensor.shape):
                output = f"output {index}" if index else "output"
                # A layer that hands on what it was given is not where it comes from.
                self._given_by.setdefault(id(tensor), len(self.values))
                self._kept.append(tensor)
                self.values.append(LayerValue(path, type(layer).__name__, output, tensor.numpy(), inputs=inputs))


def _length(tensors: Sequence[Any]) -> int | None:
    """The length of the sequence that a recurrent layer is called with, where it is called with one."""
    first = next((item for item in tensors if hasattr(item, "shape")), None)
    if first is None or len(first.shape) < _SEQUENCE_RANK or not _eager(first):
        return None
    return int(first.shape[1])


def _eager(tensor: Any) -> bool:
    return tf.is_tensor(tensor) and not tf.is_symbolic_tensor(tensor) and hasattr(tensor, "numpy")


def _stepped(loop: _Loop) -> list[LayerValue]:
    """What was called once a timestep, its outputs stacked to `[B, T, ...]`."""
    found: list[LayerValue] = []
    for path, calls in loop.calls.items():
        # Both Keras call a cell once before the loop, on the first step, to learn what it gives.
        steps = calls[1:] if len(calls) == loop.length + 1 else calls
        counts = {len(tensors) for _, tensors in steps}
        if len(steps) != loop.length or len(counts) != 1:
            continue
        layer = steps[0][0]
        states = _state_count(layer)
        outputs = max(counts.pop() - states, 1)
        for index, tensors in enumerate(zip(*(tensors for _, tensors in steps), strict=True)):
            if all(tensor.dtype in _FLOATS and tensor.shape == tensors[0].shape for tensor in tensors):
                name = f"state {index - outputs}" if index >= outputs else f"output {index}" if index else "output"
                found += _of_cell(path, layer, name, loop.path, [tensor.numpy() for tensor in tensors])
    return found


def _of_cell(path: str, layer: Layer, output: str, loop: str, steps: Sequence[np.ndarray]) -> list[LayerValue]:
    if not steps[0].ndim:
        return []
    return [LayerValue(path, type(layer).__name__, output, np.stack(steps, axis=1), 1, loop)]


def _state_count(layer: Layer) -> int:
    """How many of the tensors that a cell gives are states; 0 for a layer inside a cell."""
    size = getattr(layer, "state_size", None)
    if size is None:
        return 0
    return len(tf.nest.flatten([size] if isinstance(size, tf.TensorShape) else size, expand_composites=False))


def _timed(value: LayerValue, lengths: set[int]) -> LayerValue:
    """With the axis of time, where its size is the length of a sequence that a recurrent layer was given."""
    array = value.array
    if value.time_axis is None and array.ndim >= _SEQUENCE_RANK and array.shape[1] in lengths:
        return replace(value, time_axis=1)
    return value
