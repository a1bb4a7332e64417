"""ONNX without what some runtimes read otherwise than the specification, or not at all.

Before                                          After
LSTM(x; direction=reverse)                      y = LSTM(turned(x)), turned(y)
GRU(x, W, R, B), initial states left out        GRU(x, W, R, B, , zeros of (1, B, H))
ReverseSequence(x, [T, T, ...])                 turned(x): Gather(x, [-1, -2, ..., -T])
Scan whose body reads values around it          its constants in the body, the rest as states that stay

A native operator that needs `sequence_lens`, other activations than the defaults or peepholes is none here:
`why_not_portable` says so before a form is chosen, and directions are not joined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from rnnexport.ir.loop_body import captures, constant, initializer
from rnnexport.ir.sequences import is_whole_reversal
from rnnexport.lowering.cells import DEFAULT_ACTIVATIONS, INITIAL_STATES, Cell
from rnnexport.lowering.emit import redirect, replace_value

Add = Callable[..., ir.Value]

_INT64 = ir.DataType.INT64
_NUMBERS = (("first", 0), ("step", 1), ("last", -1))


def why_not_portable(cell: Cell, *, by_lengths: bool) -> str:
    """Why some runtimes do not take a native operator; empty where all do that are known."""
    if tuple(function.name for function in cell.functions) != DEFAULT_ACTIVATIONS[cell.op]:
        return "its activations are not the defaults"
    if any(gate.peephole.any() for gate in cell.gates):
        return "it has peepholes"
    if by_lengths:
        return "its mask needs sequence_lens"
    return ""


def make_portable(model: ir.Model) -> None:
    """Rewrite `model` in place."""
    graph = model.graph
    for node in list(graph):
        if node.domain:
            continue
        if node.op_type in INITIAL_STATES:
            _with_states(graph, node)
            _forwards(graph, node)
        elif is_whole_reversal(node):
            _turn(graph, node)
        elif node.op_type == "Scan":
            _close(graph, node)


def _with_states(graph: ir.Graph, node: ir.Node) -> None:
    """Give a native operator its initial states."""
    for at in INITIAL_STATES[node.op_type]:
        if at < len(node.inputs) and node.inputs[at] is not None:
            continue
        if at >= len(node.inputs):
            node.resize_inputs(at + 1)
        node.replace_input_with(at, _zeros(graph, node, f"{node.name}/initial_{at}"))


def _zeros(graph: ir.Graph, node: ir.Node, name: str) -> ir.Value:
    """(directions, B, H); a constant where the batch is fixed."""
    x_TBI, recurrent = node.inputs[0], node.inputs[2]
    assert x_TBI is not None
    assert recurrent is not None  # the specification has it
    assert recurrent.shape is not None
    directions, _, size = recurrent.shape.numpy()
    batch = None if x_TBI.shape is None else x_TBI.shape[1]
    if isinstance(batch, int):
        return initializer(graph, np.zeros((directions, batch, size), np.float32), name)
    add = _adder(graph, node, name)
    shape = add("Shape", [x_TBI], (_INT64, ir.Shape([3])))
    bounds = [initializer(graph, np.array([number]), f"{name}/{part}") for part, number in (("from", 1), ("to", 2))]
    rows = add("Slice", [shape, *bounds], (_INT64, ir.Shape([1])))
    around = [initializer(graph, np.array([n]), f"{name}/{part}") for part, n in (("by", directions), ("width", size))]
    sizes = add("Concat", [around[0], rows, around[1]], (_INT64, ir.Shape([3])), ir.AttrInt64("axis", 0))
    zero = initializer(graph, np.zeros((1, 1, 1), np.float32), f"{name}/zero")
    return add("Expand", [zero, sizes], (ir.DataType.FLOAT, ir.Shape([directions, batch, size])))


def _forwards(graph: ir.Graph, node: ir.Node) -> None:
    """Let an operator that reads its sequence from the end read it turned round."""
    direction = node.attributes.get("direction")
    if direction is None or direction.as_string() != "reverse":
        return
    del node.attributes["direction"]
    x_TBI, y_TDBH = node.inputs[0], node.outputs[0]
    assert x_TBI is not None
    order = _order(graph, node, x_TBI)
    node.replace_input_with(0, _turned(graph, node, x_TBI, order, f"{node.name}/turned"))
    if not y_TDBH.uses() and not y_TDBH.is_graph_output():
        return
    back = ir.Node("", "Gather", [y_TDBH, order], num_outputs=1, name=f"{node.name}/turned_back")
    graph.insert_after(node, [back])
    _named(back.outputs[0], str(y_TDBH.name), y_TDBH)
    ir.convenience.replace_all_uses_with(y_TDBH, back.outputs[0], replace_graph_outputs=True)
    back.replace_input_with(0, y_TDBH)
    y_TDBH.name = f"{node.name}/backwards"


def _turn(graph: ir.Graph, reversal: ir.Node) -> None:
    """Replace a reversal of whole sequences."""
    source = reversal.inputs[0]
    assert source is not None  # told by `is_whole_reversal`
    turned = _turned(graph, reversal, source, _order(graph, reversal, source), f"{reversal.name}/turned")
    replace_value(graph, reversal.outputs[0], turned, reversal)
    graph.remove([reversal], safe=True)


def _turned(graph: ir.Graph, before: ir.Node, source: ir.Value, order: ir.Value, name: str) -> ir.Value:
    made = ir.Node("", "Gather", [source, order], num_outputs=1, name=name)
    graph.insert_before(before, [made])
    return _named(made.outputs[0], f"{name}:0", source)


def _order(graph: ir.Graph, before: ir.Node, sequence: ir.Value) -> ir.Value:
    """-1, -2, ..., minus the length of the first dimension."""
    name = f"{before.name}/order"
    steps = None if sequence.shape is None else sequence.shape[0]
    if isinstance(steps, int):
        return initializer(graph, -1 - np.arange(steps), name)
    add = _adder(graph, before, name)
    zero, one, last = (initializer(graph, np.array(n), f"{name}/{part}") for part, n in _NUMBERS)
    sizes = add("Shape", [sequence], (_INT64, ir.Shape([len(sequence.shape or (0, 0, 0))])))
    length = add("Gather", [sizes, zero], (_INT64, ir.Shape([])))
    return add(
        "Sub", [last, add("Range", [zero, length, one], (_INT64, ir.Shape([steps])))], (_INT64, ir.Shape([steps]))
    )


def _close(graph: ir.Graph, scan: ir.Node) -> None:
    """Let the body of a Scan read nothing from around it."""
    body, moved = scan.attributes["body"].as_graph(), {}
    carried = []
    for at, value in enumerate(captures(scan)):
        tensor = constant(value)
        if tensor is None:
            moved[value] = _named(ir.Value(), f"{scan.name}/kept_{at}", value)
            carried.append(value)
        else:
            node = ir.Node("", "Constant", [], [ir.AttrTensor("value", tensor)], num_outputs=1)
            moved[value] = _named(node.outputs[0], f"{scan.name}/constant_{at}", value)
            body.insert_before(body[0], [node])
    redirect(body, moved)
    _use_sequence(scan)
    if carried:
        _carry(graph, scan, [(value, moved[value]) for value in carried])


def _use_sequence(scan: ir.Node) -> None:
    """Let a body read its sequence: one that nothing reads is left out by some runtimes, and the steps with it.

    Such a sequence is the numbers of the steps, from 0: the first state stays as it is where that is negative.
    """
    body = scan.attributes["body"].as_graph()
    states = len(body.inputs) - scan.attributes["num_scan_inputs"].as_int()
    (step, *others), after = body.inputs[states:], body.outputs[0]
    if others or step.uses() or not states or step.dtype != _INT64:
        return
    assert after.dtype is not None  # a state has the dtype of its initial value
    zero = ir.Node("", "Constant", [], [ir.AttrTensor("value", ir.tensor(np.array(0, np.float32)))], num_outputs=1)
    # As a float: one of them reckons with whole numbers while it loads a model.
    number = ir.Node("", "Cast", [step], [ir.AttrInt64("to", ir.DataType.FLOAT)], num_outputs=1)
    less = ir.Node("", "Less", [number.outputs[0], zero.outputs[0]], num_outputs=1)
    kept = ir.Node("", "Where", [less.outputs[0], body.inputs[0], after], num_outputs=1)
    for node, dtype, shape in (
        (zero, ir.DataType.FLOAT, ir.Shape([])),
        (number, ir.DataType.FLOAT, ir.Shape([])),
        (less, ir.DataType.BOOL, ir.Shape([])),
        (kept, after.dtype, after.shape),
    ):
        node.name = f"{scan.name}/{node.op_type.lower()}_step"
        (value,) = node.outputs
        value.name, value.type, value.shape = f"{node.name}:0", ir.TensorType(dtype), shape
        body.append(node)
    body.outputs[0] = kept.outputs[0]


def _carry(graph: ir.Graph, scan: ir.Node, carried: Sequence[tuple[ir.Value, ir.Value]]) -> None:
    """Give a Scan more states, (initial value, the state in the body), which each step leaves as they are."""
    body = scan.attributes["body"].as_graph()
    states = len(body.inputs) - scan.attributes["num_scan_inputs"].as_int()
    for _, before in carried:
        same = ir.Node("", "Identity", [before], num_outputs=1)
        _named(same.outputs[0], f"{before.name}/same", before)
        body.append(same)
        body.inputs.insert(states, before)
        body.outputs.insert(states, same.outputs[0])
    inputs = [*scan.inputs[:states], *(value for value, _ in reversed(carried)), *scan.inputs[states:]]
    count = len(scan.outputs) + len(carried)
    new = ir.Node("", "Scan", inputs, num_outputs=count, name=scan.name)
    kept = [*new.outputs[:states], *new.outputs[states + len(carried) :]]
    for at, (value, _) in enumerate(reversed(carried)):
        _named(new.outputs[states + at], f"{scan.name}/kept_{at}/last", value)
    for old, value in zip(scan.outputs, kept, strict=True):
        _named(value, str(old.name), old)
        ir.convenience.replace_all_uses_with(old, value, replace_graph_outputs=True)
    new.attributes.update({item.name: item for item in [scan.attributes.pop(name) for name in list(scan.attributes)]})
    graph.insert_before(scan, [new])
    graph.remove([scan], safe=True)


def _named(value: ir.Value, name: str, like: ir.Value) -> ir.Value:
    value.name, value.type, value.shape = name, like.type, like.shape
    return value


def _adder(graph: ir.Graph, before: ir.Node, name: str) -> Add:
    """Adds operators in front of a node."""

    def add(op: str, inputs: Sequence[ir.Value], like: tuple[ir.DataType, ir.Shape], *attributes: ir.Attr) -> ir.Value:
        node = ir.Node("", op, inputs, attributes, num_outputs=1, name=f"{name}/{op.lower()}")
        (value,) = node.outputs
        value.name, value.type, value.shape = f"{node.name}:0", ir.TensorType(like[0]), like[1]
        graph.insert_before(before, [node])
        return value

    return add
