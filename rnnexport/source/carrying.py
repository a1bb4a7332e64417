"""Layers that are made to go on from where the call before ended, and nothing else about them changed.

A recurrent layer     Before: starts from its initial state    After: starts from its cells, leaves its states there
One given its start   Before: starts from what it is given     After: does so at its first call, which a cell remembers
A causal convolution  Before: puts zeros in front              After: puts the end of the chunk before in front
Padding               Before: repeats the output before it,    After: ... of which the last is kept in a cell
                      zeros at the first step of a call
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.source.api import Layer
from rnnexport.source.state_cell import StateCell

Call = Callable[..., Any]
# The arguments of a call of a layer, by position and by name.
Positional = Sequence[Any]
Named = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class CarriedRecurrence:
    """The states of a recurrent layer.

    Attributes:
        layer: the layer.
        initial: the value that each of `cells` has before the first chunk, one row.
        cells: what it carries.
        structure: the states in the structure in which the layer keeps them.
        given: whether the model gives the layer what it starts from. The cell behind the states then says, for each
            row, whether it has started.
        held: how many of `cells`, the last ones, hold the output of the last step: where the layer has a mask.
    """

    layer: Layer
    initial: tuple[np.ndarray, ...]
    cells: tuple[StateCell, ...]
    structure: Any
    given: bool
    held: int

    def call(self, original: Call, args: Positional, kwargs: Named) -> Any:
        """What the layer gives for a chunk. Reads and writes `cells`."""
        states = tf.nest.pack_sequence_as(self.structure, self._states())
        rest, named, given = without_initial_state(args, kwargs, self.layer)
        if self.given:
            self._start(given or [])
        with attributes_replaced(self.layer, {"stateful": True, "states": states}):
            result = original(*rest, **named)
        mask_BT = mask_of(named)
        if not self.held or mask_BT is None:
            return result
        outputs, after = (result[0], list(result[1:])) if self.layer.return_state else (result, None)
        flat = [
            self._held(output, mask_BT, cell)
            for output, cell in zip(tf.nest.flatten(outputs), self.cells[-self.held :], strict=True)
        ]
        packed = tf.nest.pack_sequence_as(outputs, flat)
        return packed if after is None else type(result)([packed, *after])

    def _states(self) -> tuple[StateCell, ...]:
        return self.cells[: len(self.cells) - self.held - self.given]

    def _start(self, given: Sequence[Any]) -> None:
        """Give the rows that have not started what the model starts them from."""
        started = self.cells[len(self.cells) - self.held - 1]
        for cell, start in zip(self._states(), given, strict=True):
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

    def call(self, original: Call, args: Positional, kwargs: Named) -> Any:
        """What the layer gives for a chunk. Reads and writes `cells`."""
        (cell,) = self.cells
        joined_BTC = tf.concat([tf.cast(cell.value, args[0].dtype), args[0]], axis=1)
        padding = int(self.initial[0].shape[1])
        # Both Keras ask the first how much to put in front; in a graph tf_keras asks the second what comes out.
        replaced = {"_compute_causal_padding": _no_padding, "compute_output_shape": _any_shape}
        with attributes_replaced(self.layer, replaced):
            result = original(joined_BTC, *args[1:], **kwargs)
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
def calls_replaced(calls: Mapping[Layer, Callable[[Call, Positional, Named], Any]]) -> Iterator[None]:
    """Inside this block each layer calls what is given for it, with its own `call`, and the arguments."""

    # Stands in for a method of Keras, whatever is passed to it.
    def replacing(layer: Layer, call: Callable[[Call, Positional, Named], Any]) -> Call:
        original = layer.call
        return lambda *args, **kwargs: call(original, args, kwargs)

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


def without_initial_state(
    args: Positional, kwargs: Named, layer: Layer
) -> tuple[list[Any], dict[str, Any], list[Any] | None]:
    """The arguments of a recurrent layer's call but for its initial state, and that, flat; None where it has none.

    tf_keras puts the initial state, and then the constants, behind the sequence in one list.
    """
    rest, named = list(args), dict(kwargs)
    given = named.pop("initial_state", None)
    if isinstance(rest[0], list):
        constants = getattr(layer, "_num_constants", 0) or 0
        end = len(rest[0]) - constants
        given = rest[0][1:end] or given
        rest[0] = [rest[0][0], *rest[0][end:]]
    elif len(rest) > 1:
        given, rest[1] = rest[1], None
    return rest, named, None if given is None else list(tf.nest.flatten(given))


def mask_of(named: Named) -> Any:
    """`mask_BT` of a call, or None; the sequence's own where every argument has one."""
    mask = named.get("mask")
    return mask[0] if isinstance(mask, list | tuple) else mask


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
