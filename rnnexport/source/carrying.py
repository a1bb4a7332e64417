"""Layers that are made to go on from where the call before ended, and nothing else about them changed.

A recurrent layer     Before: starts from its initial state    After: starts from its cells, leaves its states there
One given its start   Before: starts from what it is given     After: does so at its first call, which a cell remembers
A causal convolution  Before: puts zeros in front              After: puts the end of the chunk before in front
Padding               Before: repeats the output before it,    After: ... of which the last is kept in a cell
                      zeros at the first step of a call
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.source.api import Layer

# A layer's own `call`, with its arguments, which may be changed first.
Replacement = Callable[["LayerCall"], Any]


class LayerCall:
    """A call of a layer that has not been carried out yet, its arguments by name however they were passed.

    Attributes:
        layer: that is called.
    """

    def __init__(
        self, layer: Layer, method: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        self.layer = layer
        self._method = method
        self._bound = inspect.signature(method).bind(*args, **kwargs)
        self._first = next(iter(self._bound.arguments))
        # Where a `call` has `**kwargs`, what is not named in it is inside these.
        self._more = next(
            (name for name, one in self._bound.signature.parameters.items() if one.kind is one.VAR_KEYWORD), None
        )

    @property
    def inputs(self) -> Any:
        """What the layer is given; in tf_keras a list, where an initial state or constants come with the sequence."""
        return self._bound.arguments[self._first]

    @property
    def sequence(self) -> Any:
        """The first tensor of `inputs`."""
        return tf.nest.flatten(self.inputs)[0]

    @property
    def tensors(self) -> list[Any]:
        """All that the layer is given."""
        given = tf.nest.flatten([list(self._bound.args), dict(self._bound.kwargs)])
        return [one for one in given if hasattr(one, "shape")]

    @property
    def mask(self) -> Any:
        """`mask_BT`, or None; the sequence's own where every argument has one."""
        mask = self._get("mask")
        return mask[0] if isinstance(mask, list | tuple) else mask

    def with_inputs(self, inputs: Any) -> None:
        """Change what the layer is given."""
        self._bound.arguments[self._first] = inputs

    def initial_state(self) -> list[Any] | None:
        """The initial state that the model gives the layer, flat, or None."""
        given = self._beside_the_sequence() or self._get("initial_state")
        return None if given is None else list(tf.nest.flatten(given))

    def take_initial_state(self) -> list[Any] | None:
        """The same, without which the call is from now on."""
        given = self.initial_state()
        if self._get("initial_state") is not None:
            self._places("initial_state")["initial_state"] = None
        if beside := self._beside_the_sequence():
            self.with_inputs([self.inputs[0], *self.inputs[1 + len(beside) :]])
        return given

    def run(self) -> Any:
        """Carry it out."""
        return self._method(*self._bound.args, **self._bound.kwargs)

    def _beside_the_sequence(self) -> list[Any]:
        """tf_keras has the sequence, the states and the constants in one list."""
        if not isinstance(self.inputs, list):
            return []
        return self.inputs[1 : len(self.inputs) - (getattr(self.layer, "_num_constants", 0) or 0)]

    def _places(self, name: str) -> dict[str, Any]:
        more: dict[str, Any] = self._bound.arguments.get(self._more or "", {})
        return more if name in more else self._bound.arguments

    def _get(self, name: str) -> Any:
        return self._places(name).get(name)


@dataclass(frozen=True, eq=False)
class CarriedRecurrence:
    """The states of a recurrent layer.

    Attributes:
        layer: the layer.
        initial: the value that each of `cells` has before the first chunk, one row.
        structure: the states in the structure in which the layer keeps them.
        states: what they are carried in, flat.
        started: where the model gives the layer what it starts from: whether a row has started.
        held: where the layer has a mask: the output of the last step, flat.
    """

    layer: Layer
    initial: tuple[np.ndarray, ...]
    structure: Any
    states: tuple[StateCell, ...]
    started: StateCell | None
    held: tuple[StateCell, ...]

    @property
    def cells(self) -> tuple[StateCell, ...]:
        """All that is carried, in the order of `initial`."""
        return (*self.states, *((self.started,) if self.started is not None else ()), *self.held)

    def call(self, call: LayerCall) -> Any:
        """What the layer gives for a chunk. Reads and writes `cells`."""
        given = call.take_initial_state()
        if self.started is not None:
            self._start(self.started, given or [])
        states = tf.nest.pack_sequence_as(self.structure, self.states)
        with attributes_replaced(self.layer, {"stateful": True, "states": states}):
            result = call.run()
        if not self.held or call.mask is None:
            return result
        outputs, after = (result[0], list(result[1:])) if self.layer.return_state else (result, None)
        flat = [
            self._held(output, call.mask, cell)
            for output, cell in zip(tf.nest.flatten(outputs), self.held, strict=True)
        ]
        packed = tf.nest.pack_sequence_as(outputs, flat)
        return packed if after is None else type(result)([packed, *after])

    def _start(self, started: StateCell, given: Sequence[Any]) -> None:
        """Give the rows that have not started what the model starts them from."""
        for cell, start in zip(self.states, given, strict=True):
            cell.assign(tf.where(_to_rank(started.value[:, 0], len(start.shape)), cell, tf.cast(start, cell.dtype)))
        started.assign(tf.ones_like(started.value))

    def _held(self, output: Any, mask_BT: Any, cell: StateCell) -> Any:
        """The output with the held one in its padded steps that no real step comes before."""
        if not self.layer.return_sequences:
            seen = _to_rank(tf.reduce_any(mask_BT, axis=1), len(output.shape))
            cell.assign(tf.where(seen, output, cell))
            return tf.identity(cell.value)
        seen_BT = tf.cumsum(tf.cast(mask_BT, tf.int32), axis=1) > 0
        held = tf.where(_to_rank(seen_BT, len(output.shape)), output, tf.cast(cell.value, output.dtype)[:, tf.newaxis])
        cell.assign(held[:, -1])
        return held


