"""A cell made of cells, as recurrences one behind the other.

Before: h' = f(x, h),  c' = g(h', c)  in one loop        After: h' = f(x, h) over all steps, then c' = g(h', c)

A state belongs to the same recurrence as another one if each depends on the other. The recurrences are in the order of
their dependencies; what a later one reads of an earlier one is a sequence by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir

from rnnexport.ir.constants import Constants
from rnnexport.ir.recurrence import Recurrence, Stacked, State
from rnnexport.ir.terms import Term, below, substituted
from rnnexport.ir.trip_count import Refusal
from rnnexport.lowering.native import Native, before_each_step, native


def native_one_by_one(recurrence: Recurrence, constants: Constants) -> list[Native]:
    """The recurrences inside as native operators, in their order; the form of the last is that of all.

    None where there is one recurrence only, or one of several is no native operator.
    """
    groups = _groups(recurrence.states)
    if len(groups) < 2:
        return []
    made: list[Native] = []
    form: dict[ir.Value, Term] = {}
    known: dict[Term, Term] = {}
    for at, group in enumerate(groups):
        now = _part(recurrence, group, groups[at + 1 :], known)
        found = native(now, constants)
        if isinstance(found, Refusal):
            return []
        made.append(found)
        form |= {value: term for value, term in found.form.items() if value.name is not None}
        for state, mine in zip(group, now.states, strict=True):
            whole = next((found.form[one.whole] for one in now.outputs if one.each is mine.after), None)
            if whole is not None:
                known[state.after] = recurrence.terms.element(whole)
                known[state.before] = recurrence.terms.element(before_each_step(state, whole, recurrence.terms))
    made[-1] = replace(made[-1], form=form | dict(recurrence.kept))
    return made


def _part(
    recurrence: Recurrence, group: Sequence[State], later: Sequence[Sequence[State]], known: dict[Term, Term]
) -> Recurrence:
    """The recurrence of one group: what the earlier ones gave is known, what the later ones read is an output."""
    others = [state for states in later for state in states]
    unknown = {state.before for state in others}
    mine = {state.before for state in group}
    outputs = [one for one in recurrence.outputs if _leaves(one.each) & mine and not _leaves(one.each) & unknown]
    if not others:
        outputs = [one for one in recurrence.outputs if _leaves(one.each) & mine or not _leaves(one.each)]
    read = [state.after for state in others] + [one.each for one in recurrence.outputs if one not in outputs]
    wanted = _read(read, group)
    outputs += [
        Stacked(state.after, ir.Value(name=None))
        for state in wanted
        if all(one.each is not state.after for one in outputs)
    ]
    roots = [state.after for state in group] + [one.each for one in outputs]
    new = substituted(recurrence.terms, roots, known)
    return replace(
        recurrence,
        states=tuple(replace(state, after=new[state.after]) for state in group),
        outputs=tuple(replace(one, each=new[one.each]) for one in outputs),
        kept={},
    )


def _read(roots: Sequence[Term], group: Sequence[State]) -> list[State]:
    """The states that the roots read, before a step or after it: not those that only such a one is computed from."""
    afters = {state.after for state in group}
    between = below(roots, afters)
    read = {part for term in between for part in term.operands} | set(roots) | set(between)
    return [state for state in group if state.after in read or state.before in read]


def _leaves(term: Term) -> set[Term]:
    """The states that a term depends on, by their leaves."""
    return {part for part in below([term]) if part.op == "State"}


def _groups(states: Sequence[State]) -> list[list[State]]:
    """The states by recurrence, those first that others depend on."""
    by_leaf = {state.before: state for state in states}
    direct = {state: {by_leaf[leaf] for leaf in _leaves(state.after) if leaf in by_leaf} for state in states}
    reached = {state: _all_from(state, direct) for state in states}
    groups: list[list[State]] = []
    for state in states:
        same = [other for other in states if other is state or (other in reached[state] and state in reached[other])]
        if same[0] is state:
            groups.append(same)
    # One that reaches another one reaches all that it reaches, and itself besides.
    return sorted(groups, key=lambda group: len(reached[group[0]] | set(group)))


def _all_from(state: State, direct: dict[State, set[State]]) -> set[State]:
    found: set[State] = set()
    todo = set(direct[state])
    while todo:
        found |= todo
        todo = {after for one in todo for after in direct[one]} - found
    return found
