"""Sequences that a loop reads: an element of one a step, and the number of its steps in the graph around.

Before: reverse(x) -> LSTM -> reverse          After: LSTM(direction=reverse), of x as it is

A `ReverseSequence` turns each row round as far as its length; it is a whole reversal if every length is that of the
sequence, which its graph says: the converter takes the lengths from the shape.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from rnnexport.ir.lengths import Index, Size, TripCount, dimension, index_of, size_of, size_term
from rnnexport.ir.loop_body import constant, outer, shape_of
from rnnexport.ir.operators import elementwise
from rnnexport.ir.terms import Term, Terms


class Sequences:
    """Gather(x, index of the step) as an element of the sequence x."""

    def __init__(self, length: TripCount, step: Term, terms: Terms) -> None:
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


def length_term(length: TripCount, terms: Terms) -> Term:
    """The number of steps as a scalar of 64 bits; below 0 where there are none."""
    sizes = [size_term(size, terms) for size in length.sizes]
    return sizes[0] if len(sizes) == 1 else terms.elementwise("Min", *sizes)


def steps_term(length: TripCount, terms: Terms) -> Term:
    """0, 1, ... for every step, of 64 bits."""
    ends = [terms.const(0, np.int64), length_term(length, terms), terms.const(1, np.int64)]
    return terms.call("Range", ends, results=[(ir.DataType.INT64, (length.fixed,))])[0]


def is_whole_reversal(node: ir.Node | None) -> bool:
    """Whether a node turns its sequences round as a whole, time being the first dimension and batch the second."""
    if node is None or node.domain or node.op_type != "ReverseSequence":
        return False
    source, lengths = node.inputs
    axes = [node.attributes[name].as_int() if name in node.attributes else default for name, default in _AXES]
    if source is None or lengths is None or axes != [0, 1]:
        return False
    length = _length(lengths)
    return length is not None and length == dimension(source, 0)


_AXES = (("time_axis", 0), ("batch_axis", 1))


def _length(lengths: ir.Value) -> Size | None:
    """The one length of all rows."""
    tensor = constant(lengths)
    if tensor is not None:
        numbers = set(tensor.numpy().ravel().tolist())
        return Size(None, numbers.pop()) if len(numbers) == 1 else None
    node = lengths.producer()
    if node is None or node.op_type != "Expand" or node.inputs[0] is None:
        return None
    return size_of(node.inputs[0])


def read_reversal(value: ir.Value, terms: Terms) -> Term | None:
    """The term of a value that is a sequence turned round as a whole; None where it is not."""
    node = value.producer()
    if node is None or not is_whole_reversal(node):
        return None
    source, lengths = node.inputs
    assert source is not None  # told by `is_whole_reversal`
    assert lengths is not None
    parts = [outer(part, terms) for part in (source, lengths)]
    return terms.call("ReverseSequence", parts, node.attributes, [(value.dtype, shape_of(value))])[0]


def turned(whole: Term, terms: Terms) -> tuple[Term, Term] | None:
    """(the sequence as it was, the lengths), of one that is turned round, or of something computed element by element
    of one; None where it is neither.
    """
    if whole.op == "ReverseSequence":
        source, lengths = whole.operands
        return source, lengths
    if len(whole.inputs) == 1 and elementwise(whole.op) is not None:
        found = turned(whole.operands[0], terms)
        return None if found is None else (terms.rebuilt(whole, [found[0]]), found[1])
    return None


def turn_round(whole: Term, lengths: Term, terms: Terms) -> Term:
    """The sequence turned round, each row as a whole."""
    attributes = {"time_axis": 0, "batch_axis": 1}
    return terms.call("ReverseSequence", [whole, lengths], attributes, [(whole.dtype, whole.shape)])[0]


def double_reversals(graph: ir.Graph) -> list[tuple[ir.Node, ir.Value]]:
    """Every second of two whole reversals in a row, with what went into the first: together they are none."""
    found = []
    for node in list(graph):
        if not is_whole_reversal(node):
            continue
        between = _through_transposes(node.inputs[0])
        first = None if between is None else between.producer()
        if first is not None and is_whole_reversal(first) and first.inputs[0] is not None:
            found.append((node, first.inputs[0]))
    return found


def _through_transposes(value: ir.Value | None) -> ir.Value | None:
    """What a value was before pairs of transpositions that undo each other."""
    source = None if value is None else untransposed(value)
    return value if source is None else _through_transposes(source)


def untransposed(value: ir.Value) -> ir.Value | None:
    """What a value was before two transpositions that undo each other; None where it is something else."""
    second = value.producer()
    first = second.inputs[0].producer() if second is not None and second.inputs and second.inputs[0] else None
    if second is None or first is None or second.op_type != "Transpose" or first.op_type != "Transpose":
        return None
    perms = [node.attributes["perm"].as_ints() if "perm" in node.attributes else None for node in (first, second)]
    if perms[0] is None or perms[1] is None or [perms[0][axis] for axis in perms[1]] != sorted(perms[0]):
        return None
    return first.inputs[0]
