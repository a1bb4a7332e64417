"""What an artifact carries about itself: where it comes from, and inputs with the outputs it must give for them.

Both travel inside the file, in the format's own slot, so that the file alone can be verified on a host that has
neither the source, nor the user's code, nor TensorFlow.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnexport.artifact import goldens as golden_file
from rnnexport.artifact.beside import ProofPlace, proof_file, read_beside
from rnnexport.artifact.checksum import BLANK, KEY, Data, found_seal, seal_of
from rnnexport.artifact.goldens import Golden, slim
from rnnexport.core.coverage import Coverage
from rnnexport.core.errors import UsageError
from rnnexport.core.lowering import LoweringDecision
from rnnexport.core.signature import Signature

if TYPE_CHECKING:
    from rnnexport.artifact.layer_map import LayerMap

FORMAT = 6
_COVERAGE = Coverage()
_MOST_VALUES = 1 << 26  # of one tensor, for one row and one timestep where these are open
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


@dataclass(frozen=True)
class Provenance:
    """Where an artifact comes from. Holds no time and no path.

    Attributes:
        target: the name of the target, such as `onnx`.
        source: `name`, `sha256` (empty for a live model), the Keras that wrote it as `writer`, and its `Parameters`.
        keras_api: `keras` (Keras 3), `tf_keras` (Keras 1 and 2) or `saved-model`: whose semantics the numbers have.
        options: the options of the export, such as `opset`, `batch` and `timesteps`.
        versions: the packages that took part, by name.
        signature: the boundary every run must show.
        tolerance: `rtol` and `atol` the artifact was verified with.
        semantics: what was decided about the numbers of an older file, a sentence each.
        computed_in: the layers of the source by the dtype they compute in.
        lowering: what became of each recurrence, where the format has several forms for one.
        no_truth: why the goldens have no float64 truth; empty where they have one.
        coverage: what the goldens reach.
        no_witness: why a single reading of the source gave it; empty where two agree, or there is none.
        override: what the user asked of the tolerance instead, as plain values.
        sequence: of a stream, whose `signature` is that of one chunk, the boundary of the model on whole sequences;
            None for what is no stream. Chunks of any lengths are shown to give what the whole gives.
        changed: of an artifact that was changed after its export and sealed again: what is known of the change, by
            label; empty for one that is as it was exported.
        quantization: of a quantised artifact, as plain values: its form, what was tried, and what each lost.
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
    lowering: tuple[LoweringDecision, ...] = ()
    no_truth: str = ""
    coverage: Coverage = _COVERAGE
    no_witness: str = ""
    override: Mapping[str, Any] = field(default_factory=dict)
    sequence: Signature | None = None
    changed: Mapping[str, str] = field(default_factory=dict)
    quantization: Mapping[str, Any] = field(default_factory=dict)

    def boundary_of(self, entry: str) -> Signature:
        """What goes in and comes out of that signature of the artifact; of the main one for an empty name."""
        return self.sequence if entry and self.sequence is not None else self.signature


def no_layer_map() -> LayerMap | None:
    """The layer map of what has none."""
    return None


@dataclass(frozen=True)
class Proof:
    """A provenance with its goldens: the two blobs an artifact carries.

    Attributes:
        provenance: where the artifact comes from.
        goldens: inputs and what must come out for them.
        layer_map: gives where the values of the source's layers are inside the artifact, None if that is not known.
            It is read when it is asked for, which only a mismatch does. Raises UsageError where it is damaged.
        altered: whether the file around them is not the one that was sealed.
        seal: of the file as it was sealed; empty for one that was not read from a file.
        place: where the goldens are, or are to go; `none` for a lean artifact that was read without them.
        blob: the goldens as they were read; empty for those that were not.
    """

    provenance: Provenance
    goldens: tuple[Golden, ...]
    layer_map: Callable[[], LayerMap | None] = no_layer_map
    altered: bool = False
    seal: str = ""
    place: ProofPlace = "inside"
    blob: bytes = field(default=b"", repr=False)

    @cached_property
    def golden_bytes(self) -> bytes:
        """The goldens, slimmed to what rides in a file, and the layer map; empty where there are none."""
        if self.blob or not self.goldens:
            return self.blob
        return golden_file.to_bytes([slim(golden) for golden in self.goldens], self.layer_map())

    def blobs(self) -> tuple[str, bytes]:
        """The provenance, with a place for the seal of the file, and the goldens, empty where they are not inside."""
        goldens = self.golden_bytes
        digest = hashlib.sha256(goldens).hexdigest() if goldens else ""
        return self._provenance_text(digest), goldens if self.place == "inside" else b""

    def _provenance_text(self, goldens_digest: str) -> str:
        """The provenance as one JSON object, keys sorted."""
        value = {
            "format": FORMAT,
            KEY: BLANK,
            "goldens": goldens_digest,
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
            "no_truth": self.provenance.no_truth,
            "coverage": self.provenance.coverage.to_json(),
            "no_witness": self.provenance.no_witness,
            "override": dict(self.provenance.override),
            "sequence": self.provenance.sequence and self.provenance.sequence.to_json(),
            "changed": dict(self.provenance.changed),
            **({"quantization": dict(self.provenance.quantization)} if self.provenance.quantization else {}),
        }
        return json.dumps(value, sort_keys=True)


