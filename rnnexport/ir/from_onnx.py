"""A converted graph as functions in terms: that of the model, and one for the step of each of its loops.

Before: Loop(x, h0, W) of an ONNX graph          After: scan of cell(x_t, h, W) over x, from h0

What a step computes from its element of a sequence alone has left it: it is computed for all steps before the scan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from rnnexport.ir.constants import Constants
from rnnexport.ir.loop_body import outer, read, shape_of
from rnnexport.ir.loop_invariants import changed, lifted, without_twins
from rnnexport.ir.rebuild import rewritten, substituted
from rnnexport.ir.recurrence import Recurrence, name_of, recognise
from rnnexport.ir.sequences import length_term
from rnnexport.ir.terms import Call, Shape, Term, Terms, below
from rnnexport.ir.tidying import tidied
from rnnexport.ir.trip_count import Refusal

# Calls that are no ONNX operators. Inputs of the first: sequences, initial states, constants, and the number of steps
# where there is no sequence; of the second: limit, condition, initial states, constants; outputs of both: what each
# step gives, stacked, then the last states. Inputs of the third: condition, and the value of either branch.
SCAN, REPEAT, CHOICE = "rnnexport.scan", "rnnexport.repeat", "rnnexport.choice"
_BODIES = ("If", "Loop", "Scan")
_Known = dict[ir.Value, Term]


@dataclass(frozen=True, eq=False)
class Function:
    """A pure function.

    Attributes:
        scope: the path in the source where it is.
        parameters: terms that are given; nothing below them is computed here.
        results: terms to compute.
    """

    scope: str
    parameters: tuple[Term, ...]
    results: tuple[Term, ...]


@dataclass(frozen=True, eq=False)
class Step:
    """What a loop does in a step: the payload of a call of SCAN or REPEAT.

    Attributes:
        function: parameters are elements of the sequences (for REPEAT the number of the step and the condition), states
            and constants; results are what the step gives (for REPEAT the condition first), then the next states.
        sequences: how many of the parameters are elements.
        states: how many are states.
        outputs: how many of the results are no states.
    """

    function: Function
    sequences: int
    states: int
    outputs: int

    @property
    def constants(self) -> tuple[Term, ...]:
        """What is the same in every step."""
        return self.function.parameters[self.sequences + self.states :]


@dataclass(frozen=True, eq=False)
class Reading:
    """A model in terms.

    Attributes:
        main: takes the model's inputs and the weights, gives its outputs.
        sources: the value of the graph that a term is, where it is one.
        terms: what made the terms.
    """

    main: Function
    sources: Mapping[Term, ir.Value]
    terms: Terms


def read_model(model: ir.Model) -> Reading:
    """Read a graph of opset 18, its constants in bodies too."""
    reader = _Reader()
    graph = model.graph
    inputs = {value: reader.terms.leaf("Outer", value, value.dtype, shape_of(value)) for value in graph.inputs}
    known = reader.read(graph, inputs)
    outputs = [known[value] for value in graph.outputs]
    tidy = reader.tidied(outputs)
    main = Function("", tuple(inputs.values()), tuple(tidy[term] for term in outputs))
    return Reading(main, reader.sources, reader.terms)


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
            output: self.terms.call(CHOICE, [condition, *pair], results=[(output.dtype, shape_of(output))])[0]
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
        step = Step(
            Function(name_of(node), (*leaves, *constants), tuple(results)), 2, states, len(results) - 1 - states
        )
        given = [None if value is None else self._term(value, known) for value in node.inputs]
        stacked, finals = node.outputs[states:], node.outputs[:states]
        kinds = [(value.dtype, shape_of(value)) for value in (*stacked, *finals)]
        made = self.terms.call(REPEAT, [*given, *constants], results=kinds, payload=step)
        return dict(zip((*stacked, *finals), made, strict=True))

    def _scan(self, recurrence: Recurrence, known: Mapping[ir.Value, Term]) -> _Known:
        plain = without_twins(recurrence)
        lean = changed(plain, self._carried(plain.sources, lifted(plain, Constants())))
        initials = [state.initial for state in lean.states]
        new = self._resolved([*lean.roots, *initials, *plain.kept.values()], known)
        tidy = self.tidied(new[root] for root in lean.roots)
        new |= {root: tidy[new[root]] for root in lean.roots}
        outputs = [(output.whole, new[output.each]) for output in lean.outputs]
        whole: _Known = {value: each.call.payload for value, each in outputs if each.op == "Element"}
        stepped = [(value, each) for value, each in outputs if each.op != "Element"]
        if any(term.call.captured or term.op in _BODIES for term in below(new[root] for root in lean.roots)):
            return self._repeat(recurrence.loop, known)  # which reads the bodies in the step as functions of their own
        after = [new[state.after] for state in lean.states]
        befores = [state.before for state in lean.states]
        results = [each for _, each in stepped] + after
        elements = _by_port([term for term in below(results) if term.op == "Element"])
        constants = constants_of(results, [*elements, *befores])
        function = Function(recurrence.name, (*elements, *befores, *constants), tuple(results))
        step = Step(function, len(elements), len(befores), len(stepped))
        given = [term.call.payload for term in elements] + [new[term] for term in initials] + constants
        if not elements:
            length = length_term(plain.length, self.terms)
            given.append(self._resolved([length], known)[length])
        kinds = [(value.dtype, _long(shape_of(value), plain.length.fixed)) for value, _ in stepped]
        kinds += [
            (before.dtype or new[initial].dtype, before.shape)
            for before, initial in zip(befores, initials, strict=True)
        ]
        made = self.terms.call(SCAN, given, results=kinds, payload=step) if results else ()
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
                    self.sources.setdefault(term.call.payload, value)
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
            if leaf.op == "Outer" and leaf.call.payload in known:
                replaced[leaf] = known[leaf.call.payload]
            elif leaf.op == "Element":
                sequence = self._resolved([leaf.call.payload], known)[leaf.call.payload]
                replaced[leaf] = self.terms.leaf("Element", sequence, leaf.dtype, leaf.shape)
        return self._carried(self.sources, substituted(self.terms, listed, replaced))

    def _term(self, value: ir.Value | None, known: Mapping[ir.Value, Term]) -> Term:
        assert value is not None
        return known[value] if value in known else outer(value, self.terms)


def constants_of(results: Sequence[Term], own: Iterable[Term]) -> list[Term]:
    """What a step is given: all that it reads and that depends on none of its own leaves, literals aside, in order."""
    inner = set(own)
    order = below(results)
    for term in order:
        if any(part in inner for part in term.operands):
            inner.add(term)
    used = dict.fromkeys(part for term in order if term in inner for part in term.operands)
    return [term for term in dict.fromkeys([*used, *results]) if term not in inner and not is_literal(term)]


def is_literal(term: Term) -> bool:
    """Whether a constant is written where it is used: a number, or a few integers."""
    if term.op != "Const":
        return False
    array = term.call.payload
    return array.ndim == 0 or (array.dtype.kind in "iub" and array.ndim == 1 and array.size <= _SHORT)


_SHORT = 8


def _by_port(elements: Sequence[Term]) -> list[Term]:
    """In the order in which they are read, but those that one call gives in the order in which it gives them."""
    first: dict[Call, int] = {}
    for at, term in enumerate(elements):
        first.setdefault(term.call.payload.call, at)
    return sorted(elements, key=lambda term: (first[term.call.payload.call], term.call.payload.port))


def _long(shape: Shape | None, length: int | None) -> Shape | None:
    """The shape of what every step gives, of as many as there are."""
    return shape if shape is None or length is None else (length, *shape[1:])
