"""A model in memory, with what the rest of the package has to know of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rnnexport.source.api import Model, ModelApi
from rnnexport.source.files import SourceFile


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
