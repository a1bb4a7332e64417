"""The two Keras APIs behind one protocol: Keras 3 (`keras`) and Keras 2 (`tf_keras`).

They differ in how a model is called, in how its tensors are named and in where a stateful layer keeps its state.
All else in this package is written once against `KerasApi`, or against `ModelApi` where a SavedModel will do as well.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import tensorflow as tf

from rnnexport.core.errors import ConversionError, UsageError
from rnnexport.source.configs import Config, KerasApiName
from rnnexport.source.custom_objects import CustomObjects

SEQUENCE_RANK = 3  # batch, timesteps, features
RANK_OF_IDS = 2
_FLOATS = ("bfloat16", "float16", "float32", "float64")

Model = Any
Layer = Any


@dataclass(frozen=True)
class NamedTensor:
    """A symbolic input or output of a model: its Keras name, static shape (None = dynamic) and dtype.

    `ragged` says whether its rows have lengths of their own. A sparse one is like another: its zeros are left out.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    ragged: bool = False


@dataclass(frozen=True, eq=False)
class StateVariable:
    """One state of one stateful layer.

    Attributes:
        layer: the layer's name.
        variable: where Keras keeps the state between calls.
        initial: the value a fresh layer starts from, as an array.
        by_row: whether it has a row for each row of a call, however many; `initial` is that of one then.
    """

    layer: str
    variable: Any
    initial: Any
    by_row: bool = False


