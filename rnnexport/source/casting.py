"""A model whose artifact computes in float32, though it does not: for formats that have no other floats.

To all behind it the model takes and gives float32, and computes as it did in between, so that the artifact, whose graph
is in float32 throughout, is compared with the source in the source's own dtype.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import tensorflow as tf

from rnnexport.source.api import Layer, Model, ModelApi, NamedTensor, StateVariable, layers_by_dtype
from rnnexport.source.model import SourceModel

FLOAT32 = "float32"


class Delegating:
    """Those parts of `ModelApi` that what is derived of this leaves as they are.

    Args:
        api: what does the rest.
    """

    def __init__(self, api: ModelApi) -> None:
        self._api = api
        self.name = api.name
        self.package = api.package
        self.version = api.version
        self.embedding = api.embedding
        self.masking = api.masking
        self.autograph = api.autograph
        self.updated = tuple(api.updated)

    def inputs(self, model: Model) -> list[NamedTensor]:
        return self._api.inputs(model)

    def output_names(self, model: Model) -> list[str]:
        return self._api.output_names(model)

    def layers(self, model: Model) -> Iterator[Layer]:
        return self._api.layers(model)

    def readers(self, model: Model) -> list[list[Layer]]:
        return self._api.readers(model)

    def recurrent(self, layer: Layer) -> bool:
        return self._api.recurrent(layer)

    def plain_loops(self, model: Model, *, unroll: bool | None) -> AbstractContextManager[None]:
        return self._api.plain_loops(model, unroll=unroll)

    def fresh_states(self, layer: Layer, sequences: Any) -> list[Any]:
        return self._api.fresh_states(layer, sequences)

    def untrained(self, model: Model) -> list[tuple[str, Any]]:
        return self._api.untrained(model)


class Casting(Delegating):
    """See `ModelApi`: that of a model, but that what goes in and comes out is float32 where it is another float."""

    def inputs(self, model: Model) -> list[NamedTensor]:
        return [replace(tensor, dtype=_cast_name(tensor.dtype)) for tensor in self._api.inputs(model)]

    def states(self, model: Model) -> list[StateVariable]:
        return [
            replace(state, variable=_CastState(state.variable), initial=state.initial.astype(FLOAT32))
            if tf.as_dtype(state.variable.dtype).is_floating
            else state
            for state in self._api.states(model)
        ]

    def call(self, model: Model, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        return [_cast(output) for output in self._api.call(model, self._own(model, inputs))]

    def call_stateless(
        self,
        model: Model,
        inputs: Sequence[tf.Tensor],
        variables: Sequence[StateVariable],
        states: Sequence[tf.Tensor],
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        own = [
            replace(one, variable=one.variable.variable) if isinstance(one.variable, _CastState) else one
            for one in variables
        ]
        before = [tf.cast(value, one.variable.dtype) for one, value in zip(own, states, strict=True)]
        outputs, after = self._api.call_stateless(model, self._own(model, inputs), own, before)
        return [_cast(output) for output in outputs], [_cast(state) for state in after]

    def _own(self, model: Model, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The inputs in the dtypes that the model takes."""
        return [tf.cast(value, spec.dtype) for value, spec in zip(inputs, self._api.inputs(model), strict=True)]


class _CastState:
    """A state variable that is read and assigned in float32."""

    def __init__(self, variable: Any) -> None:
        self.variable = variable
        self.dtype = tf.float32
        self.shape = variable.shape

    def __tf_tensor__(self, dtype: tf.DType | None = None, name: str | None = None) -> tf.Tensor:
        return tf.cast(tf.convert_to_tensor(self.variable), dtype or self.dtype, name=name)

    def assign(self, value: Any) -> None:
        self.variable.assign(tf.cast(tf.convert_to_tensor(value), self.variable.dtype))


def cast_source(source: SourceModel, dtype: str) -> SourceModel:
    """The model for an artifact that computes in `dtype`, which is float32.

    Args:
        source: the model, or its stream.
        dtype: empty for what the model computes in.
    """
    if not dtype:
        return source
    found = {name: layers for name, layers in layers_by_dtype(source.api.layers(source.model)).items() if name != dtype}
    given = {tensor.dtype for tensor in source.api.inputs(source.model) if tensor.dtype != _cast_name(tensor.dtype)}
    layers = "; ".join(f"{name}: {', '.join(names)}" for name, names in found.items())
    told = layers or ", ".join(sorted(given)) or "parts of it"
    note = f"cast: the artifact computes in {dtype} and is compared with the source as it is ({told})"
    again = source.again
    return replace(
        source,
        api=Casting(source.api),
        cast=dtype,
        semantics=(*source.semantics, note),
        again=None if again is None else lambda: cast_source(again(), dtype),
    )


def _cast_name(dtype: str) -> str:
    return FLOAT32 if tf.as_dtype(dtype).is_floating else dtype


def _cast(value: Any) -> tf.Tensor:
    tensor = tf.convert_to_tensor(value)
    return tf.cast(tensor, FLOAT32) if tensor.dtype.is_floating else tensor
