"""What every layer of a source gives in one eager call, cells at every timestep too, in the order of computation.

Found by watching the one method through which Keras calls all layers. What a layer computes out of sight of it (the
gates of a cell, a cell that runs inside a `tf.function`) has no value of its own here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.artifact.layer_map import LayerValue
from rnnexport.core.errors import ForeignCode
from rnnexport.core.signature import Signature
from rnnexport.source.api import Layer
from rnnexport.source.eager import explain_call, run_eager
from rnnexport.source.model import SourceModel

_FLOATS = (tf.float16, tf.float32, tf.float64)
_SEQUENCE_RANK = 3
_lock = threading.Lock()


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
