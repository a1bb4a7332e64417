"""Which layers have to carry something from chunk to chunk, found by calling the model at two lengths.

A layer whose sequence grows with that of the model runs over its time; one inside a `TimeDistributed`, say, does not.
What it would carry has to be known before the first chunk, and nothing that comes later may matter to it: a layer of
which that can't be so is refused by name.

Whether what a layer starts from depends on the inputs of the model: read off the graph, not guessed from values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.core.errors import ConversionError, ForeignCode
from rnnexport.core.signature import Signature
from rnnexport.source.api import SEQUENCE_RANK, Layer, ModelApi
from rnnexport.source.carrying import Carried, CarriedHistory, CarriedRecurrence, LayerCall, StateCell, calls_replaced
from rnnexport.source.eager import explain_call, run_eager
from rnnexport.source.model import SourceModel
from rnnexport.source.probe import some_feed

_CONVOLUTIONS = (
    *("Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
    *("SeparableConv1D", "SeparableConv2D", "SeparableConvolution1D", "DepthwiseConv1D", "DepthwiseConv2D"),
)
_POOLINGS = tuple(
    f"{scope}{kind}Pooling{rank}D" for scope in ("", "Global") for kind in ("Max", "Average") for rank in (1, 2, 3)
)
_ATTENTIONS = ("Attention", "AdditiveAttention", "MultiHeadAttention", "GroupedQueryAttention")
_DO = "stream the part of the model before it, or export without --stream"
# Operators that read the shape of a tensor, and none of its values.
_SHAPE_ALONE = frozenset(("Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"))


@dataclass(frozen=True, eq=False)
class _SeenCall:
    """One call of a layer.

    Attributes:
        length: of its sequence; None where it is given none.
        by_row: whether it is given a row for each row of the batch.
        states: what its states start from, flat, and in their structure.
        given: whether the model gives them, rather than the layer's cell.
        held: the shapes of its outputs, without the batch, where it has a mask and repeats the output before padding.
    """

    length: int | None
    by_row: bool = True
    states: tuple[np.ndarray, ...] = ()
    structure: Any = None
    given: bool = False
    held: tuple[tf.TensorSpec, ...] = ()


@dataclass
class _Record:
    """The calls of one run of a model, but for those inside a layer that is watched itself."""

    api: ModelApi
    kinds: _Kinds
    batch: int
    calls: dict[Layer, list[_SeenCall]] = field(default_factory=dict)
    depth: int = 0

    def call(self, call: LayerCall) -> Any:
        """Carry it out and note it."""
        self.depth += 1
        try:
            result = call.run()
        finally:
            self.depth -= 1
        if not self.depth:
            self.calls.setdefault(call.layer, []).append(self._seen(call, result))
        return result

    def _seen(self, call: LayerCall, result: Any) -> _SeenCall:
        layer = call.layer
        # What is attended to is behind the query.
        heard = call.tensors[1] if self.kinds.attends(layer) and len(call.tensors) > 1 else call.sequence
        length = int(heard.shape[1]) if len(heard.shape) >= SEQUENCE_RANK else None
        by_row = call.sequence.shape[0] == self.batch
        if not self.api.recurrent(layer):
            return _SeenCall(length, by_row)
        given = call.initial_state()
        structure = self.api.fresh_states(layer, call.sequence)
        states = tf.nest.flatten(structure) if given is None else given
        outputs = result[0] if layer.return_state else result
        held = () if call.mask is None or layer.zero_output_for_mask else tf.nest.flatten(outputs)
        steps = 2 if layer.return_sequences else 1
        return _SeenCall(
            length,
            by_row,
            tuple(tf.convert_to_tensor(state).numpy() for state in states),
            structure,
            given is not None,
            tuple(tf.TensorSpec(output.shape[steps:], output.dtype) for output in held),
        )


def discover(source: SourceModel, signature: Signature) -> tuple[Carried, ...]:
    """The layers of `source` that carry something, in layer order, each with fresh cells.

    Args:
        source: the model, its lengths open.
        signature: its boundary.

    Raises:
        ConversionError: nothing is carried, nor kept by a layer of the model's own; or a layer reads what comes later,
            is called more than once, or has a cell that starts from what the inputs say; or the model can't be called.
    """
    kinds = _Kinds(source.api)
    watched = [layer for layer in source.api.layers(source.model) if kinds.watched(layer)]
    first, second = (_run(source, signature, watched, kinds, which) for which in (0, 1))
    given = [layer for layer in first.calls if any(seen.given for seen in first.calls[layer])]
    by_inputs = started_by_inputs(source, signature, given) if given else set()
    found: list[Carried] = []
    for layer in dict.fromkeys(watched):
        seen = _over_time(layer, kinds, first.calls.get(layer, []), second.calls.get(layer, []))
        if seen is None:
            continue
        if source.api.recurrent(layer):
            found.append(_recurrence(layer, *seen, by_inputs=layer in by_inputs))
        elif kinds.padding(layer):
            found.append(_history(layer, kinds.padding(layer)))
    if not found and not source.api.updated:
        raise ConversionError(
            f"{source.name} has no layer that carries anything from step to step",
            "a recurrent layer, or a causal convolution, over a length that can be cut",
            "export it without --stream",
        )
    return tuple(found)


def _over_time(
    layer: Layer, kinds: _Kinds, first: Sequence[_SeenCall], second: Sequence[_SeenCall]
) -> tuple[_SeenCall, _SeenCall] | None:
    """The two calls of a layer that runs over the time of the stream; None for one that does not. Raises by name."""
    if len(first) != len(second) and kinds.carries(layer):
        raise _refusal(layer, "is called once a timestep, or more often the longer the sequence is")
    pairs = list(zip(first, second, strict=False))
    over_time = next((pair for pair in pairs if pair[0].length != pair[1].length), None)
    if over_time is None:
        if pairs and kinds.keeps(layer):
            raise _refusal(layer, "is stateful, over something else than the time of the stream")
        return None
    if reason := kinds.not_causal(layer):
        raise _refusal(layer, reason)
    if kinds.carries(layer):
        if len(pairs) > 1:
            raise _refusal(layer, f"is called {len(pairs)} times, each of which would need states of its own")
        if not all(seen.by_row for seen in over_time):
            raise _refusal(layer, "has rows that are not those of the batch")
    return over_time


def lengths_of_carriers(source: SourceModel, signature: Signature) -> set[int]:
    """The lengths that layers which carry something run over, of a model whose lengths are fixed.

    Raises:
        ConversionError: the model can't be called.
    """
    kinds = _Kinds(source.api)
    watched = [layer for layer in source.api.layers(source.model) if kinds.watched(layer)]
    record = _run(source, signature, watched, kinds, 0)
    carriers = [layer for layer in record.calls if kinds.carries(layer)]
    return {seen.length for layer in carriers for seen in record.calls[layer] if seen.length is not None}


class _Kinds:
    """What the layers of one Keras are, as far as time goes."""

    def __init__(self, api: ModelApi) -> None:
        layers = import_module(api.name).layers
        self._api = api
        self._convolutions = _classes(layers, _CONVOLUTIONS)
        self._causal = _classes(layers, ("Conv1D",))  # depthwise and separable ones take no such padding in Keras 3
        self._poolings = _classes(layers, _POOLINGS)
        self._attentions = _classes(layers, _ATTENTIONS)
        self._wrappers = _classes(layers, ("TimeDistributed",))
        self._both_ways = _classes(layers, ("Bidirectional",))

    def watched(self, layer: Layer) -> bool:
        """Whether something has to be known of its calls, or what is inside it is its own affair."""
        kinds = (*self._convolutions, *self._poolings, *self._attentions, *self._wrappers, *self._both_ways)
        return self._api.recurrent(layer) or isinstance(layer, kinds)

    def attends(self, layer: Layer) -> bool:
        """Whether it reads one sequence to answer each step of another."""
        return isinstance(layer, self._attentions)

    def carries(self, layer: Layer) -> bool:
        """Whether it needs cells of its own."""
        return self._api.recurrent(layer) or self.padding(layer) > 0

    def keeps(self, layer: Layer) -> bool:
        """Whether it goes on from call to call by itself."""
        return self._api.recurrent(layer) and bool(layer.stateful)

    def padding(self, layer: Layer) -> int:
        """How many steps a causal convolution looks back."""
        if not isinstance(layer, self._convolutions) or layer.padding != "causal":
            return 0
        return int(layer.dilation_rate[0] * (layer.kernel_size[0] - 1))

    def not_causal(self, layer: Layer) -> str:
        """Why it can't be given the sequence in pieces; empty where nothing is known that forbids it."""
        if isinstance(layer, self._both_ways):
            return "reads the sequence from its end, too"
        if self._api.recurrent(layer) and layer.go_backwards:
            return "reads the sequence from its end (go_backwards)"
        if isinstance(layer, self._poolings) and _pools(layer):
            return "pools over time"
        if isinstance(layer, self._attentions):
            return "attends to the whole sequence"
        if not isinstance(layer, self._convolutions):
            return ""
        if layer.data_format == "channels_first":
            return "has its timesteps on the last axis (channels_first)"
        if layer.strides[0] != 1:
            return "skips timesteps (strides)"
        if layer.kernel_size[0] != 1 and layer.padding != "causal":
            cure = '"causal" would do' if isinstance(layer, self._causal) else "a Conv1D that is causal would do"
            return f'sees later timesteps, or drops some (padding="{layer.padding}"; {cure})'
        return ""


