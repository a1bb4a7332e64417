"""A Loop as a recurrence, or the reason why it is none. Reads, changes nothing.

Before: Loop(limit, condition, counter, h, n, W, ...) whose body gathers x by the counter and hands n and W on
After:  states  h (initial, next),  sequences x (time first),  invariants W (captured),  outputs stacked by step
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from rnnexport.ir.lengths import Refusal, Size, TripCount, index_of, length_of, size_of, size_term
from rnnexport.ir.loop_body import RANDOM, outer, read, shape_of
from rnnexport.ir.sequences import Sequences, element_at, length_term
from rnnexport.ir.terms import Term, Terms, below, rewritten, substituted

_NOTHING: Mapping[ir.Value, Term] = {}
# A loop inside a step is read as its steps where there are no more of them than this.
_MOST_INLINED = 16


@dataclass(frozen=True, eq=False)
class State:
    """One state.

    Attributes:
        before: its leaf in the step.
        after: the term of its next value.
        initial: what it starts from.
        finals: the outputs of the Loop that have its last value.
    """

    before: Term
    after: Term
    initial: Term
    finals: tuple[ir.Value, ...]


@dataclass(frozen=True, eq=False)
class ScanOutput:
    """An output that keeps the value of every step: `each` is the term of one, `whole` the Loop's output."""

    each: Term
    whole: ir.Value


@dataclass(frozen=True, eq=False)
class Recurrence:
    """A counted loop over sequences.

    Attributes:
        name: where it is in the model.
        loop: the Loop that it was read from.
        terms: what made its terms.
        length: how many steps it takes.
        states: those that something depends on.
        outputs: those that are used.
        kept: outputs of the Loop that are known without it: what it only hands on, and what it counts.
        sources: the value of the Loop's body that a term of the step is, of as many as are; the first of several.
    """

    name: str
    loop: ir.Node
    terms: Terms
    length: TripCount
    states: tuple[State, ...]
    outputs: tuple[ScanOutput, ...]
    kept: Mapping[ir.Value, Term]
    sources: Mapping[Term, ir.Value] = field(default_factory=dict)

    @property
    def roots(self) -> list[Term]:
        """What a step has to compute."""
        return [state.after for state in self.states] + [output.each for output in self.outputs]


def recognise(loop: ir.Node, terms: Terms, around: Mapping[ir.Value, Term] = _NOTHING) -> Recurrence | Refusal:
    """Read a Loop as a recurrence.

    Args:
        loop: a Loop.
        terms: what makes the terms.
        around: where the Loop stands in a body itself, the terms of that body so far.
    """
    body = loop.attributes["body"].as_graph()
    started = [value for value in loop.inputs[2:] if value is not None]
    if len(started) != len(loop.inputs) - 2:
        return Refusal("one of its states has no initial value")
    carried = list(zip(body.inputs[2:], started, body.outputs[1:], loop.outputs, strict=False))
    step = terms.leaf("Step", body.inputs[0], ir.DataType.INT64, ())
    inputs = {body.inputs[0]: step, body.inputs[1]: terms.const(True)}  # inside the body the condition holds
    counters: dict[ir.Value, Term] = {}
    while True:  # a counter can be told only when what it is counted up by is known
        known = read(body, {**around, **_leaves(carried, around, terms), **inputs, **counters}, terms, inlined)
        more = _counters(carried, known, around, step, counters, terms)
        if not more:
            break
        counters |= more
    random = sorted({node.op_type for node in ir.traversal.RecursiveGraphIterator(body) if node.op_type in RANDOM})
    if random:
        return Refusal(f"it draws random numbers ({', '.join(random)})")
    length = length_of(loop, known[body.outputs[0]], step, terms)
    if isinstance(length, Refusal):
        return length
    return _assembled(loop, known, around, counters, Sequences(length, step, terms))


def inlined(loop: ir.Node, around: Mapping[ir.Value, Term], terms: Terms) -> dict[ir.Value, Term] | None:
    """What a Loop inside a step gives, as the terms of its steps; None where it, or another node, stays as it is."""
    if loop.op_type != "Loop":
        return None
    found = recognise(loop, terms, around)
    if isinstance(found, Refusal) or found.length.fixed is None or found.length.fixed > _MOST_INLINED:
        return None
    if found.outputs or found.length.fixed == 0:
        return None
    now = {state.before: state.initial for state in found.states}
    # Around a Loop nothing is an element of a sequence yet, but there are numbers of other steps.
    count = terms.leaf("Step", loop.attributes["body"].as_graph().inputs[0], ir.DataType.INT64, ())
    leaves = [term for term in below(found.roots) if term.op == "Element" or term is count]
    for step in range(found.length.fixed):
        at = terms.const(step, np.int64)
        fixed = {leaf: at if leaf.op == "Step" else element_at(leaf, at, terms) for leaf in leaves}
        done = substituted(terms, found.roots, {**now, **fixed})
        now = {state.before: done[state.after] for state in found.states}
    given = {final: now[state.before] for state in found.states for final in state.finals} | dict(found.kept)
    # What nobody reads is what it was before.
    return {
        whole: given.get(whole) or _resolved(initial, around, terms)
        for initial, whole in zip(loop.inputs[2:], loop.outputs, strict=False)
        if initial is not None
    }


