"""Layers behind one mask: their steps are moved to the front once, and back once.

Before: y = expand(LSTM(compact(x))),  z = expand(LSTM(compact(y)))      with one mask
After:  z = expand(LSTM(LSTM(compact(x))))                               y is gone, unless something else reads it

What `Compaction` of the one mask would make is built as terms and compared with the graph, node by node: whatever else
looks like it is left alone.
"""

from __future__ import annotations

from itertools import product

import onnx_ir as ir
from onnx_ir.passes.common import CommonSubexpressionEliminationPass, DeduplicateInitializersPass

from rnnexport.ir.loop_body import constant
from rnnexport.ir.sequences import untransposed
from rnnexport.ir.terms import Term, Terms
from rnnexport.lowering.compaction import Compaction
from rnnexport.lowering.emit import replace_value

# Of the indices and lengths of plans.
_SMALL = 64


def compact_once(model: ir.Model) -> None:
    """Take the result of a layer as it is where the next one would move its steps as they were. In place.

    Nodes that compute the same become one first: each layer has made a plan of its own.
    """
    if not any(node.op_type == "TopK" for node in model.graph):
        return
    DeduplicateInitializersPass(size_limit=_SMALL)(model)
    CommonSubexpressionEliminationPass()(model)
    for node in list(model.graph):
        mask = _mask_of(node)
        rows = node.inputs[0].producer() if mask is not None and node.inputs[0] is not None else None
        if mask is not None and rows is not None and rows.op_type == "Reshape" and rows.inputs[0] is not None:
            found = _Taken(model.graph, mask, node).of(rows.inputs[0])
            if found is not None:
                replace_value(model.graph, node.outputs[0], found, node)


def _mask_of(node: ir.Node) -> ir.Value | None:
    """The mask (T, B, 1) whose steps a node moves to the front."""
    if node.domain or node.op_type != "Gather" or node.inputs[1] is None:
        return None
    value: ir.Value | None = node.inputs[1]
    for op in ("TopK", "Where", "Squeeze"):
        producer = None if value is None else value.producer()
        if producer is None or producer.op_type != op:
            return None
        value = producer.inputs[0]
    terms = Terms()
    plan = None if value is None else Compaction(_leaf(terms, value), terms, backwards=False)
    return value if plan is not None and is_spelled(plan.order, node.inputs[1]) else None


def _leaf(terms: Terms, value: ir.Value) -> Term:
    return terms.leaf("Outer", value, ir.DataType.BOOL, (None, None, 1))


class _Taken:
    """The steps that are taken of values in the graph, in order, from what the values were expanded from."""

    def __init__(self, graph: ir.Graph, mask: ir.Value, before: ir.Node) -> None:
        self._graph, self._before = graph, before
        terms = Terms()
        plans = [Compaction(_leaf(terms, mask), terms, backwards=backwards) for backwards in (False, True)]
        self._places = [plan.places(keeps=keeps) for plan, keeps in product(plans, (True, False))]

    def of(self, value: ir.Value) -> ir.Value | None:
        """(T, B, H), of a value of that shape; None where it is made in another way."""
        node = value.producer()
        if node is None or node.domain:
            return None
        if node.op_type == "Gather":
            return self._expanded(node)
        if node.op_type == "Concat" and node.attributes["axis"].as_int() in (-1, 2):
            parts = [None if part is None else self.of(part) for part in node.inputs]
            if None in parts:
                return None
            return self._made("Concat", parts, [ir.AttrInt64("axis", 2)], value)
        source = untransposed(value)
        return None if source is None else self.of(source)

    def _expanded(self, node: ir.Node) -> ir.Value | None:
        rows, places = node.inputs
        if rows is None or places is None or not any(is_spelled(term, places) for term in self._places):
            return None
        joined = rows.producer()
        results = None if joined is None or joined.op_type != "Concat" else joined.inputs[1]
        flat = None if results is None else results.producer()
        if flat is None or flat.op_type != "Reshape" or flat.inputs[0] is None:
            return None
        axis = ir.Value(name=f"{node.name}/direction", const_value=ir.tensor([1]), shape=ir.Shape([1]))
        axis.type = ir.TensorType(ir.DataType.INT64)
        self._graph.register_initializer(axis)
        return self._made("Squeeze", [flat.inputs[0], axis], [], node.outputs[0])

    def _made(self, op: str, inputs: list[ir.Value | None], attributes: list[ir.Attr], like: ir.Value) -> ir.Value:
        node = ir.Node("", op, inputs, attributes, num_outputs=1, name=f"{like.name}/taken_by/{self._before.name}")
        (value,) = node.outputs
        value.name, value.type = f"{node.name}:0", like.type
        self._graph.insert_before(self._before, node)
        return value


def is_spelled(term: Term, value: ir.Value) -> bool:
    """Whether a value of the graph is computed just as a term says."""
    if term.op == "Outer":
        return value is term.value
    known = constant(value)
    if term.op == "Const":
        return known is not None and known.numpy().dtype == term.array.dtype and _same(known, term)
    node = value.producer()
    if node is None or node.domain or node.op_type != term.op or value.index() != term.port:
        return False
    written = {name: item.value for name, item in node.attributes.items()}
    if written != {name: item.value for name, item in term.call.attributes.items()}:
        return False
    pairs = zip(term.operands, node.inputs, strict=False)
    return len(node.inputs) == len(term.operands) and all(
        inner is not None and is_spelled(part, inner) for part, inner in pairs
    )


def _same(known: ir.TensorProtocol, term: Term) -> bool:
    array = known.numpy()
    return array.shape == term.array.shape and bool((array == term.array).all())
