"""The two Keras APIs behind one protocol: Keras 3 (`keras`) and Keras 2 (`tf_keras`).

They differ in how a model is called, in how its tensors are named and in where a stateful layer keeps its state.
All else in this package is written once against `KerasApi`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import tensorflow as tf

from rnnexport.errors import ConversionError, UsageError
from rnnexport.source.custom_objects import CustomObjects
from rnnexport.source.files import KerasApiName

Model = Any
Layer = Any


@dataclass(frozen=True)
class NamedTensor:
    """A symbolic input or output of a model: its Keras name, static shape (None = dynamic) and dtype."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True, eq=False)
class StateVariable:
    """One state of one stateful layer.

    Attributes:
        layer: the layer's name.
        variable: where Keras keeps the state between calls.
        initial: the value a fresh layer starts from, as an array.
    """

    layer: str
    variable: Any
    initial: Any


class KerasApi(Protocol):
    """What the rest of `source` needs of a Keras."""

    name: KerasApiName
    version: str
    embedding: Any  # its Embedding class
    masking: Any  # its Masking class
    autograph: bool  # whether that Keras turns Python's `if` and `for` on tensors into graph operations

    def load(self, path: Path, custom_objects: CustomObjects) -> Model:
        """Load a file that `files.identify` accepted. Raises whatever that Keras raises."""

    def owns(self, model: object) -> bool:
        """Whether `model` is a model of this Keras."""

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

    def plain_loops(self, model: Model, *, unroll: bool) -> AbstractContextManager[None]:
        """Inside this block no layer below the model, wrapped ones included, takes a cuDNN path.

        A graph must hold no op that exists on a GPU alone, whatever host it is traced on; and a layer that may take
        such a path ignores `unroll`.

        Args:
            model: the model.
            unroll: whether every recurrent layer unrolls.
        """

    def states(self, model: Model) -> list[StateVariable]:
        """The states of the stateful layers, in layer order."""

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


def compute_dtypes(layers: Iterable[Layer]) -> set[str]:
    """The floating-point dtypes that layers compute in."""
    found = {str(getattr(layer, "compute_dtype", "")) for layer in layers}
    return found & {"bfloat16", "float16", "float32", "float64"}


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
        "keep it in a recurrent layer's cell, or stop changing it when training is False",
    )
