"""Two forms of one recurrence behind an `If` on sizes, where no form is fast at all of them.

Before: y = GRU(x)                       fast for one sequence
After:  y = If(rows <= 9) then GRU(x) else Scan(...)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from rnnexport.ir.terms import Call, Term, Terms, below
from rnnexport.lowering.forms import Form

_INT64 = ir.DataType.INT64


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
