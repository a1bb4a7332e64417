"""What is multiplied with weights, seen while a model runs: its range by channel, and how much of it lies outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from rnnexport.artifact.goldens import Arrays
from rnnexport.ir.loop_body import constant, initializer
from rnnexport.quantization.calibration import ObservedRange, Saturation
from rnnexport.targets.onnx.session import run

_BODIES = ("Scan", "Loop")
# Nodes that look at a value, given the names that their outputs are to have, and constants of the graph around.
_Look = Callable[[ir.Value, ir.Graph, str], Sequence[ir.Node]]


def ranges(model: ir.Model, calls: Sequence[Arrays]) -> dict[str, ObservedRange]:
    """The range of what each product takes, by the name of that value, over all calls and the steps inside them.

    Args:
        model: in float32.
        calls: feeds, states included: of a sequence in pieces those that the piece before ended with.
    """
    found: dict[str, ObservedRange] = {}
    for arrays in _seen(model, calls, _ends):
        for name, (low, high) in arrays.items():
            one = ObservedRange(_of_channels(low, np.min), _of_channels(high, np.max))
            found[name] = found[name].merged(one) if name in found else one
    return {name: one for name, one in found.items() if one.is_finite}


def outside(model: ir.Model, known: Mapping[str, ObservedRange], calls: Sequence[Arrays]) -> Saturation:
    """How many values lie outside of the ranges that they have as a whole."""

    def count(value: ir.Value, graph: ir.Graph, name: str) -> Sequence[ir.Node]:
        one = known[str(value.name)]
        low = initializer(graph, np.asarray(one.low.min(), np.float32), f"{name}/low")
        high = initializer(graph, np.asarray(one.high.max(), np.float32), f"{name}/high")
        below, above = _node("Less", [value, low], f"{name}/below"), _node("Greater", [value, high], f"{name}/above")
        either = _node("Or", [below.outputs[0], above.outputs[0]], f"{name}/either")
        number = _node("Cast", [either.outputs[0]], f"{name}/number", [ir.AttrInt64("to", int(ir.DataType.FLOAT))])
        total = _node("ReduceSum", [number.outputs[0]], f"{name}/count", [ir.AttrInt64("keepdims", 0)])
        size = _node("Size", [value], f"{name}/size")
        return [below, above, either, number, total, size]

    counts, sizes = dict.fromkeys(known, 0), dict.fromkeys(known, 0)
    for arrays in _seen(model, calls, count, frozenset(known)):
        for name, (number, size) in arrays.items():
            counts[name] += int(number.sum())
            sizes[name] += int(size.sum())
    return Saturation(counts, sizes)


def _ends(value: ir.Value, graph: ir.Graph, name: str) -> Sequence[ir.Node]:
    """The least and the largest of each place on the last axis of a matrix of rows."""
    shape = initializer(graph, np.array([-1, _width(value)], np.int64), f"{name}/rows")
    rows = _node("Reshape", [value, shape], f"{name}/flat")
    axes = [ir.AttrInt64s("axes", [0]), ir.AttrInt64("keepdims", 0)]
    if graph.opset_imports.get("", 0) < 18:
        return [rows, *(_node(op, [rows.outputs[0]], f"{name}/{op}", axes) for op in ("ReduceMin", "ReduceMax"))]
    first = initializer(graph, np.array([0], np.int64), f"{name}/axes")
    ends = ("ReduceMin", "ReduceMax")
    return [rows, *(_node(op, [rows.outputs[0], first], f"{name}/{op}", axes[1:]) for op in ends)]


def _width(value: ir.Value) -> int:
    size = None if value.shape is None or not len(value.shape) else value.shape[-1]
    return size if isinstance(size, int) else 1


def _of_channels(array: np.ndarray, end: Callable[..., np.ndarray]) -> np.ndarray:
    """The ends of all steps as those of all of them."""
    return np.asarray(end(array.reshape(-1, array.shape[-1]), axis=0))


def _seen(
    model: ir.Model, calls: Sequence[Arrays], look: _Look, names: frozenset[str] | None = None
) -> list[dict[str, tuple[np.ndarray, np.ndarray]]]:
    """The last two results of what looks at each value that a product takes, call by call."""
    probe = model.clone()
    graph = probe.graph
    wanted: dict[str, list[ir.Value]] = {}
    for inner, owner in [(graph, None), *_bodies(graph)]:
        values = {str(value.name): value for node in inner if (value := _multiplied(node)) is not None}
        for name, value in values.items():
            if name in wanted or (names is not None and name not in names):
                continue
            nodes = look(value, graph, f"seen/{name}")
            inner.extend(nodes)
            ends = [node.outputs[0] for node in nodes[-2:]]
            wanted[name] = ends if owner is None else _stacked(owner, inner, ends)
    if not wanted:
        return []
    graph.outputs.clear()
    graph.outputs.extend(value for ends in wanted.values() for value in ends)
    found = run(probe, calls)
    return [{name: (one[str(a.name)], one[str(b.name)]) for name, (a, b) in wanted.items()} for one in found]


def _bodies(graph: ir.Graph) -> list[tuple[ir.Graph, ir.Node]]:
    """The bodies of loops that stand in the graph itself: what is inside those is not looked at."""
    return [(node.attributes["body"].as_graph(), node) for node in graph if node.op_type in _BODIES and not node.domain]


def _stacked(owner: ir.Node, body: ir.Graph, ends: Sequence[ir.Value]) -> list[ir.Value]:
    """More outputs of a loop: those values of each step."""
    first = len(owner.outputs)
    body.outputs.extend(ends)
    owner.resize_outputs(first + len(ends))
    for at, (value, end) in enumerate(zip(owner.outputs[first:], ends, strict=True)):
        value.name = f"{end.name}/steps_{at}"
    for name in ("scan_output_axes", "scan_output_directions"):
        if name in owner.attributes:
            given = list(owner.attributes[name].as_ints())
            owner.attributes[name] = ir.AttrInt64s(name, [*given, *[0] * len(ends)])
    return list(owner.outputs[first:])


def _multiplied(node: ir.Node) -> ir.Value | None:
    """What a node multiplies with a constant matrix; None where it is no such product."""
    if node.domain or node.op_type not in ("MatMul", "Gemm") or node.inputs[1] is None:
        return None
    tensor = constant(node.inputs[1])
    return (
        node.inputs[0] if tensor is not None and tensor.dtype == ir.DataType.FLOAT and len(tensor.shape) == 2 else None
    )


def _node(op: str, inputs: Sequence[ir.Value], name: str, attributes: Sequence[ir.Attr] = ()) -> ir.Node:
    node = ir.Node("", op, inputs, attributes, num_outputs=1, name=name)
    node.outputs[0].name = f"{name}:0"
    return node
