"""Sequences that a loop reads: an element of one a step, and the number of its steps in the graph around."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from rnnexport.ir.lengths import Index, Size, dimension, index_of, size_term
from rnnexport.ir.reverse import read_reversal
from rnnexport.ir.terms import Term, Terms
from rnnexport.ir.trip_count import Length


class Sequences:
    """Gather(x, index of the step) as an element of the sequence x."""

    def __init__(self, length: Length, step: Term, terms: Terms) -> None:
        self.length, self.step, self.terms = length, step, terms

    def __call__(self, term: Term) -> Term:
        if term.op != "Gather" or len(term.operands) != 2:
            return term
        source, at = term.operands
        index = index_of(at, self.step)
        axis = term.attribute("axis", 0)
        if source.of_step or source.of_state or index is None or index.slope == 0 or at.shape not in ((), None):
            return term
        if at.shape is None or source.shape is None or axis:
            return term
        if source.op == "Outer":
            source = read_reversal(source.value, self.terms) or source
        whole = source if self._is_all(source, index) else self._picked(source, index)
        return self.terms.element(whole, source.dtype)

    def _is_all(self, source: Term, index: Index) -> bool:
        if index != Index(1, Size()) or len(self.length.sizes) != 1:
            return False
        (steps,) = self.length.sizes
        return first_dimension(source) == steps

    def _picked(self, source: Term, index: Index) -> Term:
        """The elements in the order of the steps."""
        terms = self.terms
        at = terms.elementwise("Mul", steps_term(self.length, terms), terms.const(index.slope, np.int64))
        at = terms.elementwise("Add", at, size_term(index.size, terms))
        shape = None if source.shape is None else (self.length.fixed, *source.shape[1:])
        return terms.call("Gather", [source, at], {"axis": 0}, [(source.dtype, shape)])[0]


def first_dimension(source: Term) -> Size | None:
    """How many elements a sequence has."""
    if source.op == "Const":
        return Size(None, source.array.shape[0])
    if source.op == "ReverseSequence":
        return first_dimension(source.operands[0])
    return dimension(source.value, 0) if source.op == "Outer" else None


def element_at(leaf: Term, at: Term, terms: Terms) -> Term:
    """The element of a sequence that the leaf is in the step of that number."""
    return terms.call("Gather", [leaf.sequence, at], {"axis": 0}, [(leaf.dtype, leaf.shape)])[0]


def length_term(length: Length, terms: Terms) -> Term:
    """The number of steps as a scalar of 64 bits; below 0 where there are none."""
    sizes = [size_term(size, terms) for size in length.sizes]
    return sizes[0] if len(sizes) == 1 else terms.elementwise("Min", *sizes)


def steps_term(length: Length, terms: Terms) -> Term:
    """0, 1, ... for every step, of 64 bits."""
    ends = [terms.const(0, np.int64), length_term(length, terms), terms.const(1, np.int64)]
    return terms.call("Range", ends, results=[(ir.DataType.INT64, (length.fixed,))])[0]
