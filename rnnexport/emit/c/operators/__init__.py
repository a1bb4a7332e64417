"""Operators that are no loop over places: a row each, from the ONNX operator to what writes it."""

from __future__ import annotations

from collections.abc import Callable

from rnnexport.emit.c.body import FunctionWriter
from rnnexport.emit.c.operators import indexing, loops, networks, parts, products, reductions, resizing
from rnnexport.ir.terms import Term

Write = Callable[[FunctionWriter, Term], None]
_ROWS: dict[str, Write] = {
    op: write
    for family in (indexing, loops, networks, parts, products, reductions, resizing)
    for op, write in family.OPERATORS.items()
}


def operator_of(op: str) -> Write | None:
    """What writes an operator; None where C has no form of it."""
    return _ROWS.get(op)
