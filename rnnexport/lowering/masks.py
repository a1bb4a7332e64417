"""Masks in arithmetic: a choice by a bool, written as a sum of products with the bool as a number."""

from __future__ import annotations

import onnx_ir as ir

from rnnexport.lowering.loop_invariants import is_zero
from rnnexport.lowering.terms import Term


def is_nothing(term: Term) -> bool:
    """Zero, as a value around is, or where a mask lets it through."""
    if term.op == "Mul":
        parts = term.operands
        return any(is_nothing(part) for part in parts) and any(is_mask(part) for part in parts)
    return term.op == "Outer" and is_zero(term)


def is_mask(term: Term) -> bool:
    """Whether a number is 0 or 1 by its nature."""
    return term.op == "Cast" and term.operands[0].dtype == ir.DataType.BOOL
