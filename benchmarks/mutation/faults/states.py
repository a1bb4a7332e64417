"""States that are not carried on, not started where they should, not given back."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import onnx

from benchmarks.mutation.faults.gates import GATES
from benchmarks.mutation.nodes import told, value_of
from benchmarks.mutation.view import Edit, Place, View

# Where the operators have their initial states.
_INITIAL = {"LSTM": {5: "h", 6: "c"}, "GRU": {5: "h"}, "RNN": {5: "h"}}
# What an earlier call left behind: from here to twice as much, another value for each unit, as far as they are counted.
DIRTY = 0.2


def state_not_carried(view: View) -> Iterator[Edit]:
    """Every step starts from the initial state; every call does, where the states are inputs and outputs."""
    for place in view.places:
        if place.loop:
            for at in place.states():
                yield Edit(f"{place.loop} state {place.graph.input[at].name}", partial(_freeze, view, place, at))
    for place, node in view.nodes(*GATES):
        yield Edit(told(node, "steps as a batch"), partial(_steps_as_batch, view, place, node))
    for before, after in _state_pairs(view.main.graph):
        yield Edit(f"{before} is not read", partial(_silence, view, before))
        yield Edit(f"{after} is {before}", partial(_give_back, view, after, before))


def _freeze(view: View, place: Place, at: int) -> None:
    """The state after the step is the state before it."""
    output = place.graph.output[at - 1 if place.loop == "Loop" else at]
    name = view.new_name("identity")
    place.graph.node.append(onnx.helper.make_node("Identity", [place.graph.input[at].name], [name]))
    output.name = name


def _steps_as_batch(view: View, place: Place, node: onnx.NodeProto) -> None:
    """X (T, B, I) read as (1, T*B, I): no step sees another. The outputs get their shapes back."""
    direction = value_of(node, "direction", b"forward")
    directions, hidden = 2 if direction == b"bidirectional" else 1, _hidden(node)
    sizes = view.before(place, node, "Shape", [node.input[0]])
    steps = view.before(place, node, "Slice", [sizes, view.ints(0), view.ints(1), view.ints(0)])
    both = view.before(place, node, "Slice", [sizes, view.ints(0), view.ints(2), view.ints(0)])
    for at in _INITIAL[node.op_type]:
        if at < len(node.input) and node.input[at]:
            times = view.before(place, node, "Concat", [view.ints(1), steps, view.ints(1)], {"axis": 0})
            node.input[at] = view.before(place, node, "Tile", [node.input[at], times])
    node.input[0] = view.before(place, node, "Reshape", [node.input[0], view.ints(1, -1, 0)])
    shape = view.before(place, node, "Concat", [view.ints(directions), both, view.ints(hidden)], {"axis": 0})
    for at, old in enumerate(list(node.output)):
        if old:
            flat = view.renamed_output(node, at)
            _shaped_back(view, place, node, (flat, shape, old), None if at == 0 else direction == b"reverse")


def _shaped_back(
    view: View, place: Place, node: onnx.NodeProto, names: tuple[str, str, str], backwards: bool | None
) -> None:
    """Nodes behind `node`, the last of them first, since each is put right behind it.

    Y: (1, D, T*B, H) -> (D, T, B, H) -> (T, D, B, H); a last state: (D, T*B, H) -> (D, T, B, H) -> (D, B, H).
    """
    flat, shape, old = names
    wide, cut = view.new_name("wide"), view.new_name("cut")
    if backwards is None:
        view.behind(place, node, "Transpose", [wide], old, {"perm": [1, 0, 2, 3]})
    else:
        bounds = (0, 1) if backwards else (-1, int(np.iinfo(np.int64).max))
        view.behind(place, node, "Squeeze", [cut, view.ints(1)], old)
        view.behind(place, node, "Slice", [wide, *map(view.ints, bounds), view.ints(1)], cut)
    view.behind(place, node, "Reshape", [flat, shape], wide)


def _state_pairs(graph: onnx.GraphProto) -> list[tuple[str, str]]:
    """The states of the artifact: the input and the output that follows it."""
    outputs = {value.name for value in graph.output}
    return [
        (value.name, f"next_{value.name}")
        for value in graph.input
        if value.name.startswith("state_") and f"next_{value.name}" in outputs
    ]


def _silence(view: View, name: str) -> None:
    """Who reads the value reads zeros of its shape."""
    readers = list(view.readers(name))
    zero = view.new_name("silent")
    for node, at in readers:
        node.input[at] = zero
    graph = view.main.graph
    graph.node.insert(0, onnx.helper.make_node("Mul", [name, view.constant(np.float32(0))], [zero]))


def _give_back(view: View, after: str, before: str) -> None:
    """The output `after` is the input `before`."""
    node = view.producer(after)
    assert node is not None
    inner = view.renamed_output(node, list(node.output).index(after))
    for reader, at in view.readers(after):
        reader.input[at] = inner
    view.main.graph.node.append(onnx.helper.make_node("Identity", [before], [after]))


def state_not_reset(view: View) -> Iterator[Edit]:
    """A recurrence that starts from what an earlier call left behind."""
    for place in view.places:
        if place.loop and place.owner is not None and place.around is not None:
            for at in place.states():
                where = f"{place.loop} state {place.graph.input[at].name}"
                yield Edit(where, partial(_dirty, view, place.around, place.owner, at, _width(place, at)))
    for place, node in view.nodes(*GATES):
        for at, letter in _INITIAL[node.op_type].items():
            yield Edit(told(node, letter), partial(_dirty, view, place, node, at, _hidden(node)))


def _width(place: Place, at: int) -> int:
    """The last axis of a state of a body, 1 where it is not known."""
    dims = place.graph.input[at].type.tensor_type.shape.dim
    return int(dims[-1].dim_value) or 1 if dims else 1


def _hidden(node: onnx.NodeProto) -> int:
    return int(str(value_of(node, "hidden_size")))


def _dirty(view: View, place: Place, node: onnx.NodeProto, at: int, width: int) -> None:
    amount = view.constant((DIRTY * (1 + np.arange(width) / width)).astype(np.float32))
    if at < len(node.input) and node.input[at]:
        node.input[at] = view.before(place, node, "Add", [node.input[at], amount])
        return
    while len(node.input) <= at:
        node.input.append("")
    directions = 2 if value_of(node, "direction") == b"bidirectional" else 1
    sizes = view.before(place, node, "Shape", [node.input[0]])
    batch = view.before(place, node, "Slice", [sizes, view.ints(1), view.ints(2)])
    hidden = view.ints(_hidden(node))
    shape = view.before(place, node, "Concat", [view.ints(directions), batch, hidden], {"axis": 0})
    node.input[at] = view.before(place, node, "Expand", [amount, shape])


def initial_dropped(view: View) -> Iterator[Edit]:
    """An initial state that is given is taken for zero."""
    for place in view.places:
        if place.loop and place.owner is not None and place.around is not None:
            for at in place.states():
                if not _is_zero(view, place.owner.input[at]):
                    where = f"{place.loop} state {place.graph.input[at].name}"
                    yield Edit(where, partial(_zero, view, place.around, place.owner, at))
    for place, node in view.nodes(*GATES):
        for at, letter in _INITIAL[node.op_type].items():
            if at < len(node.input) and node.input[at] and not _is_zero(view, node.input[at]):
                yield Edit(told(node, letter), partial(_zero, view, place, node, at))


def _zero(view: View, place: Place, node: onnx.NodeProto, at: int) -> None:
    zero = view.constant(np.float32(0))
    node.input[at] = view.before(place, node, "Mul", [node.input[at], zero])


def _is_zero(view: View, name: str) -> bool:
    """Whether a value is zeros, by how it is made."""
    node, array = view.producer(name), view.array(name)
    if array is not None:
        return not array.any()
    if node is None:
        return False
    if node.op_type in ("Unsqueeze", "Identity", "Expand", "Reshape"):
        return _is_zero(view, node.input[0])
    value = value_of(node, "value")
    return node.op_type == "ConstantOfShape" and (value is None or not onnx.numpy_helper.to_array(value).any())
