"""Masks: a step that a mask leaves out of a row changes nothing there.

Before: h' = Where(m, f(x, h), h),  y = Where(m, h', y of the step before, or zero)        m (B, 1), of each step
After:  h' = f(x, h) over the steps whose m is true,  and y there; between them y stays, or is zero

It is shown by cases. With m taken to be false every state has to come out as it was; what is left with m taken to be
true is the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import onnx_ir as ir

from rnnexport.ir.loop_body import Constants
from rnnexport.ir.loop_invariants import changed
from rnnexport.ir.recurrence import Recurrence, State
from rnnexport.ir.terms import Term, Terms, below, rewritten
from rnnexport.lowering.algebra import Unreadable, lanes
from rnnexport.lowering.normal_form import NormalForms

# A step compares and combines few flags; each is tried in both senses.
_MOST_FLAGS = 8
_MOVES = ("Cast", "Tile", "Expand", "Unsqueeze", "Squeeze", "Reshape", "Identity")


@dataclass(frozen=True, eq=False)
class Masked:
    """A recurrence with a mask.

    Attributes:
        flag: whether a row takes the step, (B, 1) bool.
        taken: the recurrence of the steps that are taken.
        only_held: states whose next value in a step that is taken is that of a state of `taken`, and that nothing but
            a step that is left out reads: each with that state. Keras keeps the last output in one.
        now: what every root of the step is where it is taken.
        skipped: what every root of the step is where it is left out.
    """

    flag: Term
    taken: Recurrence
    only_held: Mapping[State, State]
    now: Mapping[Term, Term]
    skipped: Mapping[Term, Term]


def masked(recurrence: Recurrence, constants: Constants) -> Masked | None:
    """The recurrence with its mask told apart; None where it has none."""
    terms, roots = recurrence.terms, recurrence.roots
    forms = NormalForms(terms, constants)
    for flag in islice(filter(_may_be_flag, below(roots)), _MOST_FLAGS):
        for sense in (True, False):
            skipped = assumed(terms, roots, flag, value=not sense)
            if recurrence.states and all(_stays(state, skipped[state.after], forms) for state in recurrence.states):
                now = assumed(terms, roots, flag, value=sense)
                taken, only_held = _without_held(changed(recurrence, now), recurrence)
                positive = flag if sense else terms.elementwise("Not", flag)
                return Masked(positive, taken, only_held, now, skipped)
    return None


def _may_be_flag(term: Term) -> bool:
    bool_of_step = term.dtype is ir.DataType.BOOL and term.of_step and not term.of_state
    return bool_of_step and term.rank == 2 and term.width == 1


def _stays(state: State, after: Term, forms: NormalForms) -> bool:
    if after is state.before:
        return True
    try:
        row = forms(after)
    except Unreadable:
        return False
    return len(row) == 1 and row[0].equals(lanes(state.before, 0, state.before.width or 0))


def _without_held(taken: Recurrence, recurrence: Recurrence) -> tuple[Recurrence, dict[State, State]]:
    """The recurrence without states that only hold what another one has; those as states of `recurrence`."""
    kept = list(taken.states)
    held: dict[State, State] = {}
    for state, original in zip(taken.states, recurrence.states, strict=True):
        others = [other for other in kept if other is not state]
        twin = next((other for other in others if other.after is state.after), None)
        read = below([*(other.after for other in others), *(output.each for output in taken.outputs)])
        if twin is not None and state.before not in read:
            kept, held = others, {**held, original: twin}
    return replace(taken, states=tuple(kept)), held


def assumed(terms: Terms, roots: list[Term], flag: Term, *, value: bool) -> dict[Term, Term]:
    """What the terms below the roots become where `flag` is true, or false, in all rows."""

    def change(term: Term) -> Term:
        if term is flag:
            return terms.const([[value]])
        if term.op == "Where":
            condition, one, other = term.operands
            known = _uniform(condition)
            found = None if known is None else one if known else other
            if found is None or _fits(found, term):
                return found or term
            number = _uniform(found)
            return term if number is None else _constant(terms, term, number)
        return _simplified(terms, term)

    return rewritten(terms, roots, change)


def _simplified(terms: Terms, term: Term) -> Term:
    """Without numbers that are the same everywhere: what is left of flags written as numbers."""
    known = [_uniform(part) for part in term.operands]
    first = known[0] if known else None
    if first is not None and (term.op in _MOVES or term.op == "Not"):
        return _constant(terms, term, not first if term.op == "Not" else first)
    if len(known) != 2 or term.op not in ("Add", "Sub", "Mul", "And", "Or"):
        return term
    left, right = known
    if left is not None and right is not None:
        return _constant(terms, term, _OPERATIONS[term.op](left, right))
    for number, other in ((left, term.operands[1]), (right, term.operands[0])):
        neutral = number == {"Mul": 1.0, "And": True, "Or": False}.get(term.op, 0.0)
        if number is None or (term.op == "Sub" and number is left):
            continue
        if neutral and _fits(other, term):
            return other
        if term.op == "Mul" and number == 0:
            return _constant(terms, term, 0.0)
    return term


_OPERATIONS = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "And": np.logical_and, "Or": np.logical_or}


def _uniform(term: Term) -> float | None:
    """The one number of a constant all of whose dimensions are 1."""
    return term.array.item() if term.op == "Const" and term.array.size == 1 else None


def _constant(terms: Terms, term: Term, value: float) -> Term:
    if term.dtype is None or term.rank is None:
        return term
    return terms.const(np.full((1,) * term.rank, value), term.dtype.numpy())


def _fits(part: Term, whole: Term) -> bool:
    """Whether a part of an elementwise operation has the shape of its result: nothing is broadcast."""
    return part.shape is not None and whole.shape is not None and _wide(part.shape) == _wide(whole.shape)


def _wide(shape: tuple[int | None, ...]) -> list[bool | int | None]:
    # Of the rows it counts whether there is one, as a number of them that is not known may be any.
    return [dim == 1 for dim in shape[:-1]] + list(shape[-1:])
