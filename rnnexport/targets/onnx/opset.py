"""Other opsets than the newest of tf2onnx: older ones by changes of our own, newer ones by the converter of onnx.

That converter goes into the bodies of `Loop` and `Scan`. Where it has no adapter it leaves an operator as it was, even
one whose meaning changed (GroupNormalization at 21): nothing here is trusted, the artifact is verified as every other.
The converter of onnxscript ends at opset 25, and skips an operator it can't adapt with a line in its log.
"""

from __future__ import annotations

from functools import partial
from itertools import count, repeat

import onnx
import onnx_ir as ir
from onnx import helper, version_converter

from rnnexport.core.errors import ConversionError, ForeignCode, reason
from rnnexport.ir.loop_body import constant
from rnnexport.targets.onnx.outside import restored, tensors_of, without_arrays


def take_back(model: ir.Model, opset: int) -> bool:
    """Make a model of opset 18 one of an older opset, in place.

    Before: ReduceMean(x, axes), Split(x; num_outputs=2)     After: ReduceMean(x; axes=[1]), Split(x)

    Returns:
        Whether that is possible; the model is as it was where an operator is not there, or is another one.
    """
    newest = model.opset_imports[""]
    changed = [
        node
        for node in model.graph.all_nodes()
        if not node.domain and onnx.defs.get_schema(node.op_type, newest, "").since_version > opset
    ]
    if not all(_was_there(node, opset) for node in changed):
        return False
    for node in changed:
        if node.op_type == "Split":
            node.attributes.pop("num_outputs", None)
        elif node.op_type in _WITH_AXES and len(node.inputs) > 1:
            axes = _axes(node)
            node.resize_inputs(1)
            if axes:
                node.attributes["axes"] = ir.AttrInt64s("axes", axes)
        node.attributes.pop("noop_with_empty_axes", None)
    model.opset_imports[""] = model.graph.opset_imports[""] = opset
    model.ir_version = helper.find_min_ir_version_for([helper.make_opsetid("", opset)])
    return True


# Their axes became an input at opset 18; those of ReduceSum had been one.
_WITH_AXES = frozenset(
    (
        *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin"),
        *("ReduceProd", "ReduceSumSquare"),
    )
)
# Its pixels moved by a half at opset 16.
_OTHERS = ("RoiAlign",)


def _was_there(node: ir.Node, opset: int) -> bool:
    """Whether an older opset has an operator that computes the same: between 13 and 18 they gained only."""
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return False
    attributes, inputs = set(node.attributes), list(node.inputs)
    if node.op_type in _WITH_AXES:
        axes = _axes(node)
        if axes is None or (not axes and (noop := node.attributes.get("noop_with_empty_axes")) and noop.as_int()):
            return False
        attributes, inputs = attributes - {"noop_with_empty_axes"}, inputs[:1]
    if node.op_type == "Split":
        if (node.inputs[1:] or [None])[0] is None and not _divides(node):
            return False
        attributes.discard("num_outputs")
    known = attributes <= set(schema.attributes) and len(inputs) <= schema.max_input
    return known and node.op_type not in _OTHERS and all(map(_takes, repeat(schema), count(), inputs))


def _axes(node: ir.Node) -> list[int] | None:
    """The axes of a reduction, none for all of them; None where they are computed."""
    given = node.inputs[1] if len(node.inputs) > 1 else None
    found = None if given is None else constant(given)
    if given is not None and found is None:
        return None
    return [] if found is None else [int(axis) for axis in found.numpy().ravel()]


def _divides(node: ir.Node) -> bool:
    """Whether all parts of a Split without sizes are known to be of one size."""
    shape = None if node.inputs[0] is None else node.inputs[0].shape
    if shape is None:
        return False
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
    size = shape[axis]
    return isinstance(size, int) and size % len(node.outputs) == 0


def _takes(schema: onnx.defs.OpSchema, at: int, value: ir.Value | None) -> bool:
    """Whether an input of that dtype is allowed."""
    if value is None or value.dtype is None or not schema.inputs:
        return True
    kind = schema.inputs[min(at, len(schema.inputs) - 1)].type_str
    allowed = {one.type_param_str: one.allowed_type_strs for one in schema.type_constraints}.get(kind, [kind])
    return f"tensor({value.dtype.name.lower()})" in allowed


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
