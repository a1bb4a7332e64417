"""Terms of a step read as normal forms. What depends on no state is read only as far as it is linear.

A value is a row of sums that stand side by side, so that one state may hold what are two states to the cell.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from rnnexport.ir.loop_body import Constants
from rnnexport.ir.loop_invariants import is_zero
from rnnexport.ir.operators import slice_index
from rnnexport.ir.terms import OPEN_END, Term, Terms, below
from rnnexport.lowering import algebra
from rnnexport.lowering.activations import (
    Row,
    activation,
    clipped,
    cut_row,
    each,
    exponent,
    larger,
    magnitude_of,
    quotient,
    reciprocal,
    vector,
    written_out,
)
from rnnexport.lowering.algebra import Act, Sum, Unreadable, negative, number, plus, times

# What is read through where no state is in it; anything else there is an input of the cell, whatever computes it.
_LINEAR = {"Identity", "MatMul", "Gemm", "Add", "Sub", "Neg", "Split", "Slice", "Concat"}
_DEEPEST = 64
_FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE)


class NormalForms:
    """Reads terms, each once.

    Raises:
        Unreadable: from every call, where a value with a state in it is no sum of products and activations.
    """

    def __init__(self, terms: Terms, constants: Constants) -> None:
        self._terms, self._constants = terms, constants
        self._found: dict[Term, Row] = {}
        self._depth = 0  # of what depends on no state: it is read by recursion

    def __call__(self, term: Term) -> Row:
        """The row of `term`."""
        for part in below([term]):
            if part not in self._found and (part is term or part.of_state):
                self._found[part] = self._read(part)
        return self._found[term]

    def _row(self, term: Term) -> Row:
        if term not in self._found:
            self._found[term] = self._read(term)
        return self._found[term]

    def _read(self, term: Term) -> Row:
        known = self._constants(term)
        if known is not None:
            return (vector(known),)
        if not term.of_state:
            return self._given(term)
        if term.op == "State":
            if term.rank != 2 or term.width is None or term.dtype not in _FLOATS:
                raise Unreadable(f"a state has the shape {list(term.shape or ())}, not (batch, units)")
            return (algebra.lanes(term, 0, term.width),)
        reader = _READERS.get(term.op)
        if reader is None:
            raise Unreadable(f"{term.op} is no part of LSTM, GRU or RNN")
        return reader(self, term)

    def _given(self, term: Term) -> Row:
        """What depends on no state: read where it is linear, else taken as an input of the cell."""
        if term.width is not None and _is_nothing(term):
            return (number(0.0, term.width),)
        if term.op == "Cast" and term.operands[0].op == "Not":
            (mask,) = self._terms.call("Cast", [term.operands[0].operands[0]], term.call.attributes, term.call.results)
            return (plus(number(1.0), self._leaf(mask)[0], -1),)
        linear = term.op in _LINEAR or (term.op in ("Mul", "Div") and self._has_constant(term))
        if not linear or term.dtype not in _FLOATS or self._depth > _DEEPEST:
            return self._leaf(term)
        self._depth += 1
        try:
            return _READERS[term.op](self, term)
        except Unreadable:
            return self._leaf(term)
        finally:
            self._depth -= 1

    def _has_constant(self, term: Term) -> bool:
        known = [self._constants(part) is not None for part in term.operands]
        return known[1] or (known[0] and term.op == "Mul")

    def _leaf(self, term: Term) -> Row:
        if term.rank not in (0, 1, 2) or term.width is None or term.dtype not in _FLOATS:
            raise Unreadable(f"{term.op} of shape {list(term.shape or ())} goes into the cell")
        return (algebra.lanes(term, 0, term.width, is_mask=_is_mask(term)),)

    def number_of(self, term: Term | None) -> float | None:
        """A constant scalar."""
        value = None if term is None else self._constants(term)
        return float(value.item()) if value is not None and value.size == 1 else None

    def matmul(self, term: Term) -> Row:
        """By a constant matrix."""
        left, right = term.operands
        matrix = self._constants(right)
        if matrix is None or matrix.ndim != 2:
            raise Unreadable("a matrix product with something that is no constant")
        return (self._product(self._row(left), matrix),)

    def gemm(self, term: Term) -> Row:
        """Alpha * left @ right + beta * bias."""
        left, right, *bias = term.operands
        matrix = self._constants(right)
        if matrix is None or term.attribute("transA", 0):
            raise Unreadable("a matrix product with something that is no constant")
        matrix = matrix.T if term.attribute("transB", 0) else matrix
        row: Row = (self._product(self._row(left), term.attribute("alpha", 1.0) * matrix.astype(np.float64)),)
        if bias:
            scaled = each(times, self._row(bias[0]), (number(term.attribute("beta", 1.0)),))
            row = each(plus, row, scaled)
        return row

    def _product(self, row: Row, matrix: np.ndarray) -> Sum:
        if sum(part.width for part in row) != matrix.shape[0]:
            raise Unreadable("a matrix product that broadcasts")
        products, start = [], 0
        for part in row:
            rows = matrix[start : start + part.width].astype(np.float64)
            products.append(algebra.matmul(part, rows))
            start += part.width
        result = products[0]
        for product in products[1:]:
            result = plus(result, product)
        return result

    def binary(self, term: Term) -> Row:
        """Add, Sub, Mul."""
        left, right = (self._row(part) for part in term.operands)
        if term.op == "Mul":
            return tuple(map(written_out, each(times, left, right)))
        found = each(lambda one, other: plus(one, other, 1 if term.op == "Add" else -1), left, right)
        return tuple(map(written_out, found))

    def divided(self, term: Term) -> Row:
        """By a constant; or a sigmoid or softsign that is written out."""
        left, right = term.operands
        value = self._constants(right)
        if value is None:
            return each(quotient, self._row(left), self._row(right))
        with np.errstate(divide="ignore"):
            return tuple(map(written_out, each(times, self._row(left), (vector(1.0 / value.astype(np.float64)),))))

    def negative(self, term: Term) -> Row:
        """Neg."""
        return tuple(negative(part) for part in self._row(term.operands[0]))

    def split(self, term: Term) -> Row:
        """One port of a Split along the last dimension."""
        whole = term.operands[0]
        if whole.rank is None or term.attribute("axis", 0) not in (-1, whole.rank - 1):
            raise Unreadable("a split that is not of lanes")
        widths = [None if shape is None else shape[-1] for _, shape in term.call.results]
        if len(term.operands) > 1:
            sizes = self._constants(term.operands[1])
            widths = [None] if sizes is None else [int(size) for size in sizes]
        if None in widths:
            raise Unreadable("a split into parts of unknown width")
        starts = np.cumsum([0, *widths])
        return cut_row(self._row(whole), int(starts[term.port]), int(starts[term.port + 1]))

    def slice(self, term: Term) -> Row:
        """Lanes start:stop; other dimensions whole."""
        whole, *rest = term.inputs
        bounds = [None if part is None else self._constants(part) for part in rest]
        if whole is None or whole.rank is None or whole.width is None or any(bound is None for bound in bounds):
            raise Unreadable("a slice at places that are no constants")
        index = slice_index(whole.rank, [bound for bound in bounds if bound is not None])
        if any(
            (part.start or 0) != 0 or (part.stop or OPEN_END) < OPEN_END or part.step not in (1, None)
            for part in index[:-1]
        ):
            raise Unreadable("a slice that is not of lanes")
        start, stop, step = index[-1].indices(whole.width)
        if step != 1:
            raise Unreadable("a slice with a step")
        return cut_row(self._row(whole), start, stop)

    def concat(self, term: Term) -> Row:
        """Side by side."""
        if term.rank is None or term.attribute("axis") not in (-1, term.rank - 1):
            raise Unreadable("a concatenation that is not of lanes")
        return tuple(part for operand in term.operands for part in self._row(operand))

    def activation(self, term: Term) -> Row:
        """Operators that are an activation as they are."""
        alpha = term.attribute("alpha", _ALPHAS.get(term.op, 0.0))
        return tuple(activation(term.op, part, float(alpha)) for part in self._row(term.operands[0]))

    def hard_sigmoid(self, term: Term) -> Row:
        """max(0, min(1, alpha * x + beta))."""
        alpha, beta = number(term.attribute("alpha", 0.2)), number(term.attribute("beta", 0.5))
        return tuple(activation("Clip", plus(times(alpha, part), beta)) for part in self._row(term.operands[0]))

    def clip(self, term: Term) -> Row:
        """Between two constants, or above one."""
        bounds = [self.number_of(part) for part in (*term.inputs[1:], None, None)[:2]]
        given = [part is not None for part in (*term.inputs[1:], None, None)[:2]]
        low, high = bounds
        if (given[0] and low is None) or (given[1] and high is None):
            raise Unreadable("a clip between values that are no constants")
        return tuple(clipped(part, low, high) for part in self._row(term.operands[0]))

    def extreme(self, term: Term) -> Row:
        """Max and Min with a constant."""
        bounds = [self.number_of(part) for part in term.operands]
        found = [(at, bound) for at, bound in enumerate(bounds) if bound is not None]
        if len(term.operands) == 2 and not found and term.op == "Max":
            return each(larger, *(self._row(part) for part in term.operands))
        if len(term.operands) != 2 or len(found) != 1:
            raise Unreadable(f"{term.op} of two values")
        ((at, bound),) = found
        low, high = (bound, None) if term.op == "Max" else (None, bound)
        return tuple(clipped(part, low, high) for part in self._row(term.operands[1 - at]))

    def reciprocal(self, term: Term) -> Row:
        """1 / (1 + exp(x)) is a sigmoid."""
        return tuple(reciprocal(part) for part in self._row(term.operands[0]))

    def magnitude(self, term: Term) -> Row:
        """A part of a softsign that is written out."""
        return tuple(magnitude_of(part) for part in self._row(term.operands[0]))

    def exponential(self, term: Term) -> Row:
        """A part of a sigmoid that is written out."""
        return tuple(algebra.single(Act("Exp", part)) for part in self._row(term.operands[0]))

    def logarithm(self, term: Term) -> Row:
        """log(1 + exp(x)) is softplus."""
        return tuple(algebra.single(Act("Softplus", exponent(part))) for part in self._row(term.operands[0]))

    def where(self, term: Term) -> Row:
        """A choice by a mask that depends on no state."""
        mask, value, other = term.operands
        if mask.of_state or value.dtype is None:
            raise Unreadable("a choice that depends on a state")
        kind = [(value.dtype, mask.shape)]
        (weight,) = self._terms.call("Cast", [mask], {"to": value.dtype.value}, kind)
        one = self._leaf(weight)
        zero = tuple(plus(number(1.0), part, -1) for part in one)
        return each(plus, each(times, one, self._row(value)), each(times, zero, self._row(other)))

    def moved(self, term: Term) -> Row:
        """Squeeze, Unsqueeze, Reshape of one row: the batch of 1 put aside and back."""
        before, after = term.operands[0].shape, term.shape
        if not before or not after or before[-1] != after[-1] or {*before[:-1], *after[:-1]} - {1}:
            raise Unreadable(f"{term.op} is no part of LSTM, GRU or RNN")
        return self._row(term.operands[0])

    def same(self, term: Term) -> Row:
        """Identity, and Cast to the dtype that is there already."""
        if term.dtype is not term.operands[0].dtype:
            raise Unreadable("a cast of a state")
        return self._row(term.operands[0])


def _is_nothing(term: Term) -> bool:
    """Zero, as a value around is, or where a mask lets it through."""
    if term.op == "Mul":
        parts = term.operands
        return any(_is_nothing(part) for part in parts) and any(_is_mask(part) for part in parts)
    return term.op == "Outer" and is_zero(term)


def _is_mask(term: Term) -> bool:
    """Whether a number is 0 or 1 by its nature."""
    return term.op == "Cast" and term.operands[0].dtype == ir.DataType.BOOL


_ALPHAS = {"LeakyRelu": 0.01, "Elu": 1.0, "ThresholdedRelu": 1.0}
_ACTIVATIONS = ("Sigmoid", "Tanh", "Relu", "Softsign", "Softplus", *_ALPHAS)
_READERS: dict[str, Callable[[NormalForms, Term], Row]] = {
    **dict.fromkeys(_ACTIVATIONS, NormalForms.activation),
    **dict.fromkeys(("Add", "Sub", "Mul"), NormalForms.binary),
    **dict.fromkeys(("Max", "Min"), NormalForms.extreme),
    **dict.fromkeys(("Identity", "Cast"), NormalForms.same),
    **dict.fromkeys(("Squeeze", "Unsqueeze", "Reshape"), NormalForms.moved),
    "MatMul": NormalForms.matmul,
    "Gemm": NormalForms.gemm,
    "Div": NormalForms.divided,
    "Neg": NormalForms.negative,
    "Split": NormalForms.split,
    "Slice": NormalForms.slice,
    "Concat": NormalForms.concat,
    "HardSigmoid": NormalForms.hard_sigmoid,
    "Clip": NormalForms.clip,
    "Reciprocal": NormalForms.reciprocal,
    "Abs": NormalForms.magnitude,
    "Exp": NormalForms.exponential,
    "Log": NormalForms.logarithm,
    "Where": NormalForms.where,
}
