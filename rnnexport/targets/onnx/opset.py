"""Opsets past those that tf2onnx writes: its newest, taken on by the version converter of onnx.

That converter goes into the bodies of `Loop` and `Scan`. Where it has no adapter it leaves an operator as it was, even
one whose meaning changed (GroupNormalization at 21): nothing here is trusted, the artifact is verified as every other.
The converter of onnxscript ends at opset 25, and skips an operator it can't adapt with a line in its log.
"""

from __future__ import annotations

from functools import partial

import onnx
import onnx_ir as ir
from onnx import helper, version_converter

from rnnexport.core.errors import ConversionError, ForeignCode, reason
from rnnexport.targets.onnx.outside import restored, tensors_of, without_arrays


def at_opset(model: ir.Model, opset: int) -> ir.Model:
    """`model` in `opset`, with the IR version that goes with it; itself where it is in that opset already.

    Raises:
        ConversionError: an operator has no form in that opset.
    """
    if model.opset_imports[""] == opset:
        return model
    with ForeignCode(lambda error: _unconvertible(model, opset, error)):
        convert = partial(version_converter.convert_version, target_version=opset)
        proto: onnx.ModelProto = without_arrays(model, convert)
        proto.ir_version = max(proto.ir_version, helper.find_min_ir_version_for(list(proto.opset_import)))
        return restored(ir.serde.deserialize_model(proto), tensors_of(model))


def _unconvertible(model: ir.Model, opset: int, error: BaseException) -> ConversionError:
    found = f"onnx can't take {model.graph.name} from opset {model.opset_imports['']} to {opset}: {reason(error)}"
    return ConversionError(found, "operators that both have", f"give --opset {model.opset_imports['']} or a lower one")
