"""Sizes that are asked of values nobody else reads, taken from the model's inputs instead.

Keras computes the first output of a masked recurrence once more, before its loop, to make zeros of its shape. Where the
sizes are known by the names of the inputs' own, all of that step is left out:

Before: h_BH = cell(x_0, state); s = Shape(h_BH)     After: s = Concat(Gather(Shape(x_BTI), [0]), [H])
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from rnnexport.conversion.boundary import constant_of
from rnnexport.conversion.cleanup import infer_shapes, remove_unused
from rnnexport.ir.loop_body import subgraphs

_Dims = list[int | str]


def ask_inputs_for_sizes(model: ir.Model, inputs: Sequence[ir.Value]) -> None:
    """Compute no value of the outermost graph for its sizes alone, if the inputs have them; in place.

    Args:
        model: with the shapes of its values inferred; equal names stand for equal sizes.
        inputs: of the model, but for its weights.
    """
    sizes = _Sizes(model.graph, inputs)
    asked = [node for node in model.graph if sizes.is_asked_alone(node)]
    if any(sizes.known(node) is None for node in asked):
        _infer_through_loops(model)
    known = [(node, dims) for node in asked if (dims := sizes.known(node)) is not None]
    for node, dims in known:
        node.outputs[0].replace_all_uses_with(sizes.shape(dims, str(node.name)), replace_graph_outputs=False)
    if known:
        model.graph.insert_before(model.graph[0], sizes.nodes)
        remove_unused(model)


def _infer_through_loops(model: ir.Model) -> None:
    """Give the states of loops the sizes of their initial values, where a step keeps them; and what follows from it."""
    loops = [node for node in model.graph if node.op_type == "Loop"]
    refuted: set[ir.Value] = set()
    for _ in loops:  # a later loop may begin with what an earlier one gives
        states = [state for loop in loops for state in _states(loop) if state.inside not in refuted]
        states = [state for state in states if state.initial.shape not in (None, state.inside.shape)]
        if not states:
            return
        before = {value: value.shape for value in _values(model)}
        for state in states:
            state.inside.shape = state.last.shape = state.initial.shape
        infer_shapes(model)
        if changed := {state.inside for state in states if state.after.shape != state.inside.shape}:
            refuted |= changed
            for value, shape in before.items():  # nothing that was inferred of them holds
                value.shape = shape


@dataclass(frozen=True)
class _State:
    """A state of a loop: its initial value, what it is in the body and after a step, what it is in the end."""

    initial: ir.Value
    inside: ir.Value
    after: ir.Value
    last: ir.Value


def _states(loop: ir.Node) -> list[_State]:
    body = subgraphs(loop)[0]
    values = zip(loop.inputs[2:], body.inputs[2:], body.outputs[1:], loop.outputs, strict=False)
    return [_State(initial, inside, after, last) for initial, inside, after, last in values if initial is not None]


def _values(model: ir.Model) -> Iterator[ir.Value]:
    for graph in model.graphs():
        yield from (*graph.inputs, *(output for node in graph for output in node.outputs))


class _Sizes:
    """The nodes that give the sizes of a model's inputs."""

    def __init__(self, graph: ir.Graph, inputs: Sequence[ir.Value]) -> None:
        self.nodes: list[ir.Node] = []
        self._graph = graph
        self._found: dict[str, ir.Value] = {}
        self._places: dict[str, tuple[ir.Value, int]] = {}
        for value in inputs:
            for axis, dim in enumerate(value.shape or ()):
                if isinstance(dim, ir.SymbolicDim) and dim.value is not None:
                    self._places.setdefault(dim.value, (value, axis))

    def is_asked_alone(self, node: ir.Node) -> bool:
        """Whether this is a `Shape` of a value that is computed for nothing else."""
        value = node.inputs[0] if node.op_type == "Shape" and not node.attributes else None
        if value is None or value.producer() is None:
            return False
        given = {value, node.outputs[0]} & set(self._graph.outputs)
        return not given and all(use.node.op_type == "Shape" for use in value.uses())

    def known(self, node: ir.Node) -> _Dims | None:
        """What a `Shape` gives, as numbers and names, if the inputs have every size that is open; else None."""
        shape = node.inputs[0].shape if node.inputs[0] is not None else None
        if shape is None:
            return None
        dims = [dim.value if isinstance(dim, ir.SymbolicDim) else dim for dim in shape]
        found: _Dims = [dim for dim in dims if isinstance(dim, int) or dim in self._places]
        return found if len(found) == len(dims) else None

    def shape(self, dims: _Dims, name: str) -> ir.Value:
        """A vector of these sizes; `name` is the path of who asks."""
        parts = [self._size(dim, name) for dim in dims]
        return parts[0] if len(parts) == 1 else self._node("Concat", parts, name, len(dims), axis=0)

    def _size(self, dim: int | str, name: str) -> ir.Value:
        if isinstance(dim, int):
            return self._number(dim)
        if dim not in self._found:
            value, axis = self._places[dim]
            whole = self._node("Shape", [value], f"{name}/{dim}", len(value.shape or ()))
            self._found[dim] = self._node("Gather", [whole, self._number(axis)], f"{name}/{dim}/Gather", 1, axis=0)
        return self._found[dim]

    def _node(self, op: str, inputs: Sequence[ir.Value], name: str, length: int, axis: int | None = None) -> ir.Value:
        attributes = [] if axis is None else [ir.AttrInt64("axis", axis)]
        node = ir.Node("", op, inputs, attributes, num_outputs=1, name=name)
        (output,) = node.outputs
        output.name, output.type, output.shape = f"{name}:sizes", ir.TensorType(ir.DataType.INT64), ir.Shape([length])
        self.nodes.append(node)
        return output

    def _number(self, number: int) -> ir.Value:
        return constant_of(self._graph, np.array([number], np.int64), f"size_{number}")
