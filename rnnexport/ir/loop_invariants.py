"""What depends on no state leaves the loop: computed once where it never changes, batched where it follows a sequence.

Before: loop over x_TBI:  h = tanh(x @ W + b + h @ R)
After:  y_TBH = x_TBI @ W + b;  loop over y:  h = tanh(y + h @ R)
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

from rnnexport.ir.constants import Constants
from rnnexport.ir.loop_body import constant
from rnnexport.ir.recurrence import Recurrence
from rnnexport.ir.sequences import steps_term
from rnnexport.ir.terms import Term, below, substituted
from rnnexport.ir.vectorize_time import Batching


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