def _classes(layers: Any, names: Sequence[str]) -> Any:
    """Those of the classes that this Keras has, for `isinstance`."""
    return tuple(getattr(layers, name) for name in names if hasattr(layers, name))


def _pools(layer: Layer) -> bool:
    """Whether it joins timesteps: what pools over space alone has a window of one step."""
    window = getattr(layer, "pool_size", None)  # a global one has none
    return window is None or (window if isinstance(window, int) else window[0]) != 1


def _run(source: SourceModel, signature: Signature, watched: Sequence[Layer], kinds: _Kinds, which: int) -> _Record:
    feed = some_feed(signature, which)
    batch = len(next(iter(feed.values())))
    record = _Record(source.api, kinds, batch)
    with ForeignCode(explain_call(source)), calls_replaced(dict.fromkeys(watched, record.call)):
        run_eager(source, list(feed.values()), [state.start(batch) for state in signature.states])
    return record


def _recurrence(layer: Layer, first: _SeenCall, second: _SeenCall, *, by_inputs: bool) -> CarriedRecurrence:
    if not by_inputs and any(_rows_differ(*pair) for pair in zip(first.states, second.states, strict=True)):
        raise _refusal(layer, "starts rows in different ways, which no chunk but the first is told")
    states = tuple(np.zeros_like(state[:1]) if by_inputs else state[:1].copy() for state in first.states)
    started = (np.zeros((1, 1), bool),) if by_inputs else ()
    held = tuple(np.zeros((1, *spec.shape), spec.dtype.as_numpy_dtype) for spec in first.held)
    cells = [_cells(part) for part in (states, started, held)]
    return CarriedRecurrence(
        layer, states + started + held, first.structure, cells[0], cells[1][0] if started else None, cells[2]
    )


