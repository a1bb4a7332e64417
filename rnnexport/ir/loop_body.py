"""The body of a Loop, read into terms.

Counted loops inside the body that take few steps (the solver of an ODE inside a cell) are read as their steps, one
after the other, so that nothing of them stays a loop.

The value of a term that depends on constants alone: weights as the step cuts, turns and joins them.

What clean-up of the whole graph can't fold, because it stands inside a loop. An operator whose row folds nothing gives
None, which is always safe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import chain, count

import numpy as np
import onnx_ir as ir

from rnnexport.ir.operators import operator
from rnnexport.ir.terms import Result, Shape, Term, Terms, below

# Weights are cut and turned by a few nodes, not by more.
_DEEPEST = 32
# Operators that give another result each time: a step with one of them is not a function of its inputs.
RANDOM = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"}


Inline = Callable[[ir.Node, Mapping[ir.Value, Term], Terms], "dict[ir.Value, Term] | None"]
# No constant is folded to more elements than this: a weight of 256 MB.
_LARGEST = 1 << 26


def read(graph: ir.Graph, inputs: Mapping[ir.Value, Term], terms: Terms, inline: Inline) -> dict[ir.Value, Term]:
    """The term of every value in `graph`.

    Args:
        graph: the body of a loop, sorted.
        inputs: the terms of what comes into the body.
        terms: what makes the terms.
        inline: gives the outputs of a node that has bodies of its own as terms, or None to keep it as it is.
    """
    known = dict(inputs)
    for value in graph.initializers.values():
        if value not in known and value.const_value is not None:
            known[value] = terms.const(value.const_value.numpy())
        elif value not in known:
            known[value] = outer(value, terms)
    for node in graph:
        steps = inline(node, known, terms) if subgraphs(node) else None
        if steps is not None:
            known.update(steps)
            continue
        given = [None if value is None else _term(value, known, terms) for value in node.inputs]
        captured = captures(node)
        given += [_term(value, known, terms) for value in captured]
        results = [(value.dtype, shape_of(value)) for value in node.outputs]
        made = _call(node, given, results, captured, terms)
        known.update(zip(node.outputs, made, strict=True))
    return known


def _call(
    node: ir.Node, given: list[Term | None], results: list[Result], captured: Sequence[ir.Value], terms: Terms
) -> tuple[Term, ...]:
    if node.op_type == "Constant":
        tensor = ir.convenience.get_const_tensor(node.outputs[0])
        if tensor is not None:
            return (terms.const(tensor.numpy()),)
    if node.op_type == "Identity" and given[0] is not None:
        return (given[0],)
    if node.op_type == "Sum" and None not in given:
        return (reduce(lambda left, right: terms.elementwise("Add", left, right), filter(None, given)),)
    op = node.op_type if not node.domain else f"{node.domain}.{node.op_type}"
    return terms.call(op, given, node.attributes, results, captured)


def _term(value: ir.Value, known: dict[ir.Value, Term], terms: Terms) -> Term:
    if value not in known:
        known[value] = outer(value, terms)
    return known[value]


def outer(value: ir.Value, terms: Terms) -> Term:
    """The leaf for a value of the graph around; a constant where it is one."""
    found = _constant_term(value, terms, {}, _DEEPEST)
    return terms.leaf("Outer", value, value.dtype, shape_of(value)) if found is None else found


def _constant_term(value: ir.Value, terms: Terms, known: dict[ir.Value, Term | None], deepest: int) -> Term | None:
    """The term of a value that depends on constants alone; None where it does not, or not within so many nodes."""
    if value not in known:
        known[value] = None
        tensor = constant(value)
        node = value.producer()
        if tensor is not None:
            known[value] = terms.const(tensor.numpy())
        elif node is not None and not node.domain and operator(node.op_type).folded and deepest:
            parts = [part for part in node.inputs if part is not None]
            given = {part: _constant_term(part, terms, known, deepest - 1) for part in parts}
            if parts and None not in given.values():
                inputs = [None if part is None else given[part] for part in node.inputs]
                results = [(output.dtype, shape_of(output)) for output in node.outputs]
                known[value] = terms.call(node.op_type, inputs, node.attributes, results)[value.index() or 0]
    return known[value]


def constant(value: ir.Value) -> ir.TensorProtocol | None:
    """The tensor that `value` always is: an initializer that is no input, or a Constant."""
    if value.is_graph_input():
        return None
    return ir.convenience.get_const_tensor(value)


def initializer(graph: ir.Graph, array: np.ndarray, name: str) -> ir.Value:
    """A new one of `graph` that holds the array, under that name or, if it is taken, one like it.

    Both calls of a shared layer have the same weights, and so ask for the same name.
    """
    names = chain([name], (f"{name}_{at}" for at in count(2)))
    free = next(each for each in names if each not in graph.initializers)
    tensor = ir.tensor(array, name=free)
    value = ir.Value(name=free, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def shape_of(value: ir.Value) -> Shape | None:
    """The shape of a value, its named dimensions as None."""
    if value.shape is None:
        return None
    return tuple(dim if isinstance(dim, int) else None for dim in value.shape)


def captures(node: ir.Node) -> list[ir.Value]:
    """The values from outside that the subgraphs of `node` refer to, each once."""
    found: dict[ir.Value, None] = {}
    for graph in subgraphs(node):
        found |= dict.fromkeys(_outside(graph))
    return list(found)


def subgraphs(node: ir.Node) -> list[ir.Graph]:
    """The graphs among the attributes of `node`."""
    return [item.as_graph() for item in node.attributes.values() if item.type == ir.AttributeType.GRAPH]


def _outside(graph: ir.Graph) -> Iterator[ir.Value]:
    inside = {*graph.inputs, *graph.initializers.values()}
    for node in graph:
        used = [value for value in node.inputs if value is not None] + captures(node)
        yield from (value for value in used if value not in inside)
        inside |= set(node.outputs)
    yield from (value for value in graph.outputs if value not in inside)


class Constants:
    """Values of terms, each found once."""

    def __init__(self) -> None:
        self._found: dict[Term, np.ndarray | None] = {}
        self._laid_out: dict[Term, np.ndarray] = {}

    def __call__(self, term: Term) -> np.ndarray | None:
        """The value of `term`, or None where it is not constant."""
        if term not in self._found:
            for part in below([term]):
                if part not in self._found:
                    self._found[part] = self._fold(part)
        return self._found[term]

    def laid_out(self, term: Term) -> np.ndarray | None:
        """The value in C order: one array, that all forms of a recurrence share."""
        if term not in self._laid_out and (found := self(term)) is not None:
            self._laid_out[term] = np.asarray(found, order="C")
        return self._laid_out.get(term)

    def _fold(self, term: Term) -> np.ndarray | None:
        if term.op == "Const":
            return np.asarray(term.array)
        fold = operator(term.op).folded
        if term.of_state or term.of_step or fold is None or not term.operands:
            return None
        given = [None if part is None else self._found[part] for part in term.inputs]
        if any(value is None and part is not None for value, part in zip(given, term.inputs, strict=True)):
            return None
        result = fold(term, [value for value in given if value is not None])
        found = result[term.port] if isinstance(result, list) else result
        return None if found is None or np.size(found) > _LARGEST else np.asarray(found)
