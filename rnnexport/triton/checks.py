"""What Triton looks at when it loads a model, looked at beforehand: its configuration against the ONNX graph.

The rules are those of the server and of its backend for ONNX Runtime. They are told apart from how a configuration is
made: what is checked was read from the text that the server will read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

_OPEN = -1
# The element type of ONNX and its bytes, by the name that Triton has for it.
_ELEMENTS = {
    "TYPE_FP32": (1, 4),
    "TYPE_UINT8": (2, 1),
    "TYPE_INT8": (3, 1),
    "TYPE_UINT16": (4, 2),
    "TYPE_INT16": (5, 2),
    "TYPE_INT32": (6, 4),
    "TYPE_INT64": (7, 8),
    "TYPE_BOOL": (9, 1),
    "TYPE_FP16": (10, 2),
    "TYPE_FP64": (11, 8),
    "TYPE_UINT32": (12, 4),
    "TYPE_UINT64": (13, 8),
}
Shapes = Mapping[str, tuple[int, tuple[int, ...]]]


def problems(config: Any, folder: str, graph: onnx.GraphProto, initial: Mapping[str, int]) -> list[str]:
    """Why Triton would not load the model, a sentence each; nothing where it would.

    Args:
        config: a `ModelConfig`, as it was read.
        folder: the name of the model's folder.
        graph: the graph of the model.
        initial: the files in `initial_state`, and how many bytes each has.
    """
    inputs, outputs = _shapes(graph.input), _shapes(graph.output)
    return list(_problems(config, folder, inputs, outputs, initial))


def _problems(config: Any, folder: str, inputs: Shapes, outputs: Shapes, initial: Mapping[str, int]) -> Iterator[str]:
    if config.name != folder:
        yield f"the name {config.name!r} in the folder {folder!r}"
    if config.platform != "onnxruntime_onnx" or config.backend != "onnxruntime":
        yield f"the platform {config.platform!r} with the backend {config.backend!r}"
    if config.max_batch_size < 0:
        yield f"max_batch_size {config.max_batch_size}"
    batched, states = config.max_batch_size > 0, config.sequence_batching.state
    for tensor in config.input:
        yield from _against(tensor.name, tensor, _shape(tensor), inputs, batched, exact=False)
    for tensor in config.output:
        yield from _against(tensor.name, tensor, _shape(tensor), outputs, batched, exact=True)
    for state in states:
        yield from _against(state.input_name, state, list(state.dims), inputs, batched, exact=False)
        yield from _against(state.output_name, state, list(state.dims), outputs, batched, exact=False)
        yield from _start(state, initial)
    named = [tensor.name for tensor in config.input] + [state.input_name for state in states]
    if sorted(named) != sorted(inputs):
        yield f"the inputs {sorted(named)} for those of the model, {sorted(inputs)}"
    before = [state.input_name.encode() for state in states]
    after = [state.output_name.encode() for state in states]
    if [sorted(before).index(name) for name in before] != [sorted(after).index(name) for name in after]:
        yield "states whose names do not sort alike on both sides"


def _against(name: str, tensor: Any, dims: list[int], graph: Shapes, batched: bool, exact: bool) -> Iterator[str]:
    """One tensor of the configuration against the graph's. An open dimension of the graph takes any, if not `exact`."""
    if any(dim < 1 and dim != _OPEN for dim in tensor.dims) or not tensor.dims:
        yield f"dims {list(tensor.dims)} of {name!r}"
    if name not in graph:
        yield f"{name!r}, which the model has not"
        return
    element, shape = graph[name]
    told = _type_of(tensor)
    if _ELEMENTS.get(told, (0, 0))[0] != element:
        yield f"{name!r} as {told}, which is element type {element} in the model"
    full = [_OPEN, *dims] if batched else dims
    if batched and shape[:1] != (_OPEN,):
        yield f"{name!r} in batches, whose axis 0 is {shape[:1]} in the model"
    same = len(full) == len(shape) and all(
        found == wanted or (found == _OPEN and not exact) for wanted, found in zip(full, shape, strict=True)
    )
    if not same:
        yield f"{name!r} as {full}, which is {list(shape)} in the model"


def _start(state: Any, initial: Mapping[str, int]) -> Iterator[str]:
    if len(state.initial_state) != 1:
        yield f"no initial value of {state.input_name!r}"
        return
    (start,) = state.initial_state
    if (
        not start.name
        or start.data_type != state.data_type
        or list(start.dims) != list(state.dims)
        or _OPEN in start.dims
    ):
        yield f"an initial value of {state.input_name!r} of another dtype or size, or without a name"
    size = math.prod(start.dims) * _ELEMENTS.get(_type_of(start), (0, 0))[1]
    source = start.WhichOneof("state_data")
    if source is None or (source == "data_file" and initial.get(start.data_file) != size):
        yield f"no {size} bytes that {state.input_name!r} starts from"


def _type_of(message: Any) -> str:
    """The name of its `data_type`."""
    kinds = message.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number
    return str(kinds[message.data_type].name)


def _shape(tensor: Any) -> list[int]:
    return list(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)


def _shapes(values: Any) -> Shapes:
    """Element type and shape by name, -1 for a dimension that is open."""
    found = {}
    for value in values:
        kind = value.type.tensor_type
        dims = [dim.dim_value if dim.HasField("dim_value") else _OPEN for dim in kind.shape.dim]
        found[value.name] = (kind.elem_type, tuple(dims))
    return found
