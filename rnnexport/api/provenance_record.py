"""What a new artifact records of where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rnnexport.artifact.provenance import Provenance
from rnnexport.core.signature import Signature
from rnnexport.core.versions import installed
from rnnexport.targets.base import Target
from rnnexport.verification.tolerance import Override

if TYPE_CHECKING:
    from rnnexport.reference.describe import Described
    from rnnexport.source.model import SourceModel


def provenance_of(
    source: SourceModel,
    known: Described,
    kind: Target,
    options: Mapping[str, Any],
    override: Override,
    sequence: Signature | None,
) -> Provenance:
    """The provenance of an artifact of that format.

    Args:
        source: the model that was called, or its stream.
        known: its boundary, and how closely it can be met.
        kind: the format.
        options: of the export, as plain values.
        override: what the user asked of the tolerance instead.
        sequence: of a stream, the boundary of the model on whole sequences.
    """
    from rnnexport.source.api import layers_by_dtype

    file = source.file
    return Provenance(
        target=kind.name,
        source={
            "name": source.name,
            "sha256": file.sha256 if file else "",
            "writer": str(file.origin) if file else f"{source.api.name} {source.api.version}, a live model",
            **source.parameters.recorded(),
        },
        keras_api=source.api.name,
        options=options,
        versions=installed("rnnexport", "numpy", "tensorflow", source.api.package) | dict(kind.versions()),
        signature=known.signature,
        tolerance={"rtol": known.tolerance.rtol, "atol": known.tolerance.atol},
        semantics=source.semantics,
        computed_in=layers_by_dtype(source.api.layers(source.model)),
        no_truth=known.no_truth,
        coverage=known.coverage,
        no_witness=known.no_witness,
        override=override.to_json(),
        sequence=sequence,
    )
