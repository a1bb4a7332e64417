"""What a model file is, told without TensorFlow: the container, who wrote it, which layers it names.

`.keras` is a zip of `metadata.json`, `config.json` and `model.weights.h5`, written by Keras 3 or, with a version
below 3, by Keras 2.12+ and tf_keras. `.h5` holds the same configuration in its attributes.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rnnexport.errors import ConversionError, UsageError

KerasApiName = Literal["keras", "tf_keras"]
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_NOT_LAYERS = ("DTypePolicy", "Policy")
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
        """(class name, layer name) of the model's layers and cells, parents first."""
        named = [(node["class_name"], node["config"].get("name")) for node in _objects(self.config)]
        return [(kind, name) for kind, name in named if isinstance(name, str) and kind not in _NOT_LAYERS]


def identify(path: Path) -> SourceFile:
    """Look at a model file.

    Raises:
        UsageError: there is no file at `path`.
        ConversionError: it is not a Keras model, is damaged, or holds code (a Lambda layer).
    """
    if not path.exists():
        raise UsageError(f"no file {path}", "a saved Keras model", "check the path")
    if path.is_dir():
        raise ConversionError(f"{path} is a folder", _MODEL_FILE, _SAVE_AGAIN)
    with path.open("rb") as stream:
        head = stream.read(8)
    if head.startswith(b"PK"):
        source = _keras_zip(path)
    elif head == _HDF5_SIGNATURE:
        source = _hdf5(path)
    else:
        raise ConversionError(f"{path.name} is not a Keras file (it starts with {head!r})", _MODEL_FILE, _SAVE_AGAIN)
    _refuse_lambda(source)
    return source


def _keras_zip(path: Path) -> SourceFile:
    try:
        with zipfile.ZipFile(path) as archive:
            metadata = json.loads(archive.read("metadata.json"))
            config = json.loads(archive.read("config.json"))
            damaged = archive.testzip()
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError) as error:
        raise _damaged(path, str(error)) from error
    if damaged is not None:
        raise _damaged(path, f"bad checksum of {damaged}")
    return SourceFile(path, ".keras", str(metadata.get("keras_version", "3")), _sha256(path), config)


def _hdf5(path: Path) -> SourceFile:
    import h5py  # here: it comes with the extra `convert`, and a .keras file is identified without it

    try:
        with h5py.File(path, "r") as file:
            version, text = file.attrs.get("keras_version", "1"), file.attrs.get("model_config")
    except OSError as error:
        raise _damaged(path, str(error)) from error
    if text is None:
        raise ConversionError(f"{path.name} holds weights without an architecture", _MODEL_FILE, _SAVE_AGAIN)
    try:
        config = json.loads(_text(text))
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    return SourceFile(path, ".h5", _text(version), _sha256(path), config)


def _refuse_lambda(source: SourceFile) -> None:
    for class_name, name in source.layers():
        if class_name == "Lambda":
            raise ConversionError(
                f"Lambda layer {name!r} in {source.path.name}, which is code inside a file",
                "layers whose code the user gives with --custom-objects",
                "make it a Layer subclass and save the model again, or export the live model from Python",
            )


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    """Every serialised object below `node`, parents first."""
    if isinstance(node, dict):
        if isinstance(node.get("class_name"), str) and isinstance(node.get("config"), dict):
            yield node
        for child in node.values():
            yield from _objects(child)
    elif isinstance(node, list):
        for child in node:
            yield from _objects(child)


def _damaged(path: Path, reason: str) -> ConversionError:
    return ConversionError(f"{path.name} is damaged or cut short ({reason})", _MODEL_FILE, "copy or save it again")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