def _history(layer: Layer, padding: int) -> CarriedHistory:
    channels = layer.input_spec.axes[-1]
    initial = (np.zeros((1, padding, channels), layer.compute_dtype),)
    return CarriedHistory(layer, initial, _cells(initial))


def _cells(initial: Sequence[np.ndarray]) -> tuple[StateCell, ...]:
    return tuple(StateCell(tf.constant(array)) for array in initial)


def _rows_differ(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether the rows of a state are not all the same, in two runs of other inputs."""
    return not all(np.array_equal(row, one[0], equal_nan=True) for row in (*one, *other))


def _refusal(layer: Layer, reason: str) -> ConversionError:
    return ConversionError(f"layer {layer.name} ({type(layer).__name__}) {reason}", "a model that can be streamed", _DO)


def started_by_inputs(source: SourceModel, signature: Signature, layers: Sequence[Layer]) -> set[Layer]:
    """Those of the recurrent `layers` that are given an initial state in which values of the inputs may have a part.

    Args:
        source: the model.
        signature: its boundary.
        layers: some of its layers.

    Raises:
        ConversionError: the model's own code raises.
    """
    given: dict[Layer, list[Any]] = {}
    calls: dict[Layer, Callable[[LayerCall], Any]] = {layer: partial(_noted, given) for layer in layers}
    specs = [
        tf.TensorSpec([None if isinstance(dim, str) else dim for dim in spec.shape], np.dtype(spec.dtype))
        for spec in signature.inputs
    ]
    with ForeignCode(explain_call(source)), calls_replaced(calls):
        graph = tf.function(
            lambda *inputs: source.api.call(source.model, inputs), autograph=source.api.autograph
        ).get_concrete_function(*specs)
    inputs = {tensor.op for tensor in graph.inputs[: len(specs)]}
    return {layer for layer, tensors in given.items() if _reaches(tensors, inputs)}


def _noted(given: dict[Layer, list[Any]], call: LayerCall) -> Any:
    given.setdefault(call.layer, []).extend(call.initial_state() or [])
    return call.run()


def _reaches(tensors: Sequence[Any], inputs: set[Any]) -> bool:
    """Whether a path leads from the tensors back to one of the inputs."""
    waiting, seen = [tensor.op for tensor in tensors if tf.is_symbolic_tensor(tensor)], set()
    while waiting:
        operation = waiting.pop()
        if operation in inputs:
            return True
        if operation not in seen and operation.type not in _SHAPE_ALONE:
            seen.add(operation)
            waiting += [tensor.op for tensor in operation.inputs]
    return False
