"""A model in memory, with what the rest of the package has to know of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from rnnexport.core.run_record import Parameters
from rnnexport.source.api import Model, ModelApi
from rnnexport.source.files import SourceFile

Shape = tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class SourceModel:
    """A model in memory.

    Attributes:
        model: the Keras model; of a SavedModel, its program.
        api: the Keras it belongs to, or what runs a program.
        name: a short name for messages and file names.
        file: the file it was loaded from; None for a live model.
        semantics: what was decided about the numbers of an older file, a sentence each.
        again: loads it once more, or copies a live model from its configuration and weights; None where it is made of
            Keras' own layers, which hold nothing that a file loses.
        cast: the dtype that an artifact of it computes in, where that is not its own; see `casting`.
    """

    model: Model
    api: ModelApi
    name: str
    file: SourceFile | None = None
    semantics: tuple[str, ...] = ()
    again: Callable[[], SourceModel] | None = None
    cast: str = ""

    @property
    def parameters(self) -> Parameters:
        """Those of all its layers; of a program, the numbers in its variables."""
        weights = getattr(self.model, "weights", None)
        if weights is None:
            weights = [variable for _, variable in self.api.untrained(self.model)]
        return _parameters(weights)

    def layer_sizes(self) -> dict[str, tuple[tuple[Shape, ...], Parameters]]:
        """What each layer gives, None being open, and its parameters, by its name.

        Shapes are not known inside cells and subclassed models. Layers of one name that differ are left out.
        """
        found: dict[str, set[tuple[tuple[Shape, ...], Parameters]]] = {}
        for layer in (self.model, *self.api.layers(self.model)):
            if name := getattr(layer, "name", ""):
                outputs = tf.nest.flatten(getattr(layer, "output", ()))
                found.setdefault(name, set()).add((tuple(map(_shape, outputs)), _parameters(layer.weights)))
        return {name: sizes.pop() for name, sizes in found.items() if len(sizes) == 1}


def _parameters(weights: Iterable[Any]) -> Parameters:
    return Parameters.of((weight.shape, tf.as_dtype(weight.dtype).size) for weight in weights)


def _shape(tensor: Any) -> Shape:
    return tuple(None if size is None else int(size) for size in tensor.shape)
