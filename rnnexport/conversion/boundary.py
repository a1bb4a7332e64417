"""The ONNX graph's inputs and outputs, given back their Keras names and their named dynamic dimensions.

Before: x:0 [unk__764, unk__765, 5]     After: x [batch, time, 5]
"""

from __future__ import annotations

from collections.abc import Mapping, MutableSequence, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from rnnexport.core.errors import ConversionError
from rnnexport.core.signature import TEXT, TensorSpec
from rnnexport.ir.loop_body import subgraphs

if TYPE_CHECKING:
    from rnnexport.source.trace import TracedModel


def restore_boundary(model: ir.Model, traced: TracedModel, weights: Sequence[str] = ()) -> None:
    """Rename, reorder and reshape the boundary of `model` in place to be exactly the signature's.

    Args:
        model: as the converter made it.
        traced: what it was made from.
        weights: inputs of the graph that are none of the signature's, and stay behind these as they are.

    1. Every input and output of the signature is there, in its order, under its Keras name.
    2. An input that the graph does not read stays an input: the caller's code feeds it.
    3. No value inside the graph shares a name with the boundary, and none has an invented name for a dimension.

    Raises:
        ConversionError: the converter added or dropped a tensor, or changed a dtype.
    """
    graph = model.graph
    wanted_inputs = list(zip(traced.input_tensors, traced.signature.all_inputs, strict=True))
    wanted_outputs = list(zip(traced.output_tensors, traced.signature.all_outputs, strict=True))
    _free_names(graph, [spec.name for _, spec in wanted_inputs + wanted_outputs])
    found = {value.name: value for value in graph.inputs}
    if extra := set(found) - set(traced.input_tensors) - set(weights):
        raise _changed(traced.name, f"inputs {sorted(map(str, extra))} were added")
    inputs = [_input(found, tensor, spec, traced.name) for tensor, spec in wanted_inputs]
    outputs = {value.name: value for value in graph.outputs}
    if set(outputs) != set(traced.output_tensors):
        raise _changed(traced.name, f"outputs are {sorted(map(str, outputs))}")
    ordered = [outputs[tensor] for tensor, _ in wanted_outputs]
    for value, (_, spec) in zip(ordered, wanted_outputs, strict=True):
        _apply(value, spec, traced.name)
    forget_invented_dims(graph)
    _replace(graph.inputs, [*inputs, *(value for value in list(graph.inputs) if value.name in set(weights))])
    _replace(graph.outputs, ordered)


def hold_weights(model: ir.Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Make initializers of inputs of `model`, in place, that hold these arrays themselves.

    Before: inputs x, kernel:0     After: input x, initializer kernel
    """
    graph = model.graph
    taken = {str(value.name) for value in _values(graph)}
    for name, array in arrays.items():
        value = next(value for value in graph.inputs if value.name == name)
        graph.inputs.remove(value)
        bare = name.removesuffix(":0")
        value.name = bare if bare not in taken else name
        value.const_value = ir.Tensor(array, name=value.name)
        value.shape, value.type = ir.Shape(array.shape), ir.TensorType(value.const_value.dtype)
        graph.register_initializer(value)


def _values(graph: ir.Graph) -> list[ir.Value]:
    """All that is in a graph but its inputs and outputs, in bodies too."""
    return [*graph.initializers.values(), *(value for node in graph.all_nodes() for value in node.outputs)]


def _input(found: dict[str | None, ir.Value], tensor: str, spec: TensorSpec, model: str) -> ir.Value:
    value = found.get(tensor)
    if value is None:
        kind = ir.DataType.STRING if spec.dtype == TEXT else ir.DataType.from_numpy(np.dtype(spec.dtype))
        value = ir.Value(name=spec.name, type=ir.TensorType(kind))
    _apply(value, spec, model)
    return value


def _apply(value: ir.Value, spec: TensorSpec, model: str) -> None:
    found = TEXT if value.dtype == ir.DataType.STRING else value.dtype and value.dtype.numpy().name
    if found != spec.dtype:
        raise _changed(model, f"{spec.name} has dtype {value.dtype}, not {spec.dtype}")
    value.name = spec.name
    value.shape = ir.Shape(list(spec.shape))


def _free_names(graph: ir.Graph, names: Sequence[str]) -> None:
    taken, boundary = set(names), {*graph.inputs, *graph.outputs}
    for value in _values(graph):
        if value.name in taken and value not in boundary:
            value.name = f"{value.name}__inner"


def forget_invented_dims(graph: ir.Graph) -> None:
    """A dimension that tf2onnx, or the shape inference of onnx, calls `unk__7` is one it does not know."""
    inner = [value for node in graph.all_nodes() for value in node.outputs]
    inside = [body for node in graph.all_nodes() for body in subgraphs(node)]
    for value in inner + [value for body in inside for value in body.inputs]:
        if value.shape is not None:
            dims = [dim.value if isinstance(dim, ir.SymbolicDim) else dim for dim in value.shape]
            value.shape = ir.Shape([None if str(dim).startswith("unk__") else dim for dim in dims])


def _replace(values: MutableSequence[ir.Value], new: Sequence[ir.Value]) -> None:
    if list(values) != list(new):
        values.clear()
        values.extend(new)


def _changed(model: str, what: str) -> ConversionError:
    return ConversionError(
        f"tf2onnx changed the boundary of {model}: {what}", "the model's own inputs and outputs", "report this model"
    )
