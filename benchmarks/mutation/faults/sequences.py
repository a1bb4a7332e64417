"""Time gone wrong: masks that are ignored, sequences that stay reversed, steps that see the step before."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import onnx

from benchmarks.mutation.faults.gates import GATES
from benchmarks.mutation.faults.weights import GIANT
from benchmarks.mutation.nodes import drop_attribute, set_attribute, told, value_of
from benchmarks.mutation.view import FLOATS, Edit, Place, View, scanned


def mask_ignored(view: View) -> Iterator[Edit]:
    """Padding treated as what it is not: where the mask is made, where it chooses, where it closes a gate."""
    made = list(_masks(view))
    for place, node in made:
        yield Edit(told(node), partial(_all_true, view, place, node))
    if not made:
        return
    for place, node in view.nodes("Where"):
        maker = view.producer(node.input[0])
        compares = maker is not None and maker.op_type in ("Greater", "Less", "GreaterOrEqual", "LessOrEqual")
        if not compares and view.array(node.input[0]) is None and view.array(node.input[1]) is None:
            yield Edit(told(node), partial(_always, view, place, node))
    for _, node in view.nodes("GRU", "LSTM"):
        array = view.array(node.input[1])
        if array is not None and (np.abs(array) > GIANT).any():
            opened = np.where(np.abs(array) > GIANT, 0, array).astype(array.dtype)
            yield Edit(told(node, "gate"), partial(_set_weights, view, node, opened))


def _masks(view: View) -> Iterator[tuple[Place, onnx.NodeProto]]:
    """The nodes that say where an input is not padding."""
    inputs = {value.name for value in view.main.graph.input}
    for place, node in view.nodes("Not"):
        equal = view.producer(node.input[0])
        if equal is not None and equal.op_type == "Equal" and inputs & set(equal.input):
            yield place, node


def _all_true(view: View, place: Place, node: onnx.NodeProto) -> None:
    old = node.output[0]
    view.behind(place, node, "Or", [node.input[0], view.renamed_output(node, 0)], old)


def _always(view: View, place: Place, node: onnx.NodeProto) -> None:
    """The first branch, in the shape of both."""
    opposite = view.before(place, node, "Not", [node.input[0]])
    node.input[0] = view.before(place, node, "Or", [node.input[0], opposite])


def _set_weights(view: View, node: onnx.NodeProto, array: np.ndarray) -> None:
    node.input[1] = view.constant(array)


def reversal_lost(view: View) -> Iterator[Edit]:
    """A sequence that is reversed on one side alone; the two directions of a pair in each other's place."""
    for _, node in view.nodes("ReverseSequence"):
        yield Edit(told(node), partial(_pass_on, node))
    for _, node in view.nodes(*GATES):
        direction = value_of(node, "direction", b"forward")
        if direction == b"bidirectional":
            yield Edit(told(node, "directions swapped"), partial(_swap_directions, view, node))
        else:
            other = "forward" if direction == b"reverse" else "reverse"
            yield Edit(told(node, other), partial(set_attribute, node, "direction", other))
    for _, node in view.nodes("Scan"):
        count = scanned(node)
        yield Edit(told(node, "inputs"), partial(set_attribute, node, "scan_input_directions", [1] * count))
        outputs = len(node.output) - (len(node.input) - count)
        if outputs:
            turned = [1] * outputs
            yield Edit(told(node, "outputs"), partial(set_attribute, node, "scan_output_directions", turned))

    for place in view.places:
        for node, dtype in _reads(place):
            yield Edit(told(node, "backwards"), partial(_backwards, view, place, node, dtype))


def _backwards(view: View, place: Place, node: onnx.NodeProto, dtype: np.dtype) -> None:
    """Step i takes the element that is the i-th from the end."""
    sizes = view.before(place, node, "Shape", [node.input[0]])
    steps = view.before(place, node, "Gather", [sizes, view.constant(np.int64(0))])
    steps = view.before(place, node, "Cast", [steps], {"to": onnx.helper.np_dtype_to_tensor_dtype(dtype)})
    last = view.before(place, node, "Sub", [steps, view.constant(np.array(1, dtype))])
    node.input[1] = view.before(place, node, "Sub", [last, node.input[1]])


def _pass_on(node: onnx.NodeProto) -> None:
    node.op_type = "Identity"
    del node.input[1:]
    for name in ("batch_axis", "time_axis"):
        drop_attribute(node, name)


def _swap_directions(view: View, node: onnx.NodeProto) -> None:
    for at in (1, 2, 3):
        array = view.array(node.input[at]) if at < len(node.input) else None
        if array is not None:
            node.input[at] = view.constant(array[::-1])


def step_off(view: View) -> Iterator[Edit]:
    """Every step sees the input of the step before, the first one its own; every output is that of the step before."""
    for place, node in view.nodes(*GATES):
        yield Edit(told(node, "input"), partial(_delay_input, view, place, node, 0))
        if node.output[0]:
            yield Edit(told(node, "output"), partial(_delay_output, view, place, node, 0))
    for place, node in view.nodes("Scan"):
        states = len(node.input) - scanned(node)
        body = next(a.g for a in node.attribute if a.name == "body")
        for at in range(states, len(node.input)):
            if body.input[at].type.tensor_type.elem_type in FLOATS:
                yield Edit(told(node, f"input {at}"), partial(_delay_input, view, place, node, at))
        for at in range(states, len(node.output)):
            if node.output[at]:
                yield Edit(told(node, f"output {at}"), partial(_delay_output, view, place, node, at))
    for place in view.places:
        for node, dtype in _reads(place):
            yield Edit(told(node), partial(_late, view, place, node, dtype))


def _reads(place: Place) -> list[tuple[onnx.NodeProto, np.dtype]]:
    """In the body of a Loop, the nodes that take an element of a sequence by its number, and the dtype of that."""
    numbers = {value.name: value for value in place.graph.input if not value.type.tensor_type.shape.dim}
    return [
        (node, onnx.helper.tensor_dtype_to_np_dtype(numbers[node.input[1]].type.tensor_type.elem_type))
        for node in place.graph.node
        if place.loop == "Loop" and node.op_type == "Gather" and node.input[1] in numbers
    ]


def _late(view: View, place: Place, node: onnx.NodeProto, dtype: np.dtype) -> None:
    before = view.before(place, node, "Sub", [node.input[1], view.constant(np.array(1, dtype))])
    node.input[1] = view.before(place, node, "Max", [before, view.constant(np.array(0, dtype))])


def _delay_input(view: View, place: Place, node: onnx.NodeProto, at: int) -> None:
    name = node.input[at]
    first = view.before(place, node, "Slice", [name, view.ints(0), view.ints(1), view.ints(0)])
    rest = view.before(place, node, "Slice", [name, view.ints(0), view.ints(-1), view.ints(0)])
    node.input[at] = view.before(place, node, "Concat", [first, rest], {"axis": 0})


def _delay_output(view: View, place: Place, node: onnx.NodeProto, at: int) -> None:
    old = node.output[at]
    name = view.renamed_output(node, at)
    first, rest = view.new_name("first"), view.new_name("rest")
    view.behind(place, node, "Concat", [first, rest], old, {"axis": 0})
    view.behind(place, node, "Slice", [name, view.ints(0), view.ints(-1), view.ints(0)], rest)
    view.behind(place, node, "Slice", [name, view.ints(0), view.ints(1), view.ints(0)], first)
