"""Two native operators over one sequence, one of them backwards, as one that goes both ways.

Before: Y_f = GRU(x),  Y_b = GRU(x, direction=reverse)          After: Y = GRU(x, direction=bidirectional), cut in two
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from rnnexport.ir.loop_body import constant, initializer
from rnnexport.lowering.cells import DEFAULT_ACTIVATIONS, INITIAL_STATES

# W, R, B, and P of an LSTM: constants of one direction each, stacked along their first dimension.
_WEIGHTS = {"RNN": (1, 2, 3), "GRU": (1, 2, 3), "LSTM": (1, 2, 3, 7)}
_SEQUENCE, _LENGTHS = 0, 4
_PER_DIRECTION = ("activations", "activation_alpha", "activation_beta")


def join_directions(graph: ir.Graph) -> int:
    """Join every such pair of `graph`, in place.

    Returns:
        How many pairs were joined.
    """
    nodes = [node for node in graph if not node.domain and node.op_type in _WEIGHTS]
    count = 0
    for backward in [node for node in nodes if _direction(node) == "reverse"]:
        for forward in nodes:
            if forward.graph is not None and _fit(forward, backward):
                _join(graph, forward, backward)
                count += 1
                break
    return count


def _direction(node: ir.Node) -> str:
    found = node.attributes.get("direction")
    return "forward" if found is None else found.as_string()


def _fit(forward: ir.Node, backward: ir.Node) -> bool:
    if forward.op_type != backward.op_type or _direction(forward) != "forward":
        return False
    if any(_input(forward, at) is not _input(backward, at) for at in (_SEQUENCE, _LENGTHS)):
        return False
    same = ("hidden_size", "linear_before_reset", "input_forget", "layout", "clip")
    if any(_plain(forward, name) != _plain(backward, name) for name in same):
        return False
    # The pair runs where the first of them stood: only what both read and constants are sure to be known there.
    if any(_input(node, at) for node in (forward, backward) for at in INITIAL_STATES[forward.op_type]):
        return False
    weights = [(_input(forward, at), _input(backward, at)) for at in _WEIGHTS[forward.op_type]]
    if any((one is None) != (other is None) for one, other in weights):
        return False
    return all(value is None or constant(value) is not None for pair in weights for value in pair)


def _input(node: ir.Node, at: int) -> ir.Value | None:
    return node.inputs[at] if at < len(node.inputs) else None


def _plain(node: ir.Node, name: str) -> object:
    found = node.attributes.get(name)
    return None if found is None else found.value


def _join(graph: ir.Graph, forward: ir.Node, backward: ir.Node) -> None:
    inputs: list[ir.Value | None] = [_input(forward, _SEQUENCE), *[None] * 7]
    inputs[_LENGTHS] = _input(forward, _LENGTHS)
    for at in _WEIGHTS[forward.op_type]:
        inputs[at] = _stacked(graph, _input(forward, at), _input(backward, at))
    while inputs[-1] is None:
        inputs.pop()
    attributes = [item for item in forward.attributes.values() if item.name not in (*_PER_DIRECTION, "direction")]
    attributes.append(ir.AttrString("direction", "bidirectional"))
    attributes += _activations(forward, backward)
    outputs = max(len(forward.outputs), len(backward.outputs))
    node = ir.Node("", forward.op_type, inputs, attributes, num_outputs=outputs, name=f"{forward.name}_both")
    for at, value in enumerate(node.outputs):
        value.name, value.type = f"{node.name}:{at}", ir.TensorType(ir.DataType.FLOAT)
    made = [node]
    for side, old in enumerate((forward, backward)):
        for at, value in enumerate(old.outputs):
            if value.uses():
                cut = _side(graph, node, at, side)
                cut.outputs[0].type, cut.outputs[0].shape = value.type, value.shape
                ir.convenience.replace_all_uses_with(value, cut.outputs[0])
                made.append(cut)
    order = {item: at for at, item in enumerate(graph)}
    graph.insert_before(min(forward, backward, key=lambda item: order[item]), made)
    graph.remove([forward, backward], safe=True)


def _side(graph: ir.Graph, node: ir.Node, at: int, side: int) -> ir.Node:
    """One direction of an output: Y is (T, directions, B, H), a state (directions, B, H)."""
    name = f"{node.name}/cut_{side}_{at}"
    numbers = {"from": side, "to": side + 1, "axis": 1 if at == 0 else 0}
    bounds = [initializer(graph, np.array([number]), f"{name}/{part}") for part, number in numbers.items()]
    cut = ir.Node("", "Slice", [node.outputs[at], *bounds], num_outputs=1, name=name)
    cut.outputs[0].name = f"{name}:0"
    return cut


def _activations(forward: ir.Node, backward: ir.Node) -> list[ir.Attr]:
    """Those of the forward direction, then those of the other; written out where either is."""
    if not any("activations" in node.attributes for node in (forward, backward)):
        return []
    names: list[str] = []
    numbers: dict[str, list[float]] = {"activation_alpha": [], "activation_beta": []}
    for node in (forward, backward):
        found = node.attributes.get("activations")
        names += DEFAULT_ACTIVATIONS[node.op_type] if found is None else list(found.as_strings())
        for kind, values in numbers.items():
            if kind in node.attributes:
                values += node.attributes[kind].as_floats()
    written = [ir.AttrFloat32s(kind, values) for kind, values in numbers.items() if values]
    return [ir.AttrStrings("activations", names), *written]


def _stacked(graph: ir.Graph, one: ir.Value | None, other: ir.Value | None) -> ir.Value | None:
    if one is None or other is None:
        return None
    tensors = [constant(value) for value in (one, other)]
    arrays = [tensor.numpy() for tensor in tensors if tensor is not None]
    return initializer(graph, np.concatenate(arrays), f"{one.name}_both")
