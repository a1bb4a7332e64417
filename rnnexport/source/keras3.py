"""Keras 3 behind `KerasApi`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from rnnexport.compat.keras3 import backend, to_snake_case
from rnnexport.compat.supported import inner_layers
from rnnexport.core.errors import UsageError
from rnnexport.core.signature import unique_names
from rnnexport.source.api import (
    Layer,
    Model,
    NamedTensor,
    StateVariable,
    attributes_set,
    call_with,
    hidden_state,
    inputs_of,
    names_in,
    opened,
    random_numbers,
    rows_of_states,
)
from rnnexport.source.configs import Config, KerasApiName
from rnnexport.source.custom_objects import CustomObjects
from rnnexport.source.time_distributed import steps_of_keras_3
from rnnexport.source.unrolling import recurrences_written, scans_that_carry_values
from rnnexport.source.while_traced import convolutions_written, known_filters

_RANK_OF_IDS = 2


class Keras3:
    """See `KerasApi`."""

    name: KerasApiName = "keras"
    package = "keras"
    version = keras.__version__
    autograph = False
    embedding = keras.layers.Embedding
    masking = keras.layers.Masking

    def __init__(self, updated: Sequence[StateVariable] = ()) -> None:
        self.updated = tuple(updated)
        if keras.backend.backend() != "tensorflow":
            raise UsageError(
                f"Keras with the {keras.backend.backend()} backend",
                "the tensorflow backend",
                "set KERAS_BACKEND=tensorflow",
            )

    def keeping(self, updated: Sequence[StateVariable]) -> Keras3:
        return Keras3(updated)

    def load(self, path: Path, custom_objects: CustomObjects, *, safe: bool) -> Model:
        # An .h5 names the operations between layers (those of a mask, say), which Keras finds in a .keras alone.
        known = {**(self._operations() if path.suffix != ".keras" else {}), **custom_objects}
        return keras.saving.load_model(path, custom_objects=known, compile=False, safe_mode=safe)

    def _operations(self) -> dict[str, object]:
        """Keras' own operations by name, but for those that are the names of layers too."""
        found = {kind.__name__: kind for kind in keras.Operation.__subclasses__()}
        own = {name: kind for name, kind in found.items() if kind.__module__.startswith("keras.src.ops.")}
        return {name: kind for name, kind in own.items() if name not in self.builtins}

    def rebuild(self, config: Config, custom_objects: CustomObjects, *, safe: bool) -> Model:
        return keras.saving.deserialize_keras_object(config, custom_objects=dict(custom_objects), safe_mode=safe)

    def names_by_place(self, model: Model) -> dict[str, str]:
        # Keras numbers the layers of each class in the order of the model.
        counts: Counter[str] = Counter()
        found = {}
        for layer in model.layers:
            kind = to_snake_case(type(layer).__name__)
            place = f"layers/{kind}_{counts[kind]}" if counts[kind] else f"layers/{kind}"
            counts[kind] += 1
            found[place] = layer.name
            if isinstance(layer, keras.Model):
                found |= {f"{place}/{inner}": name for inner, name in self.names_by_place(layer).items()}
        return found

    @property
    def builtins(self) -> frozenset[str]:
        return names_in(keras)

    def registered_name(self, value: object) -> str:
        return str(keras.saving.get_registered_name(value))

    def registered(self, name: str) -> object | None:
        found: object | None = keras.saving.get_registered_object(name)
        return found

    def built_inputs(self, model: Model) -> dict[str, Any]:
        shapes = {name.removesuffix("_shape"): shape for name, shape in (model._build_shapes_dict or {}).items()}
        leaves = [shape for struct in shapes.values() for shape in _leaves(struct)]
        if any(isinstance(layer, self.embedding) for layer in self.layers(model)):
            # Keras does not record dtypes, and ids are no floats.
            if len(leaves) != 1 or len(leaves[0]) != _RANK_OF_IDS:
                return {}
            return {name: _with_dtype(shape, "int32") for name, shape in shapes.items()}
        return {name: _with_dtype(shape, model.variable_dtype) for name, shape in shapes.items()}

    def wrapped(self, model: Model, arguments: Mapping[str, Any]) -> Model:
        rows = rows_of_states([state.variable for state in self.states(model)])
        inputs = {name: inputs_of(name, struct, _input, rows) for name, struct in arguments.items()}
        return keras.Model(list(keras.tree.flatten(inputs)), call_with(model, inputs), name=model.name)

    def owns(self, model: object) -> bool:
        return isinstance(model, keras.Model)

    def inputs(self, model: Model) -> list[NamedTensor]:
        if not getattr(model, "inputs", None):
            return []
        struct = _graph(model).input
        tensors = keras.tree.flatten(struct)
        names = _keys(struct) or [tensor.name for tensor in tensors]
        return [
            NamedTensor(name, tuple(tensor.shape), tensor.dtype, getattr(tensor, "ragged", False))
            for name, tensor in zip(unique_names(names), tensors, strict=True)
        ]

    def output_names(self, model: Model) -> list[str]:
        # Several outputs of one layer share its name, so names are made unique as Keras 2 did.
        graph = _graph(model)
        return unique_names(_keys(graph.output) or graph.output_names)

    def layers(self, model: Model) -> Iterator[Layer]:
        yield from inner_layers(model)

    def readers(self, model: Model) -> list[list[Layer]]:
        inputs = _graph(model).inputs
        layers = list(self.layers(model))
        return [[layer for layer in layers if _reads(layer, tensor)] for tensor in inputs]

    def recurrent(self, layer: Layer) -> bool:
        return isinstance(layer, keras.layers.RNN)

    @contextmanager
    def plain_loops(self, model: Model, *, unroll: bool | None) -> Iterator[None]:
        recurrent = [layer for layer in self.layers(model) if self.recurrent(layer)]
        with (
            attributes_set(recurrent, {"use_cudnn": False}),
            recurrences_written(backend, recurrent, unroll=unroll),
            steps_of_keras_3(keras.layers.TimeDistributed),
            scans_that_carry_values(),
            convolutions_written(),
            known_filters(keras.layers.MelSpectrogram),
        ):
            yield

    def states(self, model: Model) -> list[StateVariable]:
        found = []
        for layer in self.layers(model):
            if self.recurrent(layer) and layer.stateful and layer.states is not None:
                variables = keras.tree.flatten(layer.states)
                initial = keras.tree.flatten(layer.get_initial_state(batch_size=rows_of_states(variables)))
                # The dtype is that of the variable: a cell may count in integers, or start in half precision.
                found += [
                    StateVariable(layer.name, variable, _array(value, variable.dtype))
                    for variable, value in zip(variables, initial, strict=True)
                ]
        return [*found, *self.updated]

    def fresh_states(self, layer: Layer, sequences: Any) -> list[Any]:
        # In the dtype in which the layer carries them from step to step, whatever its cell gives.
        states = layer.get_initial_state(batch_size=sequences.shape[0])
        return list(keras.tree.map_structure(lambda state: keras.ops.cast(state, layer.compute_dtype), states))

    def with_open_lengths(self, model: Model, length: int) -> Model:
        graph = _graph(model)
        flat = keras.tree.flatten(graph.input)
        inputs = [_input(tensor.name, opened(tensor.shape, tensor.dtype, length), tensor.dtype) for tensor in flat]
        packed = keras.tree.pack_sequence_as(graph.input, inputs)
        # Called by its method: the model as a layer would hold on to the length that it was made with.
        return keras.Model(packed, graph.call(packed), name=model.name)

    def untrained(self, model: Model) -> list[tuple[str, Any]]:
        variables = {id(one): one for one in [*model.non_trainable_variables, *self._of_metrics(model)]}.values()
        found = [(variable.path, variable) for variable in variables]
        states = {id(state.variable) for state in self.updated}
        return [(path, one) for path, one in found if "seed_generator" not in path and id(one) not in states]

    def _of_metrics(self, model: Model) -> list[Any]:
        """The variables of the metrics that layers keep."""
        return [
            one for layer in self.layers(model) for metric in getattr(layer, "_metrics", ()) for one in metric.variables
        ]

    def call(self, model: Model, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        packed = keras.tree.pack_sequence_as(_graph(model).input, list(inputs))
        return list(keras.tree.flatten(model(packed, training=False)))

    def call_stateless(
        self,
        model: Model,
        inputs: Sequence[tf.Tensor],
        variables: Sequence[StateVariable],
        states: Sequence[tf.Tensor],
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        mapped = [state.variable for state in variables]
        # In this scope an assignment is recorded, not carried out, so nothing of the live model changes, and a
        # dropout layer's seed counter does not become a write in the graph.
        with keras.StatelessScope(state_mapping=list(zip(mapped, states, strict=True))) as scope:
            outputs = self.call(model, inputs)
        known = {id(variable): variable for variable in [*model.variables, *self._of_metrics(model)]}
        for key in set(scope.state_mapping) - set(map(id, mapped)):
            if key not in known:
                value = scope.state_mapping[key]
                if value.dtype.is_integer and value.shape == (2,):  # that of a keras.random.SeedGenerator
                    raise random_numbers("a seed generator that no layer tracks")
                raise hidden_state("(one that no layer tracks)")
            if "seed_generator" not in known[key].path:
                # Carried out in the graph that is traced: it is looked for there whether an output depends on it.
                known[key].value.assign(scope.state_mapping[key])
        return outputs, [scope.get_current_value(variable) for variable in mapped]


def _reads(layer: Layer, tensor: Any) -> bool:
    return any(tensor is read for node in layer._inbound_nodes for read in node.input_tensors)


def _graph(model: Model) -> Model:
    """The functional model: a Sequential keeps one inside."""
    return getattr(model, "_functional", None) or model


def _array(value: Any, dtype: str) -> Any:
    return keras.ops.convert_to_numpy(keras.ops.cast(value, dtype))


def _keys(struct: object) -> list[str]:
    """The names that a dict of inputs or outputs gives, in the order of `tree.flatten`; empty for a list."""
    if not isinstance(struct, dict):
        return []
    return ["_".join(map(str, path)) for path, _ in keras.tree.flatten_with_path(struct)]


def _with_dtype(struct: Any, dtype: str) -> Any:
    """A shape, or a list or dict of shapes, with the dtype beside each."""
    if isinstance(struct, dict):
        return {name: _with_dtype(child, dtype) for name, child in struct.items()}
    if isinstance(struct, list) and struct and isinstance(struct[0], list | tuple):
        return [_with_dtype(child, dtype) for child in struct]
    return tuple(struct), dtype


def _leaves(struct: Any) -> list[Any]:
    """The shapes in a structure of shapes."""
    if isinstance(struct, dict):
        return [leaf for child in struct.values() for leaf in _leaves(child)]
    if isinstance(struct, list) and struct and isinstance(struct[0], list | tuple):
        return [leaf for child in struct for leaf in _leaves(child)]
    return [struct]


def _input(name: str, shape: tuple[int | None, ...], dtype: str) -> Any:
    return keras.Input(batch_shape=shape, dtype=dtype, name=name)
