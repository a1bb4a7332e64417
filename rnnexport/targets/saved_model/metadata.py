"""The proof in a SavedModel: two files in `assets.extra`, the folder TensorFlow keeps for users."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from google.protobuf.message import DecodeError

from rnnexport.artifact.checksum import Data, mapped, seal_of, with_seal
from rnnexport.artifact.provenance import Proof, read_proof
from rnnexport.core.errors import ProviderError, UsageError

_FOLDER = "assets.extra"
_PROVENANCE = "rnnexport.json"
_GOLDENS = "rnnexport.npz"
_HOLDER = f"{_FOLDER}/{_PROVENANCE}"


def write(path: Path, proof: Proof) -> None:
    """Put the proof into the SavedModel at `path`, in place of one that is there."""
    folder = path / _FOLDER
    folder.mkdir(exist_ok=True)
    provenance, goldens = proof.blobs()
    (folder / _PROVENANCE).write_text(provenance)
    (folder / _GOLDENS).unlink(missing_ok=True)
    if goldens:
        (folder / _GOLDENS).write_bytes(goldens)
    seal = seal_of(_parts(path), _HOLDER)
    (folder / _PROVENANCE).write_bytes(with_seal(provenance.encode(), seal))


def read(path: Path) -> Proof | None:
    """The proof inside the SavedModel, or None where there is none."""
    provenance, goldens = path / _FOLDER / _PROVENANCE, path / _FOLDER / _GOLDENS
    if not provenance.is_file():
        return None
    try:
        parts = _parts(path)
        blob = goldens.read_bytes() if goldens.is_file() else b""
        return read_proof(path, provenance.read_bytes(), blob, parts, _HOLDER)
    except OSError as error:
        raise UsageError(f"can't read {path}: {error}", "a readable folder", "check its rights") from error


def _parts(path: Path) -> list[tuple[str, Data]]:
    """All files of the folder, by their paths in it, in order."""
    files = [file for file in path.rglob("*") if file.is_file()]
    return [(name, mapped(file)) for name, file in sorted((file.relative_to(path).as_posix(), file) for file in files)]


def facts(path: Path) -> dict[str, str]:
    """What there is to say of an artifact that some tool changed: nothing."""
    return {}


def operators(path: Path) -> Counter[str]:
    """Operators by name, over the functions of the SavedModel.

    Raises:
        ProviderError: TensorFlow, whose format it is, is not installed.
        UsageError: the file is damaged.
    """
    try:
        from tensorflow.core.protobuf import saved_model_pb2
    except ModuleNotFoundError as error:
        raise ProviderError(
            "tensorflow is not installed", "TensorFlow, to read a SavedModel", "pip install 'rnnexport[convert]'"
        ) from error
    try:
        proto = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    except DecodeError as error:
        raise UsageError(f"{path.name} is damaged ({error})", "a whole SavedModel", "export it again") from error
    return Counter(
        node.op for graph in proto.meta_graphs for fn in graph.graph_def.library.function for node in fn.node_def
    )