def read_proof(
    path: Path, provenance: bytes, goldens: bytes, parts: Sequence[tuple[str, Data]], holder: str = ""
) -> Proof:
    """The inverse of `Proof.blobs`.

    Args:
        path: of the artifact, beside which its goldens may be.
        provenance: the one blob.
        goldens: the other; empty where they are not inside.
        parts: all that the artifact consists of, see `checksum.seal_of`.
        holder: the one of them that holds the provenance.

    Raises:
        UsageError: the blobs are damaged, the goldens are those of another file, or the format is not known.
    """
    artifact = path.name
    place: ProofPlace = "inside" if goldens else "beside"
    goldens = goldens or read_beside(path)
    try:
        value = json.loads(provenance.decode())
        found = value["format"]
        if found == FORMAT:
            seal, told = found_seal(provenance), _provenance(value)
            altered = seal != seal_of(parts, holder)
            if not goldens:
                return Proof(told, (), altered=altered, seal=seal, place="none")
            if value["goldens"] != hashlib.sha256(goldens).hexdigest():
                raise _others_goldens(path, inside=place == "inside")
            found_goldens = golden_file.from_bytes(goldens)
            _check_outputs(told, found_goldens)
            layer_map = partial(_layer_map, artifact, goldens)
            return Proof(told, found_goldens, layer_map, altered, seal, place, goldens)
    except _DAMAGE as error:
        raise _damaged(artifact, error) from error
    raise UsageError(
        f"provenance of format {found} in {artifact}",
        f"format {FORMAT}",
        "verify it with the rnnexport that made it, or export the model again",
    )


def require_unaltered(artifact: str, proof: Proof) -> None:
    """Refuse an artifact that was changed since it was exported, before anything of it runs.

    Raises:
        UsageError: names the artifact.
    """
    if proof.altered:
        raise UsageError(
            f"{artifact} was altered after it was exported (its bytes are not those of its seal)",
            "the file as rnnexport wrote it",
            "copy or export it again, or give --source MODEL to compare it as it is",
        )


def own_proof(path: Path, proof: Proof | None) -> Proof:
    """The proof of an artifact of rnnexport that is as it was exported.

    Raises:
        UsageError: it carries none, or was altered.
    """
    if proof is None:
        raise UsageError(
            f"{path.name} carries no provenance", "an artifact of rnnexport", "export it, or give --source MODEL"
        )
    require_unaltered(path.name, proof)
    return proof


def without_goldens(path: Path) -> UsageError:
    """The error of a lean artifact where its goldens are wanted."""
    beside = proof_file(path).name
    return UsageError(
        f"{path.name} carries no goldens, and no {beside} is beside it",
        "the goldens that it was exported with",
        f"put {beside} there, or verify it with --source MODEL",
    )


def _layer_map(artifact: str, goldens: bytes) -> LayerMap | None:
    try:
        return golden_file.layer_map_from_bytes(goldens)
    except _DAMAGE as error:
        raise _damaged(artifact, error) from error


def _damaged(artifact: str, error: Exception) -> UsageError:
    return UsageError(
        f"damaged provenance or goldens in {artifact} ({error})", "the blobs rnnexport wrote", "export the model again"
    )


def _check_outputs(told: Provenance, goldens: Sequence[Golden]) -> None:
    """Raise ValueError for goldens that do not say what each output has to be."""
    for golden in goldens:
        outputs = {spec.name for spec in told.boundary_of(golden.entry).all_outputs}
        if set(golden.expected) != outputs:
            raise ValueError(f"goldens that do not say what comes out as {', '.join(sorted(outputs))}")


def _others_goldens(path: Path, *, inside: bool) -> UsageError:
    where = f"the goldens in {path.name}" if inside else f"the goldens beside {path.name}, in {proof_file(path).name},"
    todo = "copy or export it again" if inside else "copy both files again, or take that one away"
    return UsageError(f"{where} are not its own (their digest differs)", "those it was exported with", todo)


def _signature(value: Any) -> Signature:
    """A boundary, none of whose tensors would fill the memory, as each is made once it is called."""
    found = Signature.from_json(value)
    for spec in (*found.all_inputs, *found.all_outputs):
        fixed = math.prod(size for size in spec.shape if isinstance(size, int))
        if fixed > _MOST_VALUES:
            raise ValueError(f"{spec.name} has {fixed} values")
    return found


def _provenance(value: Mapping[str, Any]) -> Provenance:
    return Provenance(
        target=value["target"],
        source={str(key): str(text) for key, text in value["source"].items()},
        keras_api=value["keras_api"],
        options=dict(value["options"].items()),
        versions={str(key): str(text) for key, text in value["versions"].items()},
        signature=_signature(value["signature"]),
        tolerance={name: float(value["tolerance"][name]) for name in ("rtol", "atol")},
        semantics=tuple(map(str, value["semantics"])),
        computed_in={dtype: tuple(map(str, layers)) for dtype, layers in value["computed_in"].items()},
        lowering=tuple(map(LoweringDecision.from_json, value["lowering"])),
        no_truth=str(value["no_truth"]),
        coverage=Coverage.from_json(value["coverage"]),
        no_witness=str(value["no_witness"]),
        override=dict(value["override"]),
        sequence=None if value["sequence"] is None else _signature(value["sequence"]),
        changed={str(label): str(text) for label, text in value.get("changed", {}).items()},
        quantization=dict(value.get("quantization", {}).items()),
    )
