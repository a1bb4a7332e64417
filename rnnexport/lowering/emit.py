"""Terms to nodes of a graph: each call once, in an order that can be run, under names that tell where they are from.

And what was derived put into the graph, in the place of a Loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from rnnexport.ir.loop_body import Constants, subgraphs
from rnnexport.ir.program import Scan
from rnnexport.ir.recurrence import name_of
from rnnexport.ir.terms import Call, Result, Term, below
from rnnexport.lowering.forms import Either, Form


class Emission:
    """The nodes for some terms.

    Args:
        name: what the names of all values begin with.
        constants: folds what is constant.
        known: values that are there already; where a leaf `Outer` is not among them, it is its own value.
        around: the emission of the graph around, for what is the same in every step; None for that graph itself.

    Attributes:
        nodes: in order.
        initializers: constants, of the graph around.
    """

    def __init__(
        self, name: str, constants: Constants, known: Mapping[Term, ir.Value], around: Emission | None = None
    ) -> None:
        self._name, self._constants, self._around = name, constants, around
        self._known = dict(known)
        self._calls: dict[Call, Sequence[ir.Value]] = {}
        self.nodes: list[ir.Node] = []
        self.initializers: list[ir.Value] = []
        self._count = 0

    def value(self, term: Term) -> ir.Value:
        """The value of `term`, with the nodes it needs."""
        if term in self._known:
            return self._known[term]
        for part in below([term]):
            if part not in self._known and not self._is_around(part):
                self._known[part] = self._made(part)
        return self._at(term)

    def _is_around(self, term: Term) -> bool:
        return self._around is not None and not term.of_step and not term.of_state

    def _at(self, term: Term) -> ir.Value:
        if self._around is not None and self._is_around(term):
            return self._around.value(term)
        return self._known[term]

    def _made(self, term: Term) -> ir.Value:
        if term.op == "Outer":
            return term.value
        folded = self._constants.laid_out(term)
        if folded is not None:
            return self._initializer(folded)
        if term.op in ("State", "Element", "Step"):
            raise AssertionError(f"{term.op} of another recurrence")
        if term.call not in self._calls:
            self._calls[term.call] = self._call(term.call)
        return self._calls[term.call][term.port]

    def _initializer(self, array: np.ndarray) -> ir.Value:
        value = ir.Value(name=self.name("const"), const_value=ir.tensor(array))
        value.shape, value.type = ir.Shape(array.shape), ir.TensorType(ir.DataType.from_numpy(array.dtype))
        self.initializers.append(value)
        return value

    def name(self, kind: str) -> str:
        """A name not given before."""
        self._count += 1
        return f"{self._name}/{kind}_{self._count}"

    def _call(self, call: Call) -> Sequence[ir.Value]:
        inputs = [None if part is None else self._at(part) for part in call.inputs]
        if isinstance(call, Scan):
            return self._scan(call, [value for value in inputs if value is not None])
        if isinstance(call, Either):
            return self._either(call, [value for value in inputs if value is not None])
        domain, _, op = call.op.rpartition(".")
        kept = len(inputs) - len(call.captured)
        attributes = list(call.attributes.values())
        node = ir.Node(domain, op, inputs[:kept], attributes, num_outputs=len(call.results), name=self.name(op.lower()))
        if subgraphs(node):  # copied even where they capture nothing: the Loop's own are taken apart when it goes
            moved = dict(zip(call.captured, inputs[kept:], strict=True))
            node = self._with_captures(node, {old: new for old, new in moved.items() if new is not None})
        return self._added(node, call.results)

    def _added(self, node: ir.Node, results: Sequence[Result], first: int = 0) -> Sequence[ir.Value]:
        """The outputs of a node, that of the number `first` first, as the outputs of the call are."""
        for at, (value, (dtype, shape)) in enumerate(zip(node.outputs, results, strict=True)):
            value.name = f"{node.name}:{at}"
            _typed(value, dtype, shape)
        self.nodes.append(node)
        return [*node.outputs[first:], *node.outputs[:first]]

    def _with_captures(self, node: ir.Node, moved: Mapping[ir.Value, ir.Value]) -> ir.Node:
        """The node with copies of its subgraphs that refer to the new values."""
        attributes = [
            ir.AttrGraph(item.name, _copied(item.as_graph(), moved)) if item.type == ir.AttributeType.GRAPH else item
            for item in node.attributes.values()
        ]
        inputs, outputs = list(node.inputs), len(node.outputs)
        return ir.Node(node.domain, node.op_type, inputs, attributes, num_outputs=outputs, name=node.name)

    def _scan(self, call: Scan, inputs: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """The node: states come first in ONNX, and what is the same in every step is captured."""
        name = self.name("scan")
        elements = call.step.parameters[: call.leading]
        leaves = {leaf: ir.Value(name=f"{name}/in_{at}") for at, leaf in enumerate((*call.before, *elements))}
        for leaf, value in leaves.items():
            _typed(value, leaf.dtype, leaf.shape)
        inner = Emission(name, self._constants, leaves, self)
        outputs: list[ir.Value] = []
        for at, term in enumerate((*call.after, *call.each)):
            value = inner.value(term)
            # The output of a body is made in it, and under a name of its own.
            if value in outputs or value in leaves.values() or inner._is_around(term):
                node = ir.Node("", "Identity", [value], num_outputs=1, name=inner.name("out"))
                inner.nodes.append(node)
                value = node.outputs[0]
                value.name = f"{name}/out_{at}"
            _typed(value, term.dtype, term.shape)
            outputs.append(value)
        graph = ir.Graph(list(leaves.values()), outputs, nodes=inner.nodes, name=f"{name}/body")
        attributes = [ir.AttrGraph("body", graph), ir.AttrInt64("num_scan_inputs", call.leading)]
        given = [*inputs[call.leading : len(leaves)], *inputs[: call.leading]]
        node = ir.Node("", "Scan", given, attributes, num_outputs=len(outputs), name=name)
        states = call.results[call.outputs :]
        return self._added(node, [*states, *call.results[: call.outputs]], call.states)

    def _either(self, call: Either, inputs: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """The node; what a branch computes stands in it, and its constants around."""
        name = self.name("if")
        known = dict(zip(call.operands[1:], inputs[1:], strict=True))
        branches = {"then_branch": call.then, "else_branch": call.other}
        graphs = [ir.AttrGraph(side, self._branch(f"{name}/{side}", terms, known)) for side, terms in branches.items()]
        return self._added(
            ir.Node("", "If", inputs[:1], graphs, num_outputs=len(call.results), name=name), call.results
        )

    def _branch(self, name: str, terms: Sequence[Term], known: Mapping[Term, ir.Value]) -> ir.Graph:
        inner = Emission(name, self._constants, known)
        outputs: list[ir.Value] = []
        for at, term in enumerate(terms):
            value = inner.value(term)
            made = ir.Node("", "Identity", [value], num_outputs=1, name=inner.name("out"))
            inner.nodes.append(made)
            outputs.append(made.outputs[0])
            made.outputs[0].name = f"{name}/out_{at}"
            _typed(made.outputs[0], term.dtype or value.dtype, term.shape)
        self.initializers += inner.initializers
        return ir.Graph([], outputs, nodes=inner.nodes, name=name)


def bytes_of(form: Form, constants: Constants) -> int:
    """What the constants of a form take."""
    emission = Emission("constants", constants, {})
    for term in form.values():
        emission.value(term)
    return sum(value.const_value.nbytes for value in emission.initializers if value.const_value is not None)


def _typed(value: ir.Value, dtype: ir.DataType | None, shape: Sequence[int | None] | None) -> None:
    if dtype is not None:
        value.type = ir.TensorType(dtype)
    if shape is not None:
        value.shape = ir.Shape(list(shape))


def _copied(graph: ir.Graph, moved: Mapping[ir.Value, ir.Value]) -> ir.Graph:
    copy = graph.clone(allow_outer_scope_values=True)
    redirect(copy, moved)
    return copy


def redirect(graph: ir.Graph, moved: Mapping[ir.Value, ir.Value]) -> None:
    """Let a subgraph refer to other values of the graph around, in place."""
    for node in graph:
        for at, value in enumerate(node.inputs):
            if value is not None and value in moved:
                node.replace_input_with(at, moved[value])
        for inner in subgraphs(node):
            redirect(inner, moved)
    for at, value in enumerate(graph.outputs):
        if value is not None and value in moved:
            graph.outputs[at] = moved[value]


def put_in_place(graph: ir.Graph, loop: ir.Node, form: Form, constants: Constants) -> None:
    """Replace a Loop by one of its forms."""
    name = f"{name_of(loop)}/lowered"
    while any(other.startswith(f"{name}/") for other in graph.initializers):
        name += "_"
    emission = Emission(name, constants, {})
    new = {old: emission.value(term) for old, term in form.items()}
    for initializer in emission.initializers:
        graph.register_initializer(initializer)
    graph.insert_before(loop, emission.nodes)
    for old, value in new.items():
        replace_value(graph, old, value, loop)
    graph.remove(loop, safe=True)
    # What only its body captured is not used any more.
    for node in ir.traversal.RecursiveGraphIterator(loop.attributes["body"].as_graph()):
        for at in range(len(node.inputs)):
            node.replace_input_with(at, None)


def replace_value(graph: ir.Graph, old: ir.Value, new: ir.Value, before: ir.Node) -> None:
    """Let all that reads `old` read `new`. An output of the model keeps its name, by a node in front of `before`."""
    places = [at for at, output in enumerate(graph.outputs) if output is old]
    if places:
        node = ir.Node("", "Identity", [new], num_outputs=1, name=f"{old.name}/kept")
        name, old.name = old.name, f"{old.name}__before"
        (new,) = node.outputs
        new.name, new.type, new.shape = name, old.type, old.shape
        for at in places:
            graph.outputs[at] = new
        graph.insert_before(before, node)
    ir.convenience.replace_all_uses_with(old, new)
