"""Keras 2, as the package tf_keras, behind `KerasApi`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras

from rnnexport.compat.keras2 import Conv, SafeModeScope, backend
from rnnexport.compat.supported import inner_layers
from rnnexport.core.signature import unique_names
from rnnexport.source.api import (
    Layer,
    Model,
    NamedTensor,
    StateVariable,
    attributes_set,
    call_with,
    inputs_of,
    names_in,
    opened,
    ragged_input,
    rows_of_states,
)
from rnnexport.source.carrying import StateCell
from rnnexport.source.configs import Config, KerasApiName
from rnnexport.source.custom_objects import CustomObjects
from rnnexport.source.time_distributed import steps_of_tf_keras
from rnnexport.source.unrolling import recurrences_written
from rnnexport.source.updated import variables_in_cells
from rnnexport.source.while_traced import convolutions_written


class Keras2:
    """See `KerasApi`."""

    name: KerasApiName = "tf_keras"
    package = "tf-keras"
    version = tf_keras.__version__
    autograph = True
    embedding = tf_keras.layers.Embedding
    masking = tf_keras.layers.Masking

    def __init__(self, updated: Sequence[StateVariable] = ()) -> None:
        self.updated = tuple(updated)

    def keeping(self, updated: Sequence[StateVariable]) -> Keras2:
        return Keras2(updated)

    def load(self, path: Path, custom_objects: CustomObjects, *, safe: bool) -> Model:
        # `safe_mode` acts on .keras alone: an .h5 that holds code was refused before.
        return tf_keras.models.load_model(path, custom_objects=dict(custom_objects), compile=False, safe_mode=safe)

    def rebuild(self, config: Config, custom_objects: CustomObjects, *, safe: bool) -> Model:
        with SafeModeScope(safe_mode=safe):
            return tf_keras.models.model_from_config(config, custom_objects=dict(custom_objects))

    def names_by_place(self, model: Model) -> dict[str, str]:
        return {}

    @property
    def builtins(self) -> frozenset[str]:
        return names_in(tf_keras)

    def registered_name(self, value: object) -> str:
        return str(tf_keras.utils.get_registered_name(value))

    def registered(self, name: str) -> object | None:
        found: object | None = tf_keras.utils.get_registered_object(name)
        return found

    def built_inputs(self, model: Model) -> dict[str, Any]:
        if model._saved_model_inputs_spec is None:
            return {}
        # Of what it was called with, tensors alone: a flag such as `training` has no spec.
        given, by_name = model._saved_model_arg_spec
        arguments = {**dict(zip(inspect.signature(model.call).parameters, given, strict=False)), **by_name}
        specs = {name: spec for name, spec in arguments.items() if None not in tf.nest.flatten(spec)}
        if any(map(_is_ragged, tf.nest.flatten(specs))):
            raise ragged_input("inputs", model.name)
        if len(specs) == 1:
            specs = {"inputs": model._saved_model_inputs_spec}
        return {name: tf.nest.map_structure(_shape_and_dtype, spec) for name, spec in specs.items()}

    def wrapped(self, model: Model, arguments: Mapping[str, Any]) -> Model:
        rows = rows_of_states([state.variable for state in self.states(model)])
        inputs = {name: inputs_of(name, struct, _input, rows) for name, struct in arguments.items()}
        return tf_keras.Model(tf.nest.flatten(inputs), call_with(model, inputs), name=model.name)

    def owns(self, model: object) -> bool:
        return isinstance(model, tf_keras.Model)

    def inputs(self, model: Model) -> list[NamedTensor]:
        if not model._is_graph_network:
            return []
        names = unique_names(model.input_names)
        return [
            NamedTensor(name, tuple(tensor.shape), tensor.dtype.name, _is_ragged(tensor.type_spec))
            for name, tensor in zip(names, tf.nest.flatten(model.inputs), strict=True)
        ]

    def output_names(self, model: Model) -> list[str]:
        return unique_names(model.output_names)

    def layers(self, model: Model) -> Iterator[Layer]:
        yield from inner_layers(model)

    def readers(self, model: Model) -> list[list[Layer]]:
        layers = list(self.layers(model))
        return [[layer for layer in layers if _reads(layer, tensor)] for tensor in tf.nest.flatten(model.inputs)]

    def recurrent(self, layer: Layer) -> bool:
        return isinstance(layer, tf_keras.layers.RNN)

    @contextmanager
    def plain_loops(self, model: Model, *, unroll: bool | None) -> Iterator[None]:
        recurrent = [layer for layer in self.layers(model) if self.recurrent(layer)]
        with (
            attributes_set(recurrent, {"_could_use_gpu_kernel": False}),
            recurrences_written(backend, recurrent, unroll=unroll),
            steps_of_tf_keras(tf_keras.layers.TimeDistributed, backend),
            convolutions_written(Conv),
        ):
            yield

    def states(self, model: Model) -> list[StateVariable]:
        found = []
        for layer in self._stateful(model):
            variables = tf.nest.flatten(layer.states)
            initial = tf.nest.flatten(_initial_state(layer, rows_of_states(variables)))
            found += [
                StateVariable(layer.name, variable, tf.convert_to_tensor(value).numpy())
                for variable, value in zip(variables, initial, strict=True)
            ]
        return [*found, *self.updated]

    def _stateful(self, model: Model) -> list[Layer]:
        """The stateful layers that have states: those that were called."""
        stateful = [layer for layer in self.layers(model) if self.recurrent(layer) and layer.stateful]
        return [layer for layer in stateful if all(state is not None for state in tf.nest.flatten(layer.states))]

    def fresh_states(self, layer: Layer, sequences: Any) -> list[Any]:
        return list(layer.get_initial_state(sequences))

    def with_open_lengths(self, model: Model, length: int) -> Model:
        inputs = [
            _input(name, opened(tensor.shape, tensor.dtype.name, length), tensor.dtype.name)
            for name, tensor in zip(model.input_names, tf.nest.flatten(model.inputs), strict=True)
        ]
        packed = tf.nest.pack_sequence_as(model.input, inputs)
        # Called by its method: the model as a layer would hold on to the length that it was made with.
        return tf_keras.Model(packed, model.call(packed), name=model.name)

    def untrained(self, model: Model) -> list[tuple[str, Any]]:
        states = {id(state.variable) for state in self.updated}
        others = [variable for variable in model.non_trainable_variables if id(variable) not in states]
        numbers = [variable for variable in others if variable.dtype.is_floating or variable.dtype.is_integer]
        return [(variable.name, variable) for variable in numbers]

    def call(self, model: Model, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        packed = tf.nest.pack_sequence_as(model.input, list(inputs))
        return list(tf.nest.flatten(model(packed, training=False)))

    def call_stateless(
        self,
        model: Model,
        inputs: Sequence[tf.Tensor],
        variables: Sequence[StateVariable],
        states: Sequence[tf.Tensor],
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        stateful = self._stateful(model)
        originals = [layer.states for layer in stateful]  # `variables`, in the structure each layer keeps them in
        cells = [StateCell(state) for state in states]
        remaining = iter(cells)
        try:
            for layer, original in zip(stateful, originals, strict=True):
                layer.states = tf.nest.map_structure(lambda _: next(remaining), original)
            with variables_in_cells([state.variable for state in self.updated], list(remaining)):
                outputs = self.call(model, inputs)
        finally:
            for layer, original in zip(stateful, originals, strict=True):
                layer.states = original
        return outputs, [cell.value for cell in cells]


def _reads(layer: Layer, tensor: Any) -> bool:
    return any(tensor is read for node in layer._inbound_nodes for read in node.keras_inputs)


def _initial_state(layer: Layer, rows: int | None) -> Any:
    """What a layer starts from when it is made: the cell's initial state, or zeros where it defines none."""
    get_initial_state = getattr(layer.cell, "get_initial_state", None)
    if get_initial_state is None:
        return tf.nest.map_structure(tf.zeros_like, layer.states)
    return get_initial_state(inputs=None, batch_size=rows, dtype=layer.dtype or tf_keras.backend.floatx())


def _shape_and_dtype(spec: Any) -> tuple[tuple[int | None, ...], str]:
    return tuple(spec.shape), spec.dtype.name


def _is_ragged(spec: Any) -> bool:
    return isinstance(spec, tf.RaggedTensorSpec)


def _input(name: str, shape: tuple[int | None, ...], dtype: str) -> Any:
    return tf_keras.Input(shape[1:], batch_size=shape[0], dtype=dtype, name=name)
