"""Operators that are no loop over places: a row each, from the ONNX operator to what writes it."""

from __future__ import annotations

from collections.abc import Callable

from rnnexport.emit.c.body import Body
from rnnexport.emit.c.operators import indexing, loops, networks, parts, products, reductions
from rnnexport.ir.terms import Term

Writer = Callable[[Body, Term], None]
_ROWS: dict[str, Writer] = {
    op: write
    for family in (indexing, loops, networks, parts, products, reductions)
    for op, write in family.OPERATORS.items()
}


def operator_of(op: str) -> Writer | None:
    """What writes an operator; None where C has no form of it."""
    return _ROWS.get(op)
