"""Models whose large weights stay outside of the messages that are made of them, and are not copied.

Before: ModelProto, a copy of every weight in it     After: ModelProto, and {name: array}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import onnx
import onnx_ir as ir

from rnnexport.targets.onnx.wire import LARGE

_HELD = "held"  # the name of a file that is none
_Result = TypeVar("_Result")


def is_large(value: ir.Value) -> bool:
    """Whether an initializer stays outside: of a dtype that NumPy knows by itself."""
    tensor = value.const_value
    return tensor is not None and tensor.nbytes >= LARGE and tensor.dtype.numpy().kind in "fiu"


def with_arrays(model: ir.Model) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The message of a model that says of its large initializers that they are in a file, and their arrays by name."""
    tensors = {str(value.name): value.const_value for value in _large(model) if value.const_value is not None}
    with _without_values(model, _elsewhere):
        proto = ir.to_proto(model)
    # An array in another order than C's (a kernel that was turned) is laid out anew; all others are the model's own.
    return proto, {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in tensors.items()}


def without_arrays(model: ir.Model, function: Callable[[onnx.ModelProto], _Result]) -> _Result:
    """What a function of onnx gives for a model, whose large initializers are inputs of it."""
    large = _large(model)
    inputs = list(model.graph.inputs)
    with _without_values(model, lambda name, tensor: None):
        model.graph.inputs.extend(large)
        try:
            proto = ir.to_proto(model)
        finally:
            model.graph.inputs.clear()
            model.graph.inputs.extend(inputs)
    return function(proto)


def restored(model: ir.Model, arrays: Mapping[str, ir.TensorProtocol]) -> ir.Model:
    """The model with these inputs as the initializers that they were, in place."""
    graph = model.graph
    for value in [one for one in graph.inputs if one.name in arrays]:
        graph.inputs.remove(value)
        value.const_value = arrays[str(value.name)]
        graph.register_initializer(value)
    return model


def tensors_of(model: ir.Model) -> dict[str, ir.TensorProtocol]:
    """The large initializers by name."""
    return {str(value.name): value.const_value for value in _large(model) if value.const_value is not None}


def _large(model: ir.Model) -> list[ir.Value]:
    return [value for value in model.graph.initializers.values() if is_large(value)]


def _elsewhere(name: str, tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.ExternalTensor(_HELD, None, None, tensor.dtype, shape=ir.Shape(tensor.numpy().shape), name=name)


@contextmanager
def _without_values(
    model: ir.Model, stand_in: Callable[[str, ir.TensorProtocol], ir.TensorProtocol | None]
) -> Iterator[None]:
    """A block in which the large initializers have other tensors, or are none."""
    held = [(value, value.const_value) for value in _large(model)]
    every = list(model.graph.initializers.values())
    try:
        for value, tensor in held:
            value.const_value = stand_in(str(value.name), tensor)  # type: ignore[arg-type]
            if value.const_value is None:
                model.graph.initializers.pop(str(value.name))
        yield
    finally:
        for value, tensor in held:
            value.const_value = tensor
        model.graph.initializers.clear()
        for value in every:
            model.graph.register_initializer(value)
