"""Slices without the axes that they leave whole: `x[:, :6]` of TensorFlow names both axes.

Before: Slice(x_BH, starts=[0, 0], ends=[2147483647, 6], axes=[0, 1])     After: Slice(x_BH, [0], [6], [1])

ONNX's inference of shapes forgets the name of an axis that a slice goes over.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from rnnexport.conversion.boundary import constant_of

_END = 2**31 - 1  # or more: beyond the end of any axis


def leave_whole_axes_out(model: ir.Model) -> None:
    """Let no slice go over an axis from end to end, in bodies too; in place. One that cuts nothing is an identity."""
    for node in list(model.graph.all_nodes()):
        if node.op_type == "Slice" and len(node.inputs) >= 4:
            _shorten(node)


def _shorten(node: ir.Node) -> None:
    bounds = [None if value is None else ir.convenience.get_const_tensor(value) for value in node.inputs[1:]]
    if any(tensor is None for tensor in bounds):
        return
    arrays = [tensor.numpy() for tensor in bounds if tensor is not None]
    starts, ends, steps = arrays[0], arrays[1], arrays[3] if len(arrays) > 3 else np.ones_like(arrays[0])
    cut = ~((starts == 0) & (ends >= _END) & (steps == 1))
    if cut.all():
        return
    if not cut.any():
        whole = node.inputs[0]
        assert whole is not None, "what is sliced is no option"
        node.outputs[0].replace_all_uses_with(whole)
        return
    assert node.graph is not None, "it is part of the model"
    for at, array in enumerate(arrays):
        node.replace_input_with(at + 1, constant_of(node.graph, array[cut], f"{node.name}/{at}"))
