"""The proof in an ONNX file: two entries of `metadata_props`, text for the provenance, base64 for the goldens."""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from rnnexport.errors import UsageError
from rnnexport.proof import Proof, read_proof

_PROVENANCE = "rnnexport.provenance"
_GOLDENS = "rnnexport.goldens"


def entries(proof: Proof) -> dict[str, str]:
    """The metadata entries that hold `proof`."""
    return {
        _PROVENANCE: proof.provenance_text(),
        _GOLDENS: base64.b64encode(proof.goldens_bytes()).decode("ascii"),
    }


def load(path: Path) -> onnx.ModelProto:
    """Parse the file.

    Raises:
        UsageError: it is no ONNX file or is cut short.
    """
    try:
        model = onnx.load(path)
    except (DecodeError, OSError) as error:
        raise _unreadable(path, str(error)) from error
    if not model.graph.node and not model.graph.output:
        raise _unreadable(path, "it holds no graph")
    return model


def read(path: Path) -> Proof | None:
    """The proof inside the file, or None where there is none."""
    properties = {prop.key: prop.value for prop in load(path).metadata_props}
    if _PROVENANCE not in properties:
        return None
    try:
        goldens = base64.b64decode(properties.get(_GOLDENS, ""), validate=True)
    except binascii.Error as error:
        raise _unreadable(path, f"its goldens are damaged: {error}") from error
    return read_proof(path.name, _bytes(properties[_PROVENANCE]), goldens)


def _bytes(text: str | bytes) -> bytes:
    """Protobuf gives a string that is no UTF-8 as bytes."""
    return text if isinstance(text, bytes) else text.encode()


def operators(path: Path) -> Counter[str]:
    """Operators by name, loop bodies included."""
    counts: Counter[str] = Counter()
    graphs = [load(path).graph]
    while graphs:
        for node in graphs.pop().node:
            counts[node.op_type] += 1
            graphs += [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return counts


def _unreadable(path: Path, reason: str) -> UsageError:
    return UsageError(f"{path.name} can't be read as ONNX ({reason})", "a whole ONNX file", "copy or export it again")
