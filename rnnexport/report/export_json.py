"""What was exported and what was inspected, as JSON for a release job. NaN and infinities are null."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rnnexport.core.run_record import RunRecord, file_records
from rnnexport.core.signature import Signature
from rnnexport.report.json_view import artifact_value, to_text
from rnnexport.version import __version__

if TYPE_CHECKING:
    from rnnexport.api.inspect import Inspection, LayerFacts
    from rnnexport.api.jobs import Exported

SCHEMA = 1


def exports_to_json(exported: Sequence[Exported], run: RunRecord) -> str:
    """The artifacts that one command put in place, with a trailing newline.

    Raises:
        OSError: one of them can't be read again.
    """
    value = {
        "schema": SCHEMA,
        "rnnexport": __version__,
        "run": run.to_json(),
        "exported": [_exported(item) for item in exported],
    }
    return to_text(value)


def _exported(item: Exported) -> dict[str, Any]:
    return {
        "artifact": str(item.path),
        "files": [file.to_json() for file in file_records((item.path, *item.companions))],
        "seconds": round(item.seconds, 3),
        "verified": item.report is not None,
        "signature": None if item.signature is None else boundary(item.signature),
        "lowering": [recurrence.to_json() for recurrence in item.lowering],
        "quantization": None if item.quantization is None else item.quantization.to_json(),
        "report": None if item.report is None else artifact_value(item.report),
    }


def boundary(signature: Signature) -> dict[str, Any]:
    """Inputs, outputs and states, without the values that states start from."""
    return {
        "inputs": [spec.to_json() for spec in signature.inputs],
        "outputs": [spec.to_json() for spec in signature.outputs],
        "states": [
            {"layer": state.layer, "input": state.input.to_json(), "output": state.output.to_json()}
            for state in signature.states
        ],
    }


def _layer(layer: LayerFacts) -> dict[str, Any]:
    return {
        "class": layer.kind,
        "name": layer.name,
        "outputs": [list(shape) for shape in layer.outputs],
        "parameters": None if layer.parameters is None else layer.parameters.to_json(),
    }


def inspection_to_json(inspection: Inspection) -> str:
    """What there is to say of a file, with a trailing newline."""
    known = inspection.signature
    value = {
        "schema": SCHEMA,
        "rnnexport": __version__,
        "facts": dict(inspection.facts),
        "parameters": None if inspection.parameters is None else inspection.parameters.to_json(),
        "layers": list(map(_layer, inspection.layers)),
        "weights": [{"layer": name, "shapes": shapes} for name, shapes in inspection.weights],
        "signature": None if known is None else boundary(known),
        "operators": dict(inspection.operators),
        "lowering": [recurrence.to_json() for recurrence in inspection.lowering],
    }
    return to_text(value)
