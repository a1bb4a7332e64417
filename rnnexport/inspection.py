"""What a model file or an artifact is, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rnnexport.errors import UsageError
from rnnexport.pipeline import load
from rnnexport.proof import Proof
from rnnexport.signature import Boundary, Signature
from rnnexport.targets.registry import target_of


@dataclass(frozen=True, eq=False)
class Inspection:
    """Facts about one file.

    Attributes:
        facts: what there is to say in one line each, by label.
        layers: for a model file, (class, name) of the layers and cells that it names.
        signature: what goes in and out; None where it is not known.
        operators: for an artifact, how often each operator occurs.
    """

    facts: Mapping[str, str]
    layers: Sequence[tuple[str, str]] = ()
    signature: Signature | None = None
    operators: Mapping[str, int] = field(default_factory=dict)


def inspect_file(path: Path) -> Inspection:
    """Look at an artifact, or at a model file without loading it. Needs no TensorFlow.

    Raises:
        UsageError: there is no file, or it is damaged.
        ConversionError: it is neither an artifact nor a Keras model.
    """
    if is_artifact(path):
        return _artifact(path)
    from rnnexport.source.files import identify

    file = identify(path)
    facts = {
        "file": f"{path.name}, Keras model ({file.container})",
        "written by": f"Keras {file.keras_version}",
        "loaded by": f"{file.keras_api}, whose numbers a file of Keras {file.keras_version.split('.')[0]} has",
        "sha256": file.sha256,
    }
    return Inspection(facts, layers=file.layers())


def inspect_model(path: Path, custom_objects: Sequence[str] = ()) -> Signature:
    """Load a model file and find its signature. Loads TensorFlow.

    Raises:
        RnnExportError: see `rnnexport.load`.
    """
    source = load(path, custom_objects)
    from rnnexport.source.describe import describe

    return describe(source, Boundary())


def is_artifact(path: Path) -> bool:
    """Whether a target knows the file by its name."""
    try:
        target_of(path)
    except UsageError:
        if not path.exists():
            raise
        return False
    return True


def _artifact(path: Path) -> Inspection:
    kind = target_of(path)
    proof = kind.read_proof(path)
    facts = {"file": f"{path.name}, {kind.name} artifact"} | ({} if proof is None else _facts(proof))
    signature = None if proof is None else proof.provenance.signature
    if proof is None:
        facts["provenance"] = "none: it was not made by rnnexport"
    return Inspection(facts, signature=signature, operators=kind.operators(path))


def _facts(proof: Proof) -> dict[str, str]:
    provenance = proof.provenance
    digest = provenance.source["sha256"]
    return {
        "source": f"{provenance.source['name']}, {f'sha256 {digest}' if digest else 'a live model'}",
        "written by": f"Keras {provenance.source['keras_version']}, loaded by {provenance.keras_api}",
        "options": _listed(provenance.options),
        "made with": _listed(provenance.versions),
        "goldens": f"{len(proof.goldens)} feeds, tolerance {_listed(provenance.tolerance)}",
    }


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(values.items()) if value is not None)
