"""A traced model to an ONNX file: convert, restore the boundary, lower the recurrences, write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
import onnx_ir as ir

from rnnexport.artifact.goldens import Arrays
from rnnexport.conversion.boundary import hold_weights, restore_boundary
from rnnexport.conversion.cleanup import clean_up, quiet
from rnnexport.conversion.convert import NEWEST_OPSET, to_onnx
from rnnexport.conversion.forms import in_forms
from rnnexport.core.errors import ConversionError
from rnnexport.core.lowering import LoweringDecision
from rnnexport.lowering.lower import lower
from rnnexport.source.freezing import array_of
from rnnexport.source.trace import Graphs
from rnnexport.targets.base import ExportOptions
from rnnexport.targets.onnx.opset import at_opset
from rnnexport.targets.onnx.session import measure, run


def export(graphs: Graphs, feeds: Sequence[Arrays], path: Path, options: ExportOptions) -> tuple[LoweringDecision, ...]:
    """Write a model to `path` as one ONNX file, without a proof.

    Of a stream the graph of whole sequences is left out: the one graph takes chunks of any length, a whole sequence
    among them.

    Raises:
        ConversionError: an op has no ONNX form, the form that is asked of a recurrence is not proven, or the result is
            no valid ONNX.
        ProviderError: ONNX Runtime, which checks the form of a recurrence, is not installed.
    """
    traced = in_forms(graphs.main)
    model = to_onnx(traced, min(options.opset, NEWEST_OPSET))
    weights = {f"{node}:0": array_of(tensor) for node, tensor in traced.open_weights.items()}
    restore_boundary(model, traced, list(weights))
    hold_weights(model, weights)
    clean_up(model)
    with quiet():
        lowered = lower(model, options.lowering, feeds, run, measure)
    clean_up(model)
    model = at_opset(model, options.opset)
    model.producer_name = "rnnexport"
    proto = ir.to_proto(model)
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConversionError(
            f"tf2onnx made an invalid ONNX graph of {traced.name}: {error}",
            "a graph that onnx accepts",
            "report it; SavedModel and TFLite are made without that converter",
        ) from error
    path.write_bytes(proto.SerializeToString(deterministic=True))
    return lowered