class ModelApi(Protocol):
    """What describing, running and tracing a model needs to know how to do."""

    name: KerasApiName | Literal["saved-model"]
    package: str  # the distribution it comes from
    version: str
    embedding: Any  # its Embedding class
    masking: Any  # its Masking class
    autograph: bool  # whether it turns Python's `if` and `for` on tensors into graph operations

    @property
    def updated(self) -> Sequence[StateVariable]:
        """What layers change at inference for themselves, and is a state of the model; see `KerasApi.keeping`."""

    def inputs(self, model: Model) -> list[NamedTensor]:
        """The inputs in call order; empty for a model that declares none."""

    def output_names(self, model: Model) -> list[str]:
        """The names of the outputs, in the order of `call`."""

    def layers(self, model: Model) -> Iterator[Layer]:
        """Every layer below the model, cells and wrapped layers included."""

    def readers(self, model: Model) -> list[list[Layer]]:
        """For each of `inputs`, the layers that read it."""

    def recurrent(self, layer: Layer) -> bool:
        """Whether the layer is a recurrent one of this Keras (it has a cell and can be unrolled)."""

    def plain_loops(self, model: Model, *, unroll: bool | None) -> AbstractContextManager[None]:
        """Inside this block no layer below the model, wrapped ones included, takes a cuDNN path.

        A graph must hold no op that exists on a GPU alone, whatever host it is traced on; and a layer that may take
        such a path ignores `unroll`.

        Args:
            model: the model.
            unroll: whether every recurrent layer unrolls, or none does; None for what each of them asks for.
        """

    def states(self, model: Model) -> list[StateVariable]:
        """The states of the stateful layers, in layer order, and `updated`; a layer that was never called has none."""

    def fresh_states(self, layer: Layer, sequences: Any) -> list[Any]:
        """What a recurrent layer starts from when it is given `sequences`, in the structure that its cell has."""

    def untrained(self, model: Model) -> list[tuple[str, Any]]:
        """(path, variable) of what gradients do not train; seeds of random layers left out."""

    def call(self, model: Model, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Inference on flat inputs, to flat outputs. States are read and written where Keras keeps them."""

    def call_stateless(
        self,
        model: Model,
        inputs: Sequence[tf.Tensor],
        variables: Sequence[StateVariable],
        states: Sequence[tf.Tensor],
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """The same with the states as arguments and results, leaving the variables alone. For tracing.

        Args:
            model: the model.
            inputs: its flat inputs.
            variables: what `states` gave for the model.
            states: the value to start each of them from.

        Returns:
            The flat outputs, and the value that each state has after the call.

        Raises:
            ConversionError: the call changes a variable that is no recurrent state.
        """


class KerasApi(ModelApi, Protocol):
    """What loading and building a model needs of a Keras besides."""

    name: KerasApiName

    def keeping(self, updated: Sequence[StateVariable]) -> KerasApi:
        """The same Keras, for a model of which these variables, which its layers change at inference, are states."""

    def load(self, path: Path, custom_objects: CustomObjects, *, safe: bool) -> Model:
        """Load a file that `files.identify` accepted, with its weights. Raises whatever that Keras raises."""

    def rebuild(self, config: Config, custom_objects: CustomObjects, *, safe: bool) -> Model:
        """The model of a configuration, its weights untrained. Raises whatever that Keras raises."""

    def names_by_place(self, model: Model) -> dict[str, str]:
        """The names of the model's layers by the path at which weights are stored; empty where no file records them."""

    @property
    def builtins(self) -> frozenset[str]:
        """The names of what that Keras itself has for models to be made of."""

    def registered_name(self, value: object) -> str:
        """The name under which a class or function is registered, `package>Name`; its own name where it is not."""

    def registered(self, name: str) -> object | None:
        """The class or function that is registered under that name, `package>Name`; None where there is none."""

    def built_inputs(self, model: Model) -> dict[str, Any]:
        """What a subclassed model was first called with: (shape, dtype), or lists and dicts of these, by argument."""

    def wrapped(self, model: Model, arguments: Mapping[str, Any]) -> Model:
        """A functional model that calls `model` with inputs of these (shape, dtype), shapes with the batch."""

    def owns(self, model: object) -> bool:
        """Whether `model` is a model of this Keras."""

    def with_open_lengths(self, model: Model, length: int) -> Model:
        """The model, its layers shared, with the length open of every sequence among its inputs that has this length.

        Raises whatever that Keras raises.
        """


def api_named(name: KerasApiName) -> KerasApi:
    """The adaptor of that name. Imports the Keras."""
    if name == "keras":
        from rnnexport.source.keras3 import Keras3

        return Keras3()
    from rnnexport.source.keras2 import Keras2

    return Keras2()


def api_of(model: object) -> KerasApi:
    """The adaptor that owns a live model.

    Raises:
        UsageError: it is no Keras model.
    """
    # Only a Keras that is already imported can own a live model.
    candidates: list[KerasApiName] = [n for n in ("keras", "tf_keras") if n in sys.modules]
    for name in candidates:
        if (api := api_named(name)).owns(model):
            return api
    raise UsageError(f"a {type(model).__name__}", "a path or a keras.Model / tf_keras.Model", "pass one of these")


def rows_of_states(variables: Sequence[Any]) -> int | None:
    """How many rows the state variables of a stateful layer hold; None where none of them has an axis for rows."""
    return next((int(variable.shape[0]) for variable in variables if len(variable.shape)), None)


def layers_by_dtype(layers: Iterable[Layer]) -> dict[str, tuple[str, ...]]:
    """The names of layers by the floating-point dtype that they compute in."""
    found: dict[str, list[str]] = {}
    for layer in layers:
        if (dtype := str(getattr(layer, "compute_dtype", ""))) in _FLOATS:
            found.setdefault(dtype, []).append(layer.name)
    return {dtype: tuple(names) for dtype, names in sorted(found.items())}


def opened(shape: Sequence[int | None], dtype: str, length: int) -> tuple[int | None, ...]:
    """The shape of an input with its length open, where it is a sequence of this length: of features, or of ids."""
    ids = len(shape) == RANK_OF_IDS and dtype.startswith(("int", "uint"))
    sequence = (ids or len(shape) >= SEQUENCE_RANK) and shape[1] == length
    return (shape[0], None, *shape[2:]) if sequence else tuple(shape)


def inputs_of(
    name: str, struct: Any, make: Callable[[str, tuple[int | None, ...], str], Any], rows: int | None = None
) -> Any:
    """What `make` gives for each (shape, dtype) in a structure of lists and dicts, named after its place in it.

    A batch that is open becomes `rows`: a stateful layer takes the one alone that its states were made for.
    """
    if isinstance(struct, dict):
        return {key: inputs_of(key, child, make, rows) for key, child in struct.items()}
    if isinstance(struct, list):
        return [inputs_of(f"{name}_{at}", child, make, rows) for at, child in enumerate(struct)]
    shape, dtype = struct
    return make(name, (rows if shape[0] is None else shape[0], *shape[1:]), dtype)


def call_with(model: Model, arguments: Mapping[str, Any]) -> Any:
    """The model called on one input, on arguments of these names, or on a dict of them, whichever it takes."""
    if len(arguments) == 1:
        return model(next(iter(arguments.values())))
    taken = inspect.signature(model.call).parameters
    return model(**arguments) if set(arguments) <= set(taken) else model(dict(arguments))


@contextmanager
def attributes_set(layers: Iterable[Layer], values: Mapping[str, Any]) -> Iterator[None]:
    """Set attributes of each layer that has them, and put the old ones back after the block."""
    before = [
        (layer, name, getattr(layer, name))
        for layer in layers
        for name in values
        if getattr(layer, name, None) is not None
    ]
    try:
        for layer, name, _ in before:
            setattr(layer, name, values[name])
        yield
    finally:
        for layer, name, value in before:
            setattr(layer, name, value)


def hidden_state(variable_name: str) -> ConversionError:
    """The refusal of a model that remembers something outside its recurrent states."""
    return ConversionError(
        f"variable {variable_name} changes at inference and is no state of a recurrent layer",
        "state that is an explicit input and output",
        "keep it in a recurrent layer's cell, or in a weight with a row for each sequence of a fixed batch, or stop "
        "changing it when training is False",
    )


def random_numbers(name: str) -> ConversionError:
    """The refusal of a model that may draw random numbers as it is called."""
    return ConversionError(
        f"{name} may draw random numbers",
        "a model that gives the same for the same inputs",
        "leave that layer out of the model that is exported: what it does in training is not wanted there",
    )


def ragged_input(name: str, model_name: str) -> ConversionError:
    """The refusal of an input whose rows have lengths of their own, which no artifact's tensor has."""
    return ConversionError(
        f"input {name} of {model_name} is ragged",
        "rows of one length, padding marked by a mask",
        "build the model with Input(..., ragged=False) and Masking, or mask_zero of its Embedding, load the weights, "
        "and pad behind each row (to_tensor())",
    )


def names_in(keras: Any) -> frozenset[str]:
    """The names of the layers, activations and other parts of models that a Keras has."""
    modules = (keras.layers, keras.activations, keras.initializers, keras.regularizers, keras.constraints, keras.models)
    return frozenset(name for module in modules for name in dir(module))
