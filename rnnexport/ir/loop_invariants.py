"""What depends on no state leaves the loop: computed once where it never changes, batched where it follows a sequence.

Before: loop over x_TBI:  h = tanh(x @ W + b + h @ R)
After:  y_TBH = x_TBI @ W + b;  loop over y:  h = tanh(y + h @ R)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from rnnexport.ir.loop_body import Constants, constant
from rnnexport.ir.operators import operator
from rnnexport.ir.recurrence import Recurrence
from rnnexport.ir.sequences import steps_term
from rnnexport.ir.terms import Result, Term, Terms, below, substituted


class Batching:
    """Batches terms over the steps, each once.

    Args:
        steps: 0, 1, ... for every step.
    """

    def __init__(self, terms: Terms, constants: Constants, steps: Term) -> None:
        self.terms, self.constants, self._steps = terms, constants, steps
        self._found: dict[Term, Term | None] = {}

    def __call__(self, term: Term) -> Term | None:
        """All steps of a term that depends on no state, the step first; None where no rule is known."""
        if term not in self._found:
            self._found[term] = self._batched(term)
        return self._found[term]

    def _batched(self, term: Term) -> Term | None:
        if term.of_state or term.shape is None:
            return None
        if term.op == "Element":
            return term.sequence
        if term.op == "Step":
            return self._steps
        rule = operator(term.op).batched
        return None if rule is None or not term.of_step else rule(self, term)

    def operand(self, term: Term | None) -> Term | None:
        """An input as it is beside batched ones: batched too, or the same in every step."""
        if term is None or not term.of_step:
            return term
        return self(term)

    def result(self, term: Term, inputs: Sequence[Term | None], attributes: Mapping[str, Any]) -> Term:
        """The call of `term` on batched inputs."""
        results: list[Result] = [
            (dtype, None if shape is None else (None, *shape)) for dtype, shape in term.call.results
        ]
        return self.terms.call(term.op, inputs, attributes, results)[term.port]

    def widened(self, term: Term, rank: int) -> Term | None:
        """A batched operand whose dimensions are aligned for an operation of `rank` dimensions a step."""
        batched = self(term)
        if batched is None or term.shape is None or len(term.shape) == rank:
            return batched
        missing = rank - len(term.shape)
        axes = self.terms.const(range(1, missing + 1), np.int64)
        shape = (None, *(1,) * missing, *term.shape)
        return self.terms.call("Unsqueeze", [batched, axes], results=[(term.dtype, shape)])[0]

    def axes_of(self, term: Term | None) -> list[int] | None:
        """Constant axes, as numbers."""
        value = None if term is None else self.constants(term)
        return None if value is None else [int(axis) for axis in value.ravel()]


def lifted(recurrence: Recurrence, constants: Constants) -> dict[Term, Term]:
    """What every term of the step becomes when what is known of all steps at once is an element of a sequence."""
    terms = recurrence.terms
    batching = Batching(terms, constants, steps_term(recurrence.length, terms))
    frontier = {}
    for term in _frontier(recurrence):
        whole = batching(term)
        if whole is not None:
            frontier[term] = terms.element(whole, term.dtype, term.shape)
    return substituted(terms, recurrence.roots, frontier)


def left_behind(recurrence: Recurrence) -> list[Term]:
    """What depends on no state, and is computed in every step all the same: no rule is known to batch it."""
    return [term for term in below(recurrence.roots) if _follows(term) and term.op not in ("Element", "Step")]


def _frontier(recurrence: Recurrence) -> list[Term]:
    """What follows the steps but no state, and is used by something that depends on a state, or is an output.

    Where a term can't be batched, what it is computed from may: so every such term below it is named too.
    """
    roots = recurrence.roots
    found = [root for root in roots if _follows(root)]
    for term in below(roots):
        if term.of_state:
            found += [part for part in term.operands if _follows(part)]
    return [term for term in below(found) if _follows(term) and term.op != "Element"]


def _follows(term: Term) -> bool:
    return term.of_step and not term.of_state


def changed(recurrence: Recurrence, new: dict[Term, Term]) -> Recurrence:
    """The recurrence whose step computes what its terms become."""
    states = tuple(replace(state, after=new[state.after]) for state in recurrence.states)
    outputs = tuple(replace(output, each=new[output.each]) for output in recurrence.outputs)
    sources = {new.get(term, term): value for term, value in recurrence.sources.items()}
    return replace(recurrence, states=states, outputs=outputs, sources=sources)


def without_twins(recurrence: Recurrence) -> Recurrence:
    """The recurrence without states that always have the value of another one.

    Two states are twins when they start from the same value and, one taken for the other, get the same next value.
    Keras keeps the last output beside the state where there is a mask; most often they are twins.
    """
    for state, other in combinations(recurrence.states, 2):
        if not same_start(state.initial, other.initial):
            continue
        new = substituted(recurrence.terms, recurrence.roots, {other.before: state.before})
        if new[state.after] is new[other.after]:
            joined = replace(state, finals=state.finals + other.finals)
            kept = tuple(joined if item is state else item for item in recurrence.states if item is not other)
            return without_twins(changed(replace(recurrence, states=kept), new))
    return recurrence


def same_start(first: Term, second: Term) -> bool:
    """Whether two initial values are the same, or both zero in the same shape."""
    if first is second:
        return True
    return first.shape == second.shape and first.dtype == second.dtype and is_zero(first) and is_zero(second)


def is_zero(initial: Term) -> bool:
    """Whether an initial value is zero everywhere, whatever its shape."""
    if initial.op == "Const":
        return not initial.array.any()
    node = initial.value.producer() if initial.op == "Outer" else None
    if node is None or node.domain:
        return False
    if node.op_type == "ConstantOfShape":
        filling = node.attributes.get("value")
        return filling is None or not filling.as_tensor().numpy().any()
    if node.op_type in ("Expand", "Identity", "Transpose", "Reshape") and node.inputs[0] is not None:
        source = constant(node.inputs[0])
        return source is not None and not source.numpy().any()
    return False
