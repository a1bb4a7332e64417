"""A converted graph as a program: the function of the model, and one for the step of each of its loops.

Before: Loop(x, h0, W) of an ONNX graph          After: scan of cell(x_t, h, W) over x, from h0

What a step computes from its element of a sequence alone has left it: it is computed for all steps before the scan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx_ir as ir

from rnnexport.core.errors import ConversionError
from rnnexport.core.names import SourceNames
from rnnexport.core.signature import Signature
from rnnexport.ir.lengths import Refusal
from rnnexport.ir.loop_body import Constants, outer, read, shape_of
from rnnexport.ir.loop_invariants import changed, lifted, without_twins
from rnnexport.ir.program import Carried, Function, If, Program, SourceOp, While, constants_of, scan
from rnnexport.ir.recurrence import Recurrence, name_of, recognise
from rnnexport.ir.sequences import length_term
from rnnexport.ir.terms import Shape, Term, Terms, below, rewritten, substituted
from rnnexport.ir.tidying import tidied

_NAMELESS = SourceNames()
_BODIES = ("If", "Loop", "Scan")
_Known = dict[ir.Value, Term]


def read_program(
    model: ir.Model, signature: Signature, weights: Mapping[str, np.ndarray], names: SourceNames = _NAMELESS
) -> Program:
    """Read a graph of opset 18, its constants in bodies too.

    Args:
        model: its inputs are those of the signature, and the weights.
        signature: what goes in and comes out.
        weights: the value of each, by the name of its input.
        names: what the source calls its values; weights by the names of inputs of the graph.
    """
    reader = _Reader()
    graph = model.graph
    inputs = {value: reader.terms.input(str(value.name), value.dtype, shape_of(value)) for value in graph.inputs}
    known = reader.read(graph, inputs)
    outputs = [known[value] for value in graph.outputs]
    tidy = reader.tidied(outputs)
    main = Function("", tuple(inputs.values()), tuple(tidy[term] for term in outputs))
    origins = {term: _origin(value) for term, value in reader.sources.items()}
    return Program(signature, weights, main, origins, names)


def _origin(value: ir.Value) -> SourceOp:
    node = value.producer()
    return SourceOp("" if node is None else str(node.name), value.index() or 0)


class _Reader:
    def __init__(self) -> None:
        self.terms = Terms()
        self.sources: dict[Term, ir.Value] = {}

    def read(self, graph: ir.Graph, known: Mapping[ir.Value, Term]) -> _Known:
        found = read(graph, known, self.terms, self._with_bodies)
        for value, term in found.items():
            if value.producer() is not None:
                self.sources.setdefault(term, value)
        return found

    def _with_bodies(self, node: ir.Node, known: Mapping[ir.Value, Term], terms: Terms) -> _Known | None:
        del terms
        if node.op_type == "If":
            return self._choice(node, known)
        if node.op_type != "Loop":
            return None
        found = recognise(node, self.terms)
        return self._repeat(node, known) if isinstance(found, Refusal) else self._scan(found, known)

    def _choice(self, node: ir.Node, known: Mapping[ir.Value, Term]) -> _Known:
        """Both branches are computed, and one is taken: a branch that can't be computed raises, taken or not."""
        branches = [node.attributes[name].as_graph() for name in ("then_branch", "else_branch")]
        sides = [[self._term(value, self.read(body, known)) for value in body.outputs] for body in branches]
        condition = self._term(node.inputs[0], known)
        return {
            output: self.terms.add(If(inputs=(condition, *pair), results=((output.dtype, shape_of(output)),)))[0]
            for output, pair in zip(node.outputs, zip(*sides, strict=True), strict=True)
        }

    def _repeat(self, node: ir.Node, known: Mapping[ir.Value, Term]) -> _Known:
        """A loop whose length only the data tells."""
        body = node.attributes["body"].as_graph()
        leaves = [self.terms.leaf("State", value, value.dtype, shape_of(value)) for value in body.inputs]
        inner = self.read(body, {**known, **dict(zip(body.inputs, leaves, strict=True))})
        states = len(body.inputs) - 2
        after = [self._term(value, inner) for value in body.outputs]
        tidy = self.tidied(after)
        results = [tidy[term] for term in (after[0], *after[1 + states :], *after[1 : 1 + states])]
        constants = constants_of(results, leaves)
        step = Function(name_of(node), (*leaves, *constants), tuple(results))
        given = [None if value is None else self._term(value, known) for value in node.inputs]
        stacked, finals = node.outputs[states:], node.outputs[:states]
        kinds = tuple((value.dtype, shape_of(value)) for value in (*stacked, *finals))
        inputs = (*given, *constants)
        loop = While(inputs=inputs, results=kinds, step=step, leading=2, states=states, outputs=len(stacked))
        made = self.terms.add(loop)
        return dict(zip((*stacked, *finals), made, strict=True))

    def _scan(self, recurrence: Recurrence, known: Mapping[ir.Value, Term]) -> _Known:
        plain = without_twins(recurrence)
        lean = changed(plain, self._carried(plain.sources, lifted(plain, Constants())))
        initials = [state.initial for state in lean.states]
        new = self._resolved([*lean.roots, *initials, *plain.kept.values()], known)
        tidy = self.tidied(new[root] for root in lean.roots)
        new |= {root: tidy[new[root]] for root in lean.roots}
        outputs = [(output.whole, new[output.each]) for output in lean.outputs]
        whole: _Known = {value: each.sequence for value, each in outputs if each.op == "Element"}
        stepped = [(value, each) for value, each in outputs if each.op != "Element"]
        if any(term.call.captured or term.op in _BODIES for term in below(new[root] for root in lean.roots)):
            return self._repeat(recurrence.loop, known)  # which reads the bodies in the step as functions of their own
        states = [Carried(state.before, new[state.after], new[state.initial]) for state in lean.states]
        shapes = [_long(shape_of(value), plain.length.fixed) for value, _ in stepped]
        length = length_term(plain.length, self.terms)
        around = self._resolved([length], known)[length]
        made = scan(self.terms, recurrence.name, states, [each for _, each in stepped], shapes, around)
        finals = {
            value: term for state, term in zip(lean.states, made[len(stepped) :], strict=True) for value in state.finals
        }
        stacks = {value: term for (value, _), term in zip(stepped, made, strict=False)}
        return {**whole, **stacks, **finals, **{value: new[term] for value, term in plain.kept.items()}}

    def _carried(self, sources: Mapping[Term, ir.Value], new: dict[Term, Term]) -> dict[Term, Term]:
        """`new`, once what it makes of a term is known to be that value of the source too."""
        known = [(term, sources[old]) for old, term in new.items() if old in sources]
        for term, value in known:
            if value.producer() is not None:
                self.sources.setdefault(term, value)
                if term.op == "Element":
                    self.sources.setdefault(term.sequence, value)
        return new

    def tidied(self, roots: Iterable[Term]) -> dict[Term, Term]:
        """What the terms below the roots are as a person writes them."""
        changes = rewritten(self.terms, roots, lambda term: tidied(term, self.terms))
        return self._carried(self.sources, changes)

    def _resolved(self, roots: Iterable[Term], known: Mapping[ir.Value, Term]) -> dict[Term, Term]:
        """What the roots are where values of the graph around are terms too."""
        listed = list(roots)
        replaced: dict[Term, Term] = {}
        for leaf in below(listed):
            if leaf.op == "Outer" and leaf.value in known:
                replaced[leaf] = known[leaf.value]
            elif leaf.op == "Element":
                sequence = self._resolved([leaf.sequence], known)[leaf.sequence]
                replaced[leaf] = self.terms.element(sequence, leaf.dtype, leaf.shape)
        return self._carried(self.sources, substituted(self.terms, listed, replaced))

    def _term(self, value: ir.Value | None, known: Mapping[ir.Value, Term]) -> Term:
        assert value is not None
        return known[value] if value in known else outer(value, self.terms)


def _long(shape: Shape | None, length: int | None) -> Shape | None:
    """The shape of what every step gives, of as many as there are."""
    return shape if shape is None or length is None else (length, *shape[1:])


@dataclass(frozen=True, eq=False)
class Converted:
    """A traced model as an ONNX graph of one opset whose weights are inputs. It is never changed; copies of it are.

    Attributes:
        model: its inputs are those of the signature, and the weights.
        signature: what goes in and comes out.
        names: what the source calls its values; weights by the names of inputs of the graph.
        weights: the value of each, by the name of its input.
    """

    model: ir.Model
    signature: Signature
    names: SourceNames
    weights: Mapping[str, np.ndarray]

    @cached_property
    def program(self) -> Program:
        """The graph, of opset 18, as a program."""
        return read_program(self.model, self.signature, self.weights, self.names)


@dataclass(frozen=True)
class NotConverted:
    """A model can't be converted, and why; what needs no conversion can be written of it all the same."""

    error: ConversionError
