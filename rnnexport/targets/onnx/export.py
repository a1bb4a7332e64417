"""A traced model to an ONNX file: convert, restore the boundary, put the proof in, check, write."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir

from rnnexport.errors import ConversionError
from rnnexport.proof import Proof
from rnnexport.source.trace import TracedModel
from rnnexport.targets.onnx.boundary import restore_boundary
from rnnexport.targets.onnx.convert import to_onnx
from rnnexport.targets.onnx.metadata import entries


def export(traced: TracedModel, proof: Proof, path: Path, opset: int) -> None:
    """Write `traced` to `path` as one ONNX file.

    Raises:
        ConversionError: an op has no ONNX form, or the result is no valid ONNX.
    """
    model = ir.from_proto(to_onnx(traced, opset))
    restore_boundary(model, traced)
    model.producer_name = "rnnexport"
    model.metadata_props.update(entries(proof))
    proto = ir.to_proto(model)
    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConversionError(
            f"tf2onnx made an invalid ONNX graph of {traced.name}: {error}", "a graph that onnx accepts", "report it"
        ) from error
    path.write_bytes(proto.SerializeToString(deterministic=True))