@dataclass(frozen=True, eq=False)
class CarriedHistory:
    """The last inputs of a causal convolution, `x_BPC` for a padding of P steps.

    Attributes: see `CarriedRecurrence`.
    """

    layer: Layer
    initial: tuple[np.ndarray, ...]
    cells: tuple[StateCell, ...]

    def call(self, call: LayerCall) -> Any:
        """What the layer gives for a chunk. Reads and writes `cells`."""
        (cell,) = self.cells
        joined_BTC = tf.concat([tf.cast(cell.value, call.sequence.dtype), call.sequence], axis=1)
        padding = int(self.initial[0].shape[1])
        call.with_inputs(joined_BTC)
        # Both Keras ask the first how much to put in front; in a graph tf_keras asks the second what comes out.
        replaced = {"_compute_causal_padding": _no_padding, "compute_output_shape": _any_shape}
        with attributes_replaced(self.layer, replaced):
            result = call.run()
        cell.assign(joined_BTC[:, -padding:])
        return result


Carried = CarriedRecurrence | CarriedHistory


@contextmanager
def carrying(layers: Sequence[Carried]) -> Iterator[None]:
    """Inside this block the layers read and write their cells."""
    with ExitStack() as stack:
        for carried in layers:
            # A layer that keeps states itself would read and write those.
            values = {"stateful": False} if isinstance(carried, CarriedRecurrence) else {}
            stack.enter_context(attributes_replaced(carried.layer, values))
        stack.enter_context(calls_replaced({carried.layer: carried.call for carried in layers}))
        yield


@contextmanager
def calls_replaced(calls: Mapping[Layer, Replacement]) -> Iterator[None]:
    """Inside this block each layer calls what is given for it in place of its own `call`."""

    # Stands in for a method of Keras, whatever is passed to it.
    def replacing(layer: Layer, call: Replacement) -> Callable[..., Any]:
        method = layer.call
        return lambda *args, **kwargs: call(LayerCall(layer, method, args, kwargs))

    with ExitStack() as stack:
        for layer, call in calls.items():
            stack.enter_context(attributes_replaced(layer, {"call": replacing(layer, call)}))
        yield


@contextmanager
def attributes_replaced(layer: Layer, values: Mapping[str, Any]) -> Iterator[None]:
    """Inside this block the layer has these attributes, out of sight of the tracking of either Keras."""
    own = {name: vars(layer)[name] for name in values if name in vars(layer)}
    before = {name: getattr(layer, name) for name in values if name not in own and _is_property(layer, name)}
    try:
        for name, value in values.items():
            object.__setattr__(layer, name, value)
        yield
    finally:
        for name in values:
            if name in own or name in before:
                object.__setattr__(layer, name, own[name] if name in own else before[name])
            elif name in vars(layer):
                object.__delattr__(layer, name)


def _is_property(layer: Layer, name: str) -> bool:
    return isinstance(getattr(type(layer), name, None), property)


def _to_rank(condition: Any, rank: int) -> Any:
    """With axes of size 1 behind, to stand beside a tensor of that rank."""
    return tf.reshape(condition, tf.concat([tf.shape(condition), [1] * (rank - len(condition.shape))], axis=0))


def _no_padding(*inputs: Any) -> list[list[int]]:
    del inputs  # tf_keras gives them, Keras 3 does not
    return [[0, 0]] * 3


def _any_shape(shape: Any) -> Any:
    del shape  # of the inputs with those before them
    return tf.TensorShape(None)


class StateCell:
    """Read as a tensor, assigned as a value.

    Both Keras read the state of a stateful layer by converting it to a tensor, and write it with `assign` (tf_keras by
    way of `tf.compat.v1.assign`). No more is asked of a state than that, a `dtype` and a `shape`.
    """

    def __init__(self, value: tf.Tensor) -> None:
        self.value = value

    @property
    def dtype(self) -> tf.DType:
        return self.value.dtype

    @property
    def shape(self) -> tf.TensorShape:
        return self.value.shape

    def __tf_tensor__(self, dtype: tf.DType | None = None, name: str | None = None) -> tf.Tensor:
        value = self.value if dtype is None else tf.cast(self.value, dtype)
        return tf.convert_to_tensor(value, name=name)

    def assign(self, value: Any, use_locking: Any = None, name: Any = None, read_value: Any = None) -> None:
        """Take the new value, in the state's dtype; the extra arguments are those `tf.compat.v1.assign` passes."""
        self.value = tf.cast(tf.convert_to_tensor(value), self.value.dtype)
