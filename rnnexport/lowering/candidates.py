"""Everything that can be derived for one Loop: what it is, its forms, what each is predicted to cost, and refusals.

A cell made of cells, as recurrences one behind the other.

Before: h' = f(x, h),  c' = g(h', c)  in one loop        After: h' = f(x, h) over all steps, then c' = g(h', c)

A state belongs to the same recurrence as another one if each depends on the other. The recurrences are in the order of
their dependencies; what a later one reads of an earlier one is a sequence by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from rnnexport.core.lowering import FORMS
from rnnexport.ir.lengths import Refusal, TripCount
from rnnexport.ir.loop_body import Constants
from rnnexport.ir.loop_invariants import changed, left_behind, lifted, without_twins
from rnnexport.ir.recurrence import Recurrence, ScanOutput, State, recognise
from rnnexport.ir.sequences import turned
from rnnexport.ir.terms import Term, Terms, below, substituted
from rnnexport.lowering.composites import composed
from rnnexport.lowering.cost_model import (
    BATCHES,
    MOST_UNROLLED_UNASKED,
    native_cost,
    overhead,
    why_off_cuda,
    work_cost,
    work_of,
)
from rnnexport.lowering.forms import Form, scan, unrolled
from rnnexport.lowering.fuse_products import joined_operands, merged, with_gemms
from rnnexport.lowering.linear import chunked
from rnnexport.lowering.native import Native, before_each_step, native
from rnnexport.lowering.portable import why_not_portable
from rnnexport.lowering.reassociate import Regrouping

# ONNX Runtime 1.31 ends the process when it loads a product of float16 that was hoisted behind a Transpose.
_HALF = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
Costs = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True, eq=False)
class Sizes:
    """Where sizes of a recurrence are found.

    Attributes:
        terms: what the forms are made of.
        length: how many steps it takes.
        initial: what its first state starts from, (B, ...).
    """

    terms: Terms
    length: TripCount
    initial: Term


@dataclass(frozen=True, eq=False)
class Derived:
    """What was derived for one recurrence, before it is checked.

    Attributes:
        what: what it is, in words.
        forms: by name, in the order of `FORMS`, without the Loop itself.
        refused: the reasons why there are no others.
        constants: folds the constants of the forms.
        costs: microseconds a step that each form and the Loop are predicted to take, by batch; of the forms that may be
            chosen unasked.
        off_cuda: why the native form would not run on a GPU; empty where it would.
        not_portable: why some runtimes do not compute the native form; empty where all do.
        operators: what the native form is made of.
        sizes: of what it runs on, where it has states.
    """

    what: str
    forms: Mapping[str, Form]
    refused: Mapping[str, str]
    constants: Constants
    costs: Costs = field(default_factory=dict)
    off_cuda: str = ""
    not_portable: str = ""
    operators: tuple[str, ...] = ()
    sizes: Sizes | None = None


def derive(loop: ir.Node, batch: int | None = None) -> Derived:
    """Derive all forms of a Loop. Reads, changes nothing.

    Args:
        loop: the Loop.
        batch: the one to be fast at where it is dynamic; None for `BATCHES`.
    """
    terms, constants = Terms(), Constants()
    found = recognise(loop, terms)
    if not isinstance(found, Refusal) and any(term.dtype in _HALF for term in below(found.roots)):
        found = Refusal("it computes in half precision")
    if not isinstance(found, Refusal) and any(map(_may_grow, found.states)):
        found = Refusal("a state may change its shape after the first step")
    if isinstance(found, Refusal):
        return Derived("a loop that is kept as it is", {}, dict.fromkeys(FORMS[:-1], found.reason), constants)
    recurrence = without_twins(found)
    lean = hoisted(recurrence, constants)
    own = _natives(recurrence, constants)
    made = {
        "native": own if isinstance(own, Refusal) else own[-1].form,
        "scan": scan(lean),
        "chunked": chunked(lean, constants),
        "unroll": unrolled(lean),
    }
    forms = {name: form for name, form in made.items() if not isinstance(form, Refusal)}
    refused = {name: form.reason for name, form in made.items() if isinstance(form, Refusal)}
    costs = _costs(recurrence, lean, own, [*forms, "loop"], batch)
    what = _described(recurrence, lean, own)
    sizes = Sizes(terms, recurrence.length, recurrence.states[0].initial) if recurrence.states else None
    if isinstance(own, Refusal):
        return Derived(what, forms, refused, constants, costs, sizes=sizes)
    off_cuda = next(filter(None, (why_off_cuda(one.cell) for one in own)), "")
    not_portable = next(filter(None, (why_not_portable(one.cell, by_lengths=one.by_lengths) for one in own)), "")
    operators = tuple(one.cell.op for one in own)
    return Derived(what, forms, refused, constants, costs, off_cuda, not_portable, operators, sizes)


def _natives(recurrence: Recurrence, constants: Constants) -> Sequence[Native] | Refusal:
    """The native operators that a recurrence is, one behind the other; the last has the form of all."""
    whole = native(recurrence, constants)
    if isinstance(whole, Native):
        return [whole]
    return native_one_by_one(recurrence, constants) or whole


def hoisted(recurrence: Recurrence, constants: Constants) -> Recurrence:
    """The same recurrence with as little in its step as can be."""
    terms = recurrence.terms
    recurrence = changed(recurrence, composed(recurrence, constants))
    grouped = changed(recurrence, Regrouping(terms, constants)(recurrence.roots))
    grouped = changed(grouped, joined_operands(terms, constants, grouped.roots))
    joined = changed(grouped, merged(terms, constants, grouped.roots))
    lean = changed(joined, lifted(joined, constants))
    return changed(lean, with_gemms(terms, constants, lean.roots))


def _may_grow(state: State) -> bool:
    """Whether an initial value of one row may become a batch: a Loop broadcasts it at first, a Scan does not."""
    initial, after = state.initial.shape, state.after.shape
    if initial is None or after is None:
        return False
    return any(one == 1 and other != 1 for one, other in zip(initial, after, strict=False))


def _costs(
    recurrence: Recurrence, lean: Recurrence, own: Sequence[Native] | Refusal, names: list[str], batch: int | None
) -> Costs:
    batches = {state.before.shape[0] for state in recurrence.states if state.before.shape}
    known = [batch for batch in batches if batch is not None]
    at = (known[0],) if len(known) == 1 else BATCHES if batch is None else (batch,)
    before, after = work_of(recurrence), work_of(lean)
    costs: dict[str, dict[int, float]] = {}
    for name in names:
        if name == "chunked" or (name == "unroll" and (recurrence.length.fixed or 0) > MOST_UNROLLED_UNASKED):
            continue
        fixed = overhead(name, recurrence.length.fixed)
        if name == "native" and not isinstance(own, Refusal):
            costs[name] = {
                rows: sum(fixed + native_cost(one.cell, rows, masked=one.masked) for one in own) for rows in at
            }
        else:
            work = before if name == "loop" else after
            costs[name] = {rows: fixed + work_cost(name, work, rows) for rows in at}
    return costs


def _described(recurrence: Recurrence, lean: Recurrence, own: Sequence[Native] | Refusal) -> str:
    """Such as `LSTM, peepholes; 2 states of 32; dynamic length`."""
    kind = "custom cell" if recurrence.states else "a map over a sequence"
    if not isinstance(own, Refusal):
        kind = ", then ".join(one.cell.what + ", masked" * one.masked for one in own)
    states = " and ".join(_sizes(state.before.shape) for state in recurrence.states)
    count = len(recurrence.states)
    parts = [kind, *([f"{count} state{'s' if count > 1 else ''} of {states}"] if count else [])]
    length = recurrence.length.fixed
    sequences = [term.sequence for term in below(recurrence.roots) if term.op == "Element"]
    if sequences and all(turned(whole, recurrence.terms) for whole in sequences):
        parts.append("backwards")
    parts.append("dynamic length" if length is None else f"{length} step{'s' if length > 1 else ''}")
    stuck = sorted({term.op for term in left_behind(lean)})
    if stuck:
        parts.append(f"{', '.join(stuck)} stay in the step")
    return "; ".join(parts)


def _sizes(shape: tuple[int | None, ...] | None) -> str:
    return "?" if shape is None else "x".join("?" if dim is None else str(dim) for dim in shape[1:]) or "1"


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
        ScanOutput(state.after, ir.Value(name=None))
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