def _leaves(
    carried: Sequence[tuple[ir.Value, ir.Value, ir.Value, ir.Value]], around: Mapping[ir.Value, Term], terms: Terms
) -> dict[ir.Value, Term]:
    """A leaf for each carried value: what is only handed on is a value of the graph around."""
    leaves = {}
    for before, initial, after, _ in carried:
        while (node := after.producer()) is not None and node.op_type == "Identity" and node.inputs[0] is not None:
            after = node.inputs[0]
        state = terms.leaf("State", before, before.dtype or initial.dtype, shape_of(before))
        leaves[before] = _resolved(initial, around, terms) if after is before else state
    return leaves


def _resolved(value: ir.Value, around: Mapping[ir.Value, Term], terms: Terms) -> Term:
    return around[value] if value in around else outer(value, terms)


def _counters(
    carried: Sequence[tuple[ir.Value, ir.Value, ir.Value, ir.Value]],
    known: Mapping[ir.Value, Term],
    around: Mapping[ir.Value, Term],
    step: Term,
    counters: Mapping[ir.Value, Term],
    terms: Terms,
) -> dict[ir.Value, Term]:
    """States that only count, as what they are at each step: initial + slope * step."""
    found = {}
    for before, initial, after, _ in carried:
        term = known[after]
        leaf = known[before]
        if before in counters or leaf.op != "State" or term.op not in ("Add", "Sub") or term.shape not in ((), None):
            continue
        others = [part for part in term.operands if part is not leaf]
        slope = index_of(others[0], step) if len(others) == 1 else None
        start = _start(initial, around, step)
        if slope is None or slope.slope or slope.size.unknown is not None or start is None:
            continue
        if term.op == "Sub" and term.operands[0] is not leaf:
            continue
        by = slope.size.offset * (1 if term.op == "Add" else -1)
        count = terms.elementwise("Mul", step, terms.const(by, np.int64)) if by != 1 else step
        if start != Size():
            count = terms.elementwise("Add", count, size_term(start, terms))
        kind = leaf.dtype or ir.DataType.INT64
        found[before] = terms.call("Cast", [count], {"to": kind.value}, [(kind, ())])[0]
    return found


def _assembled(
    loop: ir.Node,
    known: Mapping[ir.Value, Term],
    around: Mapping[ir.Value, Term],
    counters: Mapping[ir.Value, Term],
    sequences: Sequences,
) -> Recurrence:
    terms = sequences.terms
    body = loop.attributes["body"].as_graph()
    count = len(loop.inputs) - 2
    before, after = body.inputs[2:], body.outputs[1 : count + 1]
    stacked = list(zip(body.outputs[count + 1 :], loop.outputs[count:], strict=True))
    used = [(each, whole) for each, whole in stacked if _is_used(whole)]
    states = [at for at in range(count) if known[before[at]].op == "State"]
    kept = {
        loop.outputs[at]: _at_end(counters[before[at]], sequences) if before[at] in counters else known[before[at]]
        for at in range(count)
        if at not in states and _is_used(loop.outputs[at])
    }
    roots = [known[each] for each, _ in used] + [known[after[at]] for at in states]
    changed = rewritten(terms, roots, sequences)
    live = _live(
        {known[before[at]]: changed[known[after[at]]] for at in states},
        [changed[known[each]] for each, _ in used]
        + [changed[known[after[at]]] for at in states if _is_used(loop.outputs[at])],
        [known[before[at]] for at in states if _is_used(loop.outputs[at])],
    )
    living = tuple(
        State(known[before[at]], changed[known[after[at]]], _initial(loop, at, around, terms), (loop.outputs[at],))
        for at in states
        if known[before[at]] in live
    )
    outputs = tuple(ScanOutput(changed[known[each]], whole) for each, whole in used)
    sources = {changed[term]: value for value, term in reversed(list(known.items())) if term in changed}
    return Recurrence(name_of(loop), loop, terms, sequences.length, living, outputs, kept, sources)


def _start(initial: ir.Value, around: Mapping[ir.Value, Term], step: Term) -> Size | None:
    """What a counter starts from; inside another loop, only where that is a constant."""
    if initial not in around:
        return size_of(initial)
    found = index_of(around[initial], step) if around[initial].op == "Const" else None
    return None if found is None else found.size


def _at_end(counter: Term, sequences: Sequences) -> Term:
    """What a counter has come to after the last step."""
    terms = sequences.terms
    steps = terms.elementwise("Max", length_term(sequences.length, terms), terms.const(0, np.int64))
    return substituted(terms, [counter], {sequences.step: steps})[counter]


def _initial(loop: ir.Node, at: int, around: Mapping[ir.Value, Term], terms: Terms) -> Term:
    value = loop.inputs[at + 2]
    assert value is not None  # told by `recognise`
    return _resolved(value, around, terms)


def _is_used(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()


def _live(after: Mapping[Term, Term], roots: Iterable[Term], wanted: Iterable[Term]) -> set[Term]:
    """The states that the roots depend on, through any number of steps."""
    live, queue = set(wanted), list(roots)
    while queue:
        found = {term for term in below(queue) if term in after} - live
        live |= found
        queue = [after[state] for state in found]
    return live


def name_of(loop: ir.Node) -> str:
    """The path of the layer: what the converter calls `model/lstm/while_loop` or `model/lstm/while`."""
    path = (loop.name or "recurrence").removesuffix("_loop")
    return path.removesuffix("/while") or path
