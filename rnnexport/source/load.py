"""A path or a live model to a `SourceModel`: the model, its API, and where it came from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rnnexport.errors import ConversionError, ForeignCode, UsageError, reason
from rnnexport.source.api import KerasApi, Model, api_named, api_of
from rnnexport.source.custom_objects import CustomObjects, collect
from rnnexport.source.files import SourceFile, check_weights, identify, strings
from rnnexport.source.safety import check_names, unknown_object

# Keras 3 says "Could not locate class 'X'", tf_keras "Unknown layer: 'X'": the two ways to miss a custom object.
_UNKNOWN = re.compile(
    r"Could not locate (?P<kind>\w+) '(?P<name>[^']+)'|Unknown (?P<kind2>[\w ]+): '?(?P<name2>[\w>]+)"
)


@dataclass(frozen=True, eq=False)
class SourceModel:
    """A model in memory.

    Attributes:
        model: the Keras model.
        api: the Keras it belongs to.
        name: a short name for messages and file names.
        file: the file it was loaded from; None for a live model.
    """

    model: Model
    api: KerasApi
    name: str
    file: SourceFile | None = None


def load_source(model: str | Path | Model, custom_objects: Sequence[str] | CustomObjects = ()) -> SourceModel:
    """Load a model file with the Keras whose numbers it has, or wrap a live model.

    Args:
        model: a path, or a live model of Keras 3 or tf_keras.
        custom_objects: `.py` files and modules to take classes and functions from, or a dict of them by name.

    Raises:
        UsageError: no such file, or not a Keras model.
        ConversionError: the file is no Keras model, is damaged, or names an object that is not known.
    """
    if not isinstance(model, str | Path):
        return SourceModel(model, api_of(model), model.name)
    file = identify(Path(model))
    objects = _objects_for(file, custom_objects)
    # What Keras would compile is not loaded, and so needs no code.
    check_names({key: value for key, value in file.config.items() if key != "compile_config"}, objects, file.path.name)
    check_weights(file)
    api = api_named(file.keras_api)
    with ForeignCode(partial(_explained, file, objects)):
        loaded = api.load(file.path, objects)
    return SourceModel(loaded, api, file.path.stem, file)


def _objects_for(file: SourceFile, custom_objects: Sequence[str] | CustomObjects) -> CustomObjects:
    if isinstance(custom_objects, Mapping):
        return dict(custom_objects)
    collected = collect(custom_objects)
    needed = {text.rpartition(">")[2] for text in strings(file.config)}
    for name in sorted(needed & set(collected.clashes)):
        raise UsageError(
            f"{name} defined by {' and by '.join(collected.clashes[name])}", "one definition", "drop a --custom-objects"
        )
    return collected.objects


def _explained(file: SourceFile, objects: CustomObjects, error: BaseException) -> ConversionError:
    match = _UNKNOWN.search(str(error))
    if match:
        name = (match["name"] or match["name2"]).split(">")[-1]
        return unknown_object(match["kind"] or match["kind2"], name, objects, file.path.name)
    return ConversionError(
        f"{file.path.name} (Keras {file.keras_version}) can't be rebuilt: {reason(error)}",
        "a model that its own Keras loads",
        "try it with keras.saving.load_model, or check --custom-objects",
    )
