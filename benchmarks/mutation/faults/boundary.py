"""The outside of the graph: tensors in each other's place, sizes of the tracing that became constants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import combinations

import numpy as np
import onnx
import onnxruntime

from benchmarks.mutation.faults.gates import GATES
from benchmarks.mutation.nodes import told
from benchmarks.mutation.view import FLOATS, Edit, Place, View, copied

# The sizes of the first golden: the call a converter traces is the one that its fault passes.
BAKED = {"batch": 2, "time": 5}
# Sizes that no layer has, to see which number of a shape is which.
_MARKERS = {"batch": 37, "time": 41}
_OTHER_MARKER = 43
_SILENT = 4


def outputs_swapped(view: View) -> Iterator[Edit]:
    """Two outputs of one shape in each other's place."""
    for one, other in combinations(view.main.graph.output, 2):
        if _alike(one, other):
            where = f"{one.name} and {other.name}"
            yield Edit(where, partial(_swap_outputs, view, one.name, other.name))


def _alike(one: onnx.ValueInfoProto, other: onnx.ValueInfoProto) -> bool:
    return bool(one.type == other.type)


def _swap_outputs(view: View, one: str, other: str) -> None:
    inner = {name: view.new_name("inner") for name in (one, other)}
    for _, node in view.everything():
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                if name in inner:
                    names[at] = inner[name]
    graph = view.main.graph
    graph.node.append(onnx.helper.make_node("Identity", [inner[other]], [one]))
    graph.node.append(onnx.helper.make_node("Identity", [inner[one]], [other]))


def inputs_swapped(view: View) -> Iterator[Edit]:
    """Two inputs of one shape in each other's place; the two states of an LSTM."""
    for one, other in combinations(view.main.graph.input, 2):
        if _alike(one, other):
            names = {one.name: other.name, other.name: one.name}
            yield Edit(f"{one.name} and {other.name}", partial(_rename_inputs, view, names))
    for _, node in view.nodes("LSTM"):
        if len(node.input) > 6 and node.input[5] and node.input[6]:
            yield Edit(told(node, "h and c"), partial(_swap_in, node, 5, 6))


def _rename_inputs(view: View, names: Mapping[str, str]) -> None:
    for _, node in view.everything():
        for at, name in enumerate(node.input):
            node.input[at] = names.get(name, name)


def _swap_in(node: onnx.NodeProto, one: int, other: int) -> None:
    node.input[one], node.input[other] = node.input[other], node.input[one]


def parts_swapped(view: View) -> Iterator[Edit]:
    """The two parts of a Concat in the other order: the directions of a pair, or the features of two layers."""
    numbers = {i.name for i in view.main.graph.input if i.type.tensor_type.elem_type not in FLOATS}
    for _, node in view.nodes("Concat"):
        plain = all(view.array(name) is None and name not in numbers for name in node.input)
        if len(node.input) == 2 and plain:
            yield Edit(told(node), partial(_swap_in, node, 0, 1))


def batch_baked(view: View) -> Iterator[Edit]:
    """The batch of the tracing in the place of the batch of the call."""
    yield from _baked(view, "batch", (-1, BAKED["batch"], 0))


def time_baked(view: View) -> Iterator[Edit]:
    """The length of the tracing in the place of the length of the call."""
    yield from _baked(view, "time", (BAKED["time"], -1, 0))


def _baked(view: View, dim: str, shape: tuple[int, ...]) -> Iterator[Edit]:
    open_inputs = [value for value in view.main.graph.input if any(one.dim_param == dim for one in _dims(value))]
    if not open_inputs:
        return  # a size that the model itself fixes
    for value in open_inputs:
        yield Edit(f"shape of {value.name}", partial(_fix, value, dim))
    for place, node in view.nodes(*GATES):
        yield Edit(told(node, "input reshaped"), partial(_reshape, view, place, node, shape))
    places = _sizes_at(view, dim)
    for place, node in view.nodes("Shape"):
        if node.output[0] in places:
            yield Edit(told(node), partial(_fix_size, view, place, node, places[node.output[0]], BAKED[dim]))


def _fix(value: onnx.ValueInfoProto, dim: str) -> None:
    for one in value.type.tensor_type.shape.dim:
        if one.dim_param == dim:
            one.dim_value = BAKED[dim]


def _reshape(view: View, place: Place, node: onnx.NodeProto, shape: tuple[int, ...]) -> None:
    node.input[0] = view.before(place, node, "Reshape", [node.input[0], view.ints(*shape)])


def _fix_size(view: View, place: Place, node: onnx.NodeProto, at: np.ndarray, size: int) -> None:
    """What Shape gives, with `size` at the places that are marked."""
    old = node.output[0]
    inputs = [view.constant(at), view.ints(size), view.renamed_output(node, 0)]
    view.behind(place, node, "Where", inputs, old)


def _sizes_at(view: View, dim: str) -> dict[str, np.ndarray]:
    """For each Shape of the main graph that holds the size `dim`: where. Found by running with a size of its own."""
    names = [node.output[0] for node in view.main.graph.node if node.op_type == "Shape"]
    if not names:
        return {}
    probe = copied(view.model)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, None) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _SILENT
    session = onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    shapes = session.run(names, {value.name: _blank(value) for value in view.main.graph.input})
    found = {name: np.asarray(shape) == _MARKERS[dim] for name, shape in zip(names, shapes, strict=True)}
    return {name: where for name, where in found.items() if where.any()}


def _dims(value: onnx.ValueInfoProto) -> list[onnx.TensorShapeProto.Dimension]:
    return list(value.type.tensor_type.shape.dim)


def _blank(value: onnx.ValueInfoProto) -> np.ndarray:
    """Zeros, which are valid ids too."""
    shape = [_MARKERS.get(dim.dim_param, _OTHER_MARKER) if dim.dim_param else dim.dim_value for dim in _dims(value)]
    return np.zeros(shape, onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
