"""The general forms of a recurrence: a Scan, and its steps one after the other. Native operators are in native.py.

A form gives a term of the graph around for every output of the Loop that is used.

Two forms of one recurrence behind an `If` on sizes, where no form is fast at all of them.

Before: y = GRU(x)                       fast for one sequence
After:  y = If(rows <= 9) then GRU(x) else Scan(...)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from rnnexport.ir.lengths import Refusal
from rnnexport.ir.loop_invariants import left_behind
from rnnexport.ir.program import Function, Scan
from rnnexport.ir.recurrence import Recurrence
from rnnexport.ir.sequences import element_at, steps_term
from rnnexport.ir.terms import Call, Result, Term, Terms, below, substituted

# More steps than this would make a file of many megabytes that takes minutes to load.
MOST_UNROLLED = 512
Form = Mapping[ir.Value, Term]
_INT64 = ir.DataType.INT64


def scan(lean: Recurrence) -> Form | Refusal:
    """One Scan over what the hoisted recurrence still needs."""
    terms = lean.terms
    if not lean.states:
        return batched(lean)
    stacked = [output for output in lean.outputs if not _is_batched(output.each)]
    roots = [output.each for output in stacked] + [state.after for state in lean.states]
    needed = below(roots)
    elements = [term for term in needed if term.op in ("Element", "Step")]
    # The length of a Scan is that of its sequences: it needs one.
    if not elements:
        elements = [terms.element(steps_term(lean.length, terms))]
    sequences = [steps_term(lean.length, terms) if leaf.op == "Step" else leaf.sequence for leaf in elements]
    around = [term for term in _captured(needed) if term.op != "Const"]
    before, initials = zip(*((state.before, state.initial) for state in lean.states), strict=True)
    results: list[Result] = [(output.each.dtype, _stacked(output.each)) for output in stacked]
    results += [(state.before.dtype, state.before.shape) for state in lean.states]
    call = Scan(
        inputs=(*sequences, *initials, *around),
        results=tuple(results),
        step=Function(lean.name, (*elements, *before, *around), tuple(roots)),
        leading=len(elements),
        states=len(lean.states),
        outputs=len(stacked),
    )
    made = terms.add(call)
    form = {final: made[len(stacked) + at] for at, state in enumerate(lean.states) for final in state.finals}
    form |= {output.whole: made[at] for at, output in enumerate(stacked)}
    form |= {output.whole: output.each.sequence for output in lean.outputs if output not in stacked}
    return form | dict(lean.kept)


def batched(lean: Recurrence) -> Form | Refusal:
    """No loop at all, where nothing depends on a state."""
    if left_behind(lean) or any(not _is_batched(output.each) for output in lean.outputs):
        return Refusal("it has no state, but holds operators that can't be applied to all steps at once")
    return {output.whole: output.each.sequence for output in lean.outputs} | dict(lean.kept)


def unrolled(lean: Recurrence) -> Form | Refusal:
    """Its steps one after the other; the length must be fixed."""
    steps, terms = lean.length.fixed, lean.terms
    if steps is None:
        return Refusal("its length is dynamic")
    if not 1 <= steps <= MOST_UNROLLED:
        return Refusal(f"it has {steps} steps, and 1 to {MOST_UNROLLED} can be unrolled")
    leaves = [term for term in below(lean.roots) if term.op in ("Element", "Step")]
    now = {state.before: state.initial for state in lean.states}
    every: list[list[Term]] = [[] for _ in lean.outputs]
    axis = terms.const([0], np.int64)
    for step in range(steps):
        at = terms.const(step, np.int64)
        elements = {leaf: at if leaf.op == "Step" else element_at(leaf, at, terms) for leaf in leaves}
        done = substituted(terms, lean.roots, {**now, **elements})
        now = {state.before: done[state.after] for state in lean.states}
        for kept, output in zip(every, lean.outputs, strict=True):
            each = done[output.each]
            shape = None if each.shape is None else (1, *each.shape)
            kept.append(terms.call("Unsqueeze", [each, axis], results=[(each.dtype, shape)])[0])
    form = {final: now[state.before] for state in lean.states for final in state.finals}
    for kept, output in zip(every, lean.outputs, strict=True):
        form[output.whole] = terms.call("Concat", kept, {"axis": 0}, [(kept[0].dtype, _stacked(output.each))])[0]
    return form | dict(lean.kept)


def _is_batched(each: Term) -> bool:
    return each.op == "Element"


def _stacked(each: Term) -> tuple[int | None, ...] | None:
    return None if each.shape is None else (None, *each.shape)


def _captured(needed: list[Term]) -> list[Term]:
    """What the step takes from around: the largest terms that are the same in every step."""
    found: dict[Term, None] = {}
    for term in needed:
        if term.of_step or term.of_state:
            found |= {part: None for part in term.operands if not part.of_step}
    return list(found)


@dataclass(frozen=True, eq=False, kw_only=True)
class Either(Call):
    """The values of one branch: of `then` where the first input holds, else of `other`. Only that one is computed.

    The other inputs are the leaves that the branches read of the graph around.
    """

    op: str = "either"
    then: tuple[Term, ...]
    other: tuple[Term, ...]

    def key(self) -> tuple[object, ...]:
        return (*super().key(), *map(id, (*self.then, *self.other)))


def either(condition: Term, then: Form, other: Form, terms: Terms) -> Form:
    """The form `then` where the condition holds, else `other`.

    Args:
        condition: of the graph around, a bool.
        then: a term for each output of the Loop.
        other: the same.
        terms: what the forms are made of.
    """
    outputs = list(then)
    first, second = tuple(then[value] for value in outputs), tuple(other[value] for value in outputs)
    leaves = [term for term in below([*first, *second]) if term.op == "Outer"]
    results = tuple((value.dtype, None if value.shape is None else _dims(value.shape)) for value in outputs)
    made = terms.add(Either(inputs=(condition, *leaves), results=results, then=first, other=second))
    return dict(zip(outputs, made, strict=True))


def few_rows(most: int, initial: Term, terms: Terms) -> Term:
    """Whether there are no more than so many rows. `initial` is what a state starts from, (B, ...)."""
    shape = terms.call("Shape", [initial], results=[(_INT64, (initial.rank,))])[0]
    rows = terms.call("Gather", [shape, terms.const(0, np.int64)], results=[(_INT64, ())])[0]
    return _less(rows, terms.const(most + 1, np.int64), terms)


def long_and_narrow(steps: Term, least: int, initial: Term, most: int, terms: Terms) -> Term:
    """Whether there are at least so many steps, and no more than so many numbers in a state."""
    width = terms.call("Size", [initial], results=[(_INT64, ())])[0]
    narrow = _less(width, terms.const(most + 1, np.int64), terms)
    return terms.elementwise("And", _less(terms.const(least - 1, np.int64), steps, terms), narrow)


def _less(left: Term, right: Term, terms: Terms) -> Term:
    return terms.call("Less", [left, right], results=[(ir.DataType.BOOL, ())])[0]


def _dims(shape: ir.Shape) -> tuple[int | None, ...]:
    return tuple(dim if isinstance(dim, int) else None for dim in shape)
