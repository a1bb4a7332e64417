"""The JSON that `model.to_json()` gave, and which weights it belongs to.

A model that was saved as `NAME.json` has its weights in one of `NAME.weights.h5`, `NAME_weights.h5`, `NAME.h5` and
`NAME.hdf5` beside it, and the other way round.
"""

from __future__ import annotations

import json
from pathlib import Path

from rnnexport.core.errors import ConversionError, UsageError
from rnnexport.core.load_options import LoadOptions
from rnnexport.source.configs import Config, nested_deeper
from rnnexport.source.origin import Origin, parsed
from rnnexport.source.safety import CONFIG_LIMIT

_SUFFIXES = (".weights.h5", "_weights.h5", ".h5", ".hdf5")
_ARCHITECTURE = "the JSON of model.to_json()"


def read_architecture(path: Path) -> tuple[Config, Origin]:
    """The configuration in an architecture file, and the Keras that wrote it.

    Raises:
        UsageError: there is no such file.
        ConversionError: it is no architecture.
    """
    if not path.is_file():
        raise UsageError(f"no file {path}", _ARCHITECTURE, "check --architecture")
    if path.suffix in (".yaml", ".yml"):
        raise ConversionError(f"{path.name} is YAML, which can hold code", _ARCHITECTURE, "save it as JSON")
    if path.stat().st_size > CONFIG_LIMIT:
        raise ConversionError(f"{path.name} of {path.stat().st_size} bytes", _ARCHITECTURE, "check --architecture")
    try:
        config = json.loads(path.read_bytes())
        version = config.get("keras_version")
        origin = Origin(None) if version is None else parsed(version, config.get("backend"))
    except (ValueError, AttributeError, RecursionError) as error:
        raise ConversionError(f"{path.name} is no architecture ({error})", _ARCHITECTURE, "save it again") from error
    if not isinstance(config.get("class_name"), str) or "config" not in config or nested_deeper(config):
        raise ConversionError(f"{path.name} names no model class", _ARCHITECTURE, "save it again")
    # Keras 3 records no version, but is the one that names the module of the model's own class.
    if origin.version is None and isinstance(config.get("module"), str):
        origin = Origin("3")
    return config, origin


def architecture_for(weights: Path, loading: LoadOptions) -> Path | None:
    """The architecture that was named, or lies beside the weights; None where there is none."""
    if loading.architecture is not None:
        return Path(loading.architecture)
    for suffix in _SUFFIXES:
        beside = weights.with_name(weights.name.removesuffix(suffix) + ".json")
        if weights.name.endswith(suffix) and beside.is_file():
            return beside
    return None


def weights_beside(architecture: Path) -> Path:
    """The weights beside an architecture.

    Raises:
        ConversionError: there are none, or several.
    """
    candidates = [architecture.with_name(architecture.stem + suffix) for suffix in _SUFFIXES]
    found = [path for path in candidates if path.is_file()]
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found or candidates)
    raise ConversionError(
        f"{architecture.name} {f'beside {names}' if found else 'without weights beside it'}",
        "one file of weights" if found else f"one of {names}",
        f"name the weights as the model, and {architecture.name} with --architecture",
    )
