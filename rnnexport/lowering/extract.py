"""A recurrence as a model of its own: the untouched Loop, and each form, with the same inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from rnnexport.ir.constants import Constants
from rnnexport.ir.loop_body import captures, constant, subgraphs
from rnnexport.ir.sequences import read_reversal
from rnnexport.ir.terms import Term, Terms, below
from rnnexport.lowering.emit import Emission, redirect
from rnnexport.lowering.forms import Form

# Values of the graph around as terms of others, where a form was derived across what stands between them.
Links = Mapping[ir.Value, Term]


@dataclass(frozen=True, eq=False)
class Boundary:
    """What a Loop and its forms are given, and what they give.

    Attributes:
        inputs: values of the graph around.
        outputs: the outputs of the Loop that are used.
        links: inputs that are computed from other ones.
    """

    inputs: tuple[ir.Value, ...]
    outputs: tuple[ir.Value, ...]
    links: Links = field(default_factory=dict)


def boundary_of(loop: ir.Node, forms: Iterable[Form]) -> Boundary:
    """The boundary that `loop` and all the forms have in common."""
    used = [value for value in [*loop.inputs, *captures(loop)] if value is not None and constant(value) is None]
    terms = Terms()
    turned = {value: read_reversal(value, terms) for value in used}
    links = {value: term for value, term in turned.items() if term is not None}
    roots = [term for form in forms for term in form.values()]
    leaves = [term.value for term in below([*roots, *links.values()]) if term.op == "Outer"]
    inputs = tuple(value for value in dict.fromkeys([*used, *leaves]) if value not in links)
    outputs = tuple(value for value in loop.outputs if value.uses() or value.is_graph_output())
    return Boundary(inputs, outputs, links)


def untouched(loop: ir.Node, boundary: Boundary, sample: Sequence[np.ndarray], model: ir.Model) -> ir.Model:
    """The Loop alone."""
    inputs = _inputs(boundary, sample)
    moved: dict[ir.Value, ir.Value] = dict(zip(boundary.inputs, inputs, strict=True))
    known = {leaf: moved[leaf.value] for leaf in _leaves(boundary.links.values())}
    emission = Emission("link", Constants(), known)
    moved |= {value: emission.value(source) for value, source in boundary.links.items()}
    initializers = list(emission.initializers)
    for value in [*loop.inputs, *captures(loop)]:
        tensor = None if value is None else constant(value)
        if value is not None and value not in moved and tensor is not None:
            made = ir.Value(name=f"const_{len(initializers)}", const_value=tensor, type=value.type, shape=value.shape)
            moved[value] = made
            initializers.append(made)
    attributes = [
        ir.AttrGraph(item.name, item.as_graph().clone(allow_outer_scope_values=True))
        if item.type == ir.AttributeType.GRAPH
        else item
        for item in loop.attributes.values()
    ]
    given = [None if value is None else moved[value] for value in loop.inputs]
    node = ir.Node("", "Loop", given, attributes, num_outputs=len(loop.outputs), name="loop")
    for graph in subgraphs(node):
        redirect(graph, moved)
    outputs = [node.outputs[loop.outputs.index(value)] for value in boundary.outputs]
    return _model(inputs, outputs, [*emission.nodes, node], initializers, boundary, model)


def alone(
    form: Form, constants: Constants, boundary: Boundary, sample: Sequence[np.ndarray], model: ir.Model
) -> ir.Model:
    """One form alone."""
    inputs = _inputs(boundary, sample)
    moved = dict(zip(boundary.inputs, inputs, strict=True))
    known = {leaf: moved[leaf.value] for leaf in _leaves(form.values()) if leaf.value in moved}
    emission = Emission("form", constants, known)
    outputs: list[ir.Value] = []
    for value in boundary.outputs:
        found = emission.value(form[value])
        node = ir.Node("", "Identity", [found], num_outputs=1, name=f"out_{len(outputs)}")
        emission.nodes.append(node)
        outputs.append(node.outputs[0])
    return _model(inputs, outputs, emission.nodes, emission.initializers, boundary, model)


def _leaves(terms: Iterable[Term]) -> list[Term]:
    return [term for term in below(terms) if term.op == "Outer"]


def _inputs(boundary: Boundary, sample: Sequence[np.ndarray]) -> list[ir.Value]:
    inputs = []
    for at, array in enumerate(sample):
        value = ir.Value(name=f"in_{at}", type=ir.TensorType(ir.DataType.from_numpy(array.dtype)))
        value.shape = ir.Shape([None] * array.ndim)
        inputs.append(value)
    return inputs


def _model(
    inputs: Sequence[ir.Value],
    outputs: Sequence[ir.Value],
    nodes: Sequence[ir.Node],
    initializers: Sequence[ir.Value],
    boundary: Boundary,
    model: ir.Model,
) -> ir.Model:
    for at, (value, known) in enumerate(zip(outputs, boundary.outputs, strict=True)):
        value.name, value.type = f"out_{at}", known.type
        value.shape = None
    graph = ir.Graph(
        inputs, outputs, nodes=nodes, initializers=initializers, opset_imports=model.graph.opset_imports, name="alone"
    )
    return ir.Model(graph, ir_version=model.ir_version)
