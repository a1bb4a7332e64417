"""What an artifact carries about itself: where it comes from, and inputs with the outputs it must give for them.

Both travel inside the file, in the format's own slot, so that the file alone can be verified on a host that has
neither the source, nor the user's code, nor TensorFlow.
"""

from __future__ import annotations

import io
import json
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rnnexport.errors import UsageError
from rnnexport.lowered import Lowered
from rnnexport.signature import Signature

FORMAT = 3
# What json, zipfile and NumPy raise for blobs that are not as they were written.
_DAMAGE = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    SyntaxError,
    EOFError,
    OSError,
    MemoryError,
    RuntimeError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Golden:
    """One call: `feed` goes in, `expected` is what eager Keras gave for it."""

    label: str
    feed: Arrays
    expected: Arrays


@dataclass(frozen=True)
class Provenance:
    """Where an artifact comes from. Holds no time and no path.

    Attributes:
        target: the name of the target, such as `onnx`.
        source: `name`, `sha256` (empty for a live model) and the `keras_version` that wrote it.
        keras_api: `keras` (Keras 3), `tf_keras` (Keras 1 and 2) or `saved-model`: whose semantics the numbers have.
        options: the options of the export, such as `opset`, `batch` and `timesteps`.
        versions: the packages that took part, by name.
        signature: the boundary every run must show.
        tolerance: `rtol` and `atol` the artifact was verified with.
        semantics: what was decided about the numbers of an older file, a sentence each.
        computed_in: the layers of the source by the dtype they compute in.
        lowering: what became of each recurrence, where the format has several forms for one.
    """

    target: str
    source: Mapping[str, str]
    keras_api: str
    options: Mapping[str, Any]
    versions: Mapping[str, str]
    signature: Signature
    tolerance: Mapping[str, float] = field(default_factory=dict)
    semantics: tuple[str, ...] = ()
    computed_in: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lowering: tuple[Lowered, ...] = ()


@dataclass(frozen=True)
class Proof:
    """A provenance with its goldens: the two blobs an artifact carries."""

    provenance: Provenance
    goldens: tuple[Golden, ...]

    def provenance_text(self) -> str:
        """The provenance as one JSON object, keys sorted."""
        value = {
            "format": FORMAT,
            "target": self.provenance.target,
            "source": dict(self.provenance.source),
            "keras_api": self.provenance.keras_api,
            "options": dict(self.provenance.options),
            "versions": dict(self.provenance.versions),
            "signature": self.provenance.signature.to_json(),
            "tolerance": dict(self.provenance.tolerance),
            "semantics": list(self.provenance.semantics),
            "computed_in": {dtype: list(layers) for dtype, layers in self.provenance.computed_in.items()},
            "lowering": [item.to_json() for item in self.provenance.lowering],
        }
        return json.dumps(value, sort_keys=True)

    def goldens_bytes(self) -> bytes:
        """The goldens as one compressed `.npz`, without pickles and without times."""
        arrays: dict[str, np.ndarray] = {"labels": np.array([golden.label for golden in self.goldens])}
        for index, golden in enumerate(self.goldens):
            arrays |= {f"{index}/feed/{name}": array for name, array in golden.feed.items()}
            arrays |= {f"{index}/expected/{name}": array for name, array in golden.expected.items()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()


def read_proof(artifact: str, provenance: bytes, goldens: bytes) -> Proof:
    """The inverse of `Proof.provenance_text` and `Proof.goldens_bytes`.

    Args:
        artifact: the artifact's name, for the message of an error.

    Raises:
        UsageError: the blobs are damaged, or of a format this version does not know.
    """
    try:
        value = json.loads(provenance.decode())
        found = value["format"]
        if found == FORMAT:
            return Proof(_provenance(value), _goldens(goldens))
    except _DAMAGE as error:
        raise UsageError(
            f"damaged provenance or goldens in {artifact} ({error})",
            "the blobs rnnexport wrote",
            "export the model again",
        ) from error
    raise UsageError(
        f"provenance of format {found} in {artifact}",
        f"format {FORMAT}",
        "verify it with the rnnexport that made it, or export the model again",
    )


def _provenance(value: Mapping[str, Any]) -> Provenance:
    return Provenance(
        target=value["target"],
        source=value["source"],
        keras_api=value["keras_api"],
        options=value["options"],
        versions=value["versions"],
        signature=Signature.from_json(value["signature"]),
        tolerance={name: float(value["tolerance"][name]) for name in ("rtol", "atol")},
        semantics=tuple(map(str, value["semantics"])),
        computed_in={dtype: tuple(map(str, layers)) for dtype, layers in value["computed_in"].items()},
        lowering=tuple(map(Lowered.from_json, value["lowering"])),
    )


def _goldens(data: bytes) -> tuple[Golden, ...]:
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    labels = arrays.pop("labels")

    def part(index: int, kind: str) -> dict[str, np.ndarray]:
        prefix = f"{index}/{kind}/"
        return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}

    return tuple(Golden(str(label), part(i, "feed"), part(i, "expected")) for i, label in enumerate(labels))
