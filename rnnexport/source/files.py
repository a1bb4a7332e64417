"""What a model file is, told without TensorFlow: the container, who wrote it, which layers it names.

.keras         a zip of metadata.json, config.json and model.weights.h5 (Keras 3; below version 3 Keras 2.12+, tf_keras)
.h5            configuration and weights in one HDF5 file (every Keras)
weights        HDF5 without a configuration: the architecture is a JSON file beside it, or comes from code
architecture   that JSON file: the weights lie beside it
saved-model    a SavedModel folder: a program, run through its serving signature

The JSON that `model.to_json()` gave, and which weights it belongs to.

A model that was saved as `NAME.json` has its weights in one of `NAME.weights.h5`, `NAME_weights.h5`, `NAME.h5` and
`NAME.hdf5` beside it, and the other way round.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from rnnexport.core.errors import ConversionError, UsageError, require_path
from rnnexport.core.file_kinds import ONNX, TFLITE, kind_of
from rnnexport.core.load_options import LoadOptions
from rnnexport.source.configs import Config, Origin, name_in, nested_deeper, parsed, serialised_objects, without_key
from rnnexport.source.keras1 import looks_like_keras1
from rnnexport.source.safety import CONFIG_LIMIT, check_archive, check_config, check_hdf5, import_h5py
from rnnexport.source.saved_model_file import SavedModelFile, digest, is_saved_model, read_saved_model
from rnnexport.source.stored import WEIGHTS_ENTRY, StoredWeights, stored_weights, text_of

Container = Literal[".keras", ".h5", "weights", "architecture", "saved-model"]
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_NOT_LAYERS = ("DTypePolicy", "Policy")
# What zipfile raises for an archive that is cut, flipped, encrypted or of another compression.
_ZIP_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)
_MODEL_FILE = "a model saved as .keras or .h5, weights, a JSON architecture or a SavedModel folder"
_SAVE_AGAIN = "save it again with model.save('model.keras')"
_DEFAULT = LoadOptions()
_SUFFIXES = (".weights.h5", "_weights.h5", ".h5", ".hdf5")
_ARCHITECTURE = "the JSON of model.to_json()"


@dataclass(frozen=True)
class SourceFile:
    """A model file that was looked at, not loaded.

    Attributes:
        path: where it is.
        container: what it is; see the module.
        origin: the Keras that wrote it.
        sha256: of the whole file, in hexadecimal; of weights, then architecture, where these are two files.
        config: the model's configuration; empty where code or a program takes its place.
        weights: the file that holds the weights, `path` itself but for an architecture.
        architecture: the JSON file that holds the configuration, where it is a file of its own.
        stored: the weights by layer, names and shapes.
        program: what a SavedModel says of itself.
    """

    path: Path
    container: Container
    origin: Origin
    sha256: str
    config: Config = field(default_factory=dict, repr=False)
    weights: Path = Path()
    architecture: Path | None = None
    stored: StoredWeights | None = field(default=None, repr=False)
    program: SavedModelFile | None = None

    def layers(self) -> list[tuple[str, str]]:
        """(class name, layer name) of the model's layers and cells, parents first; a name may be empty."""
        found = []
        for key, node in serialised_objects(without_key(self.config, "compile_config")):
            kind, name = node["class_name"], name_in(node)
            if kind not in _NOT_LAYERS and (name is not None or key in ("cell", "cells", "layer", "layers")):
                found.append((kind, name or ""))
        return found


def identify(path: Path, loading: LoadOptions = _DEFAULT) -> SourceFile:
    """Look at a model file.

    Args:
        path: the file, or the folder of a SavedModel.
        loading: whether a builder or which architecture belongs to it, and whether it may be unsafe.

    Raises:
        UsageError: there is no file at `path`.
        ConversionError: it is not a Keras model, is damaged, or holds what `safety` refuses.
    """
    if loading.builder and loading.architecture:
        raise UsageError("--builder and --architecture", "one of the two", "drop one")
    require_path(path, "a saved Keras model")
    source = _folder(path, loading) if path.is_dir() else _file(path, loading)
    alone = source.container in ("weights", "architecture")
    if loading.architecture and source.container != "weights":
        raise UsageError(f"--architecture for {path.name}, which holds its own", "weights alone", "drop it")
    if loading.builder and source.container in ("architecture", "saved-model"):
        raise UsageError(f"--builder for {path.name}, which is no file of weights", "weights", "drop it")
    if loading.weights_by != "auto" and not (alone or loading.builder):
        raise UsageError(f"--weights-by for {path.name}, which holds its own layers", "weights alone", "drop it")
    if source.container == "saved-model" and (loading.keras_api != "auto" or loading.custom_objects):
        option = "--custom-objects" if loading.custom_objects else "--keras-api"
        raise UsageError(f"{option} for {path.name}, which is a program", "a model of Keras", "drop it")
    if not loading.allow_unsafe:
        check_config(source.config, path.name)
    return source


def _file(path: Path, loading: LoadOptions) -> SourceFile:
    if not path.is_file():
        raise UsageError(f"{path} is no regular file", _MODEL_FILE, "check the path")
    try:
        with path.open("rb") as stream:
            head = stream.read(8)
    except OSError as error:
        raise UsageError(f"can't read {path}: {error.strerror}", "a readable file", "check its rights") from error
    if head.startswith(b"PK"):
        return _keras_zip(path, loading)
    if head == _HDF5_SIGNATURE:
        return _hdf5(path, loading)
    if path.suffix == ".json" or head.lstrip().startswith(b"{"):
        return _architecture(path, loading)
    if path.suffix in (".yaml", ".yml"):
        read_architecture(path)
    kind = kind_of(path)
    todo = _SAVE_AGAIN if kind not in (ONNX, TFLITE) else f"verify or inspect it: rnnexport verify {path.name}"
    raise ConversionError(f"{path.name} is not a Keras file but {kind}", _MODEL_FILE, todo)


