"""A model as a stream: called with a chunk of its sequence, it goes on from where the chunk before ended.

To all behind it a stream is a model with states, as one with stateful layers is. Whether chunks give what the whole
sequence gives is for `rnnexport.reference.stream_equivalence` to show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import tensorflow as tf

from rnnexport.core.errors import ConversionError, ForeignCode, reason
from rnnexport.core.signature import Signature
from rnnexport.source.api import KerasApi, Model, ModelApi, StateVariable
from rnnexport.source.carrying import Carried, CarriedRecurrence, carrying
from rnnexport.source.casting import Delegating
from rnnexport.source.discovery import discover, lengths_of_carriers
from rnnexport.source.model import SourceModel


class Streaming(Delegating):
    """See `ModelApi`: that of a model, but that the layers of `carried` go on from call to call."""

    def __init__(self, api: ModelApi, carried: Sequence[Carried]) -> None:
        super().__init__(api)
        self._carried = tuple(carried)
        self.holds_outputs = any(isinstance(one, CarriedRecurrence) and one.held for one in carried)

    def states(self, model: Model) -> list[StateVariable]:
        carried = [
            StateVariable(carried.layer.name, cell, initial, by_row=True)
            for carried in self._carried
            for cell, initial in zip(carried.cells, carried.initial, strict=True)
        ]
        return [*carried, *self.updated]

    def call(self, model: Model, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        with carrying(self._carried):
            return self._api.call(model, inputs)

    def call_stateless(
        self,
        model: Model,
        inputs: Sequence[tf.Tensor],
        variables: Sequence[StateVariable],
        states: Sequence[tf.Tensor],
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        count = len(variables) - len(self.updated)
        cells = [variable.variable for variable in variables[:count]]
        before = [cell.value for cell in cells]
        try:
            for cell, state in zip(cells, states[:count], strict=True):
                cell.value = state
            with carrying(self._carried):
                outputs, after = self._api.call_stateless(model, inputs, variables[count:], states[count:])
            return outputs, [*(cell.value for cell in cells), *after]
        finally:
            for cell, value in zip(cells, before, strict=True):
                cell.value = value


def with_open_lengths(source: SourceModel, signature: Signature) -> SourceModel:
    """`source` with the length open that its layers run over, the layers shared; `source` itself where one is open.

    Args:
        source: the model.
        signature: its boundary.

    Raises:
        ConversionError: it runs at the length alone that it was made with, or over several, or is a program.
    """
    if source.api.name == "saved-model":
        raise ConversionError(
            f"{source.name} is a program, whose layers can't be told",
            "a model with layers, to carry what they remember",
            "stream the Keras model that it was made from",
        )
    if any(len(tensor.shape) > 1 and tensor.shape[1] is None for tensor in source.api.inputs(source.model)):
        return source
    fixed = {spec.shape[1] for spec in signature.inputs if len(spec.shape) > 1}
    lengths = lengths_of_carriers(source, signature) & fixed
    if len(lengths) > 1:
        raise ConversionError(
            f"{source.name} runs over sequences of {' and of '.join(map(str, sorted(lengths)))} timesteps",
            "one sequence that comes in chunks",
            "build it with an open length for that one, Input((None, ...))",
        )

    def refused(error: BaseException) -> ConversionError:
        return ConversionError(
            f"{source.name} can't take its sequences in pieces: {reason(error)}",
            "a model that does not depend on the length it was made with",
            "build it with an open length, or export without --stream",
        )

    api = cast("KerasApi", source.api)
    # A layer that unrolls refuses an open length, and takes any when it is run.
    with ForeignCode(refused), api.plain_loops(source.model, unroll=False):
        return replace(source, model=api.with_open_lengths(source.model, lengths.pop())) if lengths else source


def stream(source: SourceModel, signature: Signature) -> SourceModel:
    """The stream of a model whose lengths are open.

    Args:
        source: the model.
        signature: its boundary.

    Raises:
        ConversionError: a layer can't be streamed; names it.
    """
    return replace(source, api=Streaming(source.api, discover(source, signature)), again=None)


def holds_outputs(source: SourceModel) -> bool:
    """Whether a layer of a stream has a mask, and so carries its last output."""
    api = source.api
    return isinstance(api, Streaming) and api.holds_outputs
