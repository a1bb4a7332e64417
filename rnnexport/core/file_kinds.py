"""What a file is by its first bytes, so that a wrong one is named for what it is."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

_HEAD = 512
_TEXT = frozenset((*range(32, 127), *b"\t\n\r\f", *range(128, 256)))
_LFS = b"version https://git-lfs"
_SIGNATURES = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, such as Keras writes"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF"),
    (_LFS, "a Git LFS pointer (git lfs pull fetches the file)"),
)
_SUFFIXES = {
    ".py": "Python code",
    ".ipynb": "a notebook",
    ".pt": "a PyTorch file",
    ".pth": "a PyTorch file",
    ".ckpt": "a checkpoint",
    ".safetensors": "a safetensors file",
    ".csv": "a table",
    ".json": "a JSON file",
}
_IR_VERSION = 0x08  # the first field of an ONNX model, as protobuf tags it
_AFTER_IR_VERSION = frozenset((0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72))
_PICKLE = 0x80
ONNX, TFLITE, KERAS, SAVED_MODEL = "an ONNX model", "a TFLite model", "a Keras model", "a SavedModel"


def kind_of(path: Path) -> str:
    """What is at `path`, with its article: `an ONNX model`, `a text file`; `a file of no known kind` where none is.

    Raises:
        OSError: it can't be read.
    """
    if path.is_dir():
        return SAVED_MODEL if (path / "saved_model.pb").is_file() else "a folder"
    if not path.is_file():
        return "no regular file"  # reading a pipe would wait for a writer
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    for look in (_by_signature, _zip_kind, _by_suffix, _by_text):
        if found := look(path, head):
            return found
    return "a file of no known kind"


def _by_signature(path: Path, head: bytes) -> str:
    del path
    if not head:
        return "an empty file"
    if head[4:8] == b"TFL3":
        return TFLITE
    if head[0] == _IR_VERSION and len(head) > 2 and head[1] < _PICKLE and head[2] in _AFTER_IR_VERSION:
        return ONNX
    if head[0] == _PICKLE and 2 <= head[1] <= 5:
        return "a Python pickle, such as PyTorch writes"
    return next((what for signature, what in _SIGNATURES if head.startswith(signature)), "")


def _zip_kind(path: Path, head: bytes) -> str:
    if not head.startswith(b"PK"):
        return ""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError):
        return "a damaged zip archive"
    holds: tuple[tuple[str, Callable[[str], bool]], ...] = (
        (KERAS, lambda name: name == "config.json"),
        ("a PyTorch file", lambda name: name.endswith("data.pkl")),
        ("a zipped SavedModel", lambda name: name.endswith("saved_model.pb")),
        ("an archive of NumPy arrays", lambda name: name.endswith(".npy")),
    )
    return next((what for what, test in holds if any(map(test, names))), "a zip archive")


def _by_suffix(path: Path, head: bytes) -> str:
    del head
    return _SUFFIXES.get(path.suffix.lower(), "")


def _by_text(path: Path, head: bytes) -> str:
    del path
    return "a text file" if _TEXT.issuperset(head) else ""