def _folder(path: Path, loading: LoadOptions) -> SourceFile:
    if not is_saved_model(path):
        raise ConversionError(f"{path} is a folder without saved_model.pb", _MODEL_FILE, _SAVE_AGAIN)
    program = read_saved_model(path, allow_unsafe=loading.allow_unsafe)
    return SourceFile(path, "saved-model", Origin(None), digest(path), weights=path, program=program)


def _keras_zip(path: Path, loading: LoadOptions) -> SourceFile:
    try:
        with zipfile.ZipFile(path) as archive:
            if not {"metadata.json", "config.json"} <= set(archive.namelist()):
                raise ConversionError(f"{path.name} is not a Keras file but {kind_of(path)}", _MODEL_FILE, _SAVE_AGAIN)
            if not loading.allow_unsafe:
                check_archive(archive, path.name)
            metadata = json.loads(archive.read("metadata.json"))
            config = json.loads(archive.read("config.json"))
            damaged = archive.testzip()
        origin = parsed(metadata["keras_version"])
    except (*_ZIP_DAMAGE, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if damaged is not None:
        raise _damaged(path, f"bad checksum of {damaged}")
    return SourceFile(path, ".keras", origin, _sha256(path), _object(path, config), path)


def _hdf5(path: Path, loading: LoadOptions) -> SourceFile:
    if not loading.allow_unsafe:
        with path.open("rb") as stream:
            check_hdf5(stream, path.name)
    stored = stored_weights(path)
    try:
        with import_h5py().File(path, "r") as file:
            text, version, backend = (file.attrs.get(name) for name in ("model_config", "keras_version", "backend"))
        if text is None:
            return _weights(path, path, None if loading.builder else architecture_for(path, loading), stored)
        config = json.loads(text_of(text))
        origin = _recorded(config, version, backend)
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    return SourceFile(path, ".h5", origin, _sha256(path), _object(path, config), path, stored=stored)


def _recorded(config: Any, version: Any, backend: Any) -> Origin:
    if version is not None:
        return parsed(text_of(version), None if backend is None else text_of(backend))
    # Keras 1 before 1.0.5 wrote no version.
    return Origin("1") if isinstance(config, dict) and looks_like_keras1(config) else Origin(None)


def _architecture(path: Path, loading: LoadOptions) -> SourceFile:
    read_architecture(path)  # what is wrong with it comes before what is missing beside it
    weights = weights_beside(path)
    if not loading.allow_unsafe:
        with weights.open("rb") as stream:
            check_hdf5(stream, weights.name)
    return _weights(path, weights, path, stored_weights(weights))


def _weights(path: Path, weights: Path, architecture: Path | None, stored: StoredWeights | None) -> SourceFile:
    """Weights, with the architecture that belongs to them; without one code takes its place, or has to."""
    if weights != path and _holds_config(weights):
        raise ConversionError(
            f"{path.name} beside {weights.name}, which holds an architecture of its own",
            "weights alone beside it",
            f"give {weights.name} itself",
        )
    if stored is None:
        raise ConversionError(f"{weights.name} is HDF5 without the weights of a model", _MODEL_FILE, _SAVE_AGAIN)
    container: Container = "weights" if path == weights else "architecture"
    if architecture is None:
        return SourceFile(path, container, stored.origin, _sha256(weights), {}, weights, None, stored)
    config, origin = read_architecture(architecture)
    if {origin.major, stored.origin.major} in ({1, 3}, {2, 3}):
        raise ConversionError(
            f"{architecture.name} of {origin} beside {weights.name} of {stored.origin}",
            "an architecture and weights of one Keras",
            "name the right one with --architecture",
        )
    known = stored.origin if origin.version is None else origin
    return SourceFile(path, container, known, _sha256(weights, architecture), config, weights, architecture, stored)


def _holds_config(weights: Path) -> bool:
    with import_h5py().File(weights, "r") as file:
        return "model_config" in file.attrs


def check_weights(file: SourceFile) -> None:
    """Refuse weights inside a `.keras` file that lie elsewhere; those of an `.h5` file were checked when it was read.

    Raises:
        ConversionError: names the link or dataset.
        ProviderError: h5py is not installed.
    """
    if file.container == ".keras":
        with zipfile.ZipFile(file.path) as archive:
            if WEIGHTS_ENTRY in archive.namelist():
                with archive.open(WEIGHTS_ENTRY) as stream:
                    check_hdf5(cast("BinaryIO", stream), file.path.name)


def _object(path: Path, config: Any) -> Config:
    if not isinstance(config, dict) or nested_deeper(config):
        raise _damaged(path, "its configuration is no object, or nested too deep")
    return config


def _damaged(path: Path, reason: str) -> ConversionError:
    return ConversionError(f"{path.name} is damaged or cut short ({reason})", _MODEL_FILE, "copy or save it again")


def _sha256(*paths: Path) -> str:
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            while block := stream.read(2**20):
                total.update(block)
    return total.hexdigest()


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
