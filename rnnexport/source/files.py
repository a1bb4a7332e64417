"""What a model file is, told without TensorFlow: the container, who wrote it, which layers it names.

`.keras` is a zip of `metadata.json`, `config.json` and `model.weights.h5`, written by Keras 3 or, with a version
below 3, by Keras 2.12+ and tf_keras. `.h5` holds the same configuration in its attributes.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from rnnexport.errors import ConversionError, UsageError
from rnnexport.source.safety import check_archive, check_config, check_hdf5, import_h5py, serialised_objects

KerasApiName = Literal["keras", "tf_keras"]
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_WEIGHTS = "model.weights.h5"
_NOT_LAYERS = ("DTypePolicy", "Policy")
# What zipfile raises for an archive that is cut, flipped, encrypted or of another compression.
_ZIP_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)
_MODEL_FILE = "a whole model saved as .keras or .h5"
_SAVE_AGAIN = "save it again with model.save('model.keras')"


@dataclass(frozen=True)
class SourceFile:
    """A model file that was looked at, not loaded.

    Attributes:
        path: where it is.
        container: `.keras` or `.h5`.
        keras_version: the Keras that wrote it.
        sha256: of the whole file, in hexadecimal.
        config: the model's configuration as JSON.
    """

    path: Path
    container: Literal[".keras", ".h5"]
    keras_version: str
    sha256: str
    config: dict[str, Any] = field(repr=False)

    @property
    def keras_api(self) -> KerasApiName:
        """Whose semantics the file has: Keras 2 numbers need tf_keras (hard_sigmoid, GRU reset_after)."""
        return "keras" if int(self.keras_version.split(".")[0]) >= 3 else "tf_keras"

    def layers(self) -> list[tuple[str, str]]:
        """(class name, layer name) of the model's layers and cells, parents first; a name may be empty."""
        found = []
        for key, node in serialised_objects(self.config):
            kind, inner = node["class_name"], node["config"]
            name = inner.get("name") if isinstance(inner, dict) else None
            if kind not in _NOT_LAYERS and (isinstance(name, str) or key in ("cell", "cells", "layer", "layers")):
                found.append((kind, name if isinstance(name, str) else ""))
        return found


def identify(path: Path) -> SourceFile:
    """Look at a model file.

    Raises:
        UsageError: there is no file at `path`.
        ConversionError: it is not a Keras model, is damaged, or holds what `safety` refuses.
    """
    if not path.exists():
        raise UsageError(f"no file {path}", "a saved Keras model", "check the path")
    if path.is_dir():
        raise ConversionError(f"{path} is a folder", _MODEL_FILE, _SAVE_AGAIN)
    if not path.is_file():
        raise UsageError(f"{path} is no regular file", _MODEL_FILE, "check the path")
    try:
        with path.open("rb") as stream:
            head = stream.read(8)
    except OSError as error:
        raise UsageError(f"can't read {path}: {error.strerror}", "a readable file", "check its rights") from error
    if head.startswith(b"PK"):
        source = _keras_zip(path)
    elif head == _HDF5_SIGNATURE:
        source = _hdf5(path)
    else:
        raise ConversionError(f"{path.name} is not a Keras file (it starts with {head!r})", _MODEL_FILE, _SAVE_AGAIN)
    check_config(source.config, path.name)
    return source


def _keras_zip(path: Path) -> SourceFile:
    try:
        with zipfile.ZipFile(path) as archive:
            check_archive(archive, path.name)
            metadata = json.loads(archive.read("metadata.json"))
            config = json.loads(archive.read("config.json"))
            damaged = archive.testzip()
        version = _version(metadata["keras_version"])
    except (*_ZIP_DAMAGE, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if damaged is not None:
        raise _damaged(path, f"bad checksum of {damaged}")
    if not isinstance(config, dict):
        raise _damaged(path, "its configuration is no object")
    return SourceFile(path, ".keras", version, _sha256(path), config)


def _hdf5(path: Path) -> SourceFile:
    h5py = import_h5py()
    with path.open("rb") as stream:
        check_hdf5(stream, path.name)
    try:
        with h5py.File(path, "r") as file:
            version, text = file.attrs.get("keras_version"), file.attrs.get("model_config")
        if text is None:
            raise ConversionError(f"{path.name} holds weights without an architecture", _MODEL_FILE, _SAVE_AGAIN)
        # Keras 1 before 1.0.5 wrote no version.
        config, known = json.loads(_text(text)), "1" if version is None else _version(_text(version))
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(config, dict):
        raise _damaged(path, "its configuration is no object")
    return SourceFile(path, ".h5", known, _sha256(path), config)


def check_weights(file: SourceFile) -> None:
    """Refuse weights inside a `.keras` file that lie elsewhere; those of an `.h5` file were checked when it was read.

    Raises:
        ConversionError: names the link or dataset.
        ProviderError: h5py is not installed.
    """
    if file.container == ".keras":
        with zipfile.ZipFile(file.path) as archive:
            if _WEIGHTS in archive.namelist():
                with archive.open(_WEIGHTS) as stream:
                    check_hdf5(cast("BinaryIO", stream), file.path.name)


def _version(text: object) -> str:
    """`text` if it is a version. ValueError where it is none."""
    if not isinstance(text, str) or not text.partition(".")[0].isdigit():
        raise ValueError(f"keras_version is {text!r}")
    return text


def strings(node: Any) -> Iterator[str]:
    """Every string in a configuration: the names of all that it could ask for."""
    if isinstance(node, dict):
        for child in node.values():
            yield from strings(child)
    elif isinstance(node, list):
        for child in node:
            yield from strings(child)
    elif isinstance(node, str):
        yield node


def _damaged(path: Path, reason: str) -> ConversionError:
    return ConversionError(f"{path.name} is damaged or cut short ({reason})", _MODEL_FILE, "copy or save it again")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
