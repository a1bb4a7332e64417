"""Operators of ONNX that stand for what a step writes out: one operator in place of a dozen.

    mean = ReduceMean(x);  d = x - mean;  s = 1 / Sqrt(ReduceMean(d * d) + epsilon)
    x * (s * gamma) + (beta - mean * (s * gamma))    ->    LayerNormalization(x, gamma, epsilon) + beta

    Reshape(Reshape(x_BTK, (B * T, K)) @ w_KN, (B, T, N))     ->    x_BTK @ w_KN
    ReduceSum(a_BT1 * x_BTF, over T)                          ->    a_B1T @ x_BTF, a weighted sum as attention takes it

However the sums and products of a normalisation are put together: they are multiplied out and compared. An operator
takes ONNX Runtime half a microsecond in every step, whatever it computes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from rnnexport.ir.loop_body import Constants
from rnnexport.ir.recurrence import Recurrence
from rnnexport.ir.terms import Term, Terms, below, rewritten

# The opset that LayerNormalization came with.
_NEEDED = 17
# A written-out normalisation has a handful of products.
_MOST_PRODUCTS = 16
Product = tuple[int, tuple[Term, ...]]


@dataclass(frozen=True, eq=False)
class _InverseDeviation:
    """1 / sqrt(variance + epsilon) of the last dimension of x.

    `root` is the reciprocal, a factor; or the square root, by which is divided.
    """

    x: Term
    mean: Term
    root: Term
    epsilon: float


def composed(recurrence: Recurrence, constants: Constants) -> dict[Term, Term]:
    """What every term of the step becomes."""
    terms, graph = recurrence.terms, recurrence.loop.graph
    if not isinstance(graph, ir.Graph) or graph.opset_imports.get("", 0) < _NEEDED:
        return {term: term for term in below(recurrence.roots)}

    def change(term: Term) -> Term:
        if term.of_state and term.op in ("Reshape", "ReduceSum"):
            found = _tensordot if term.op == "Reshape" else _weighted_sum
            return found(terms, term, constants) or term
        if term.op not in ("Add", "Sub", "Mul", "Div") or term.dtype is not ir.DataType.FLOAT or not term.rank:
            return term
        return next((made for spread in _spreads(term, constants) if (made := _normalised(term, spread))), term)

    def _normalised(term: Term, spread: _InverseDeviation) -> Term | None:
        products = _products(term, spread)
        found = None if products is None else _scale_and_rest(products, spread, constants)
        return None if found is None else _written(terms, term, spread, *found)

    return rewritten(terms, recurrence.roots, change)


def _spreads(term: Term, constants: Constants) -> Iterator[_InverseDeviation]:
    """The normalisations whose root is among the factors of a sum."""
    for root in _near(term):
        square_root = root.operands[0] if root.op == "Reciprocal" else root
        inner = square_root.operands[0] if square_root.op == "Sqrt" else None
        if inner is None or inner.op != "Add":
            continue
        for variance, constant in (inner.operands, inner.operands[::-1]):
            epsilon = constants(constant)
            found = _centred(variance, constants)
            if found is not None and epsilon is not None and epsilon.size == 1 and found[0].width == term.width:
                yield _InverseDeviation(*found, root, float(epsilon.item()))


def _near(term: Term) -> Iterator[Term]:
    """The factors of a sum of products, the sums and products themselves left out."""
    stack = [term]
    seen: set[Term] = set()
    while stack and len(seen) < _MOST_PRODUCTS * 4:
        part = stack.pop()
        if part not in seen:
            seen.add(part)
            if part.op in ("Add", "Sub", "Mul", "Neg", "Div"):
                stack += part.operands
            else:
                yield part


def _centred(variance: Term, constants: Constants) -> tuple[Term, Term] | None:
    """(x, its mean), of ReduceMean((x - mean)^2)."""
    if not _is_mean(variance, constants):
        return None
    square = variance.operands[0]
    exponent = constants(square.operands[1]) if square.op == "Pow" else None
    power = exponent is not None and exponent.size == 1 and exponent.item() == 2
    if not power and not (square.op == "Mul" and square.operands[0] is square.operands[1]):
        return None
    centred = square.operands[0]
    if centred.op != "Sub" or not _is_mean(centred.operands[1], constants):
        return None
    x, mean = centred.operands
    return (x, mean) if mean.operands[0] is x else None


def _is_mean(term: Term, constants: Constants) -> bool:
    """Whether it is the mean of the last dimension, kept as one of size 1."""
    if term.op != "ReduceMean" or not term.attribute("keepdims", 1) or term.operands[0].rank is None:
        return False
    axes = term.attribute("axes") if len(term.operands) == 1 else constants(term.operands[1])
    rank = term.operands[0].rank
    return axes is not None and [int(axis) % rank for axis in axes] == [rank - 1]


def _products(term: Term, spread: _InverseDeviation) -> list[Product] | None:
    """The sum multiplied out, with `spread.root` for what is one over the root; None where that can't be."""
    if term is spread.root and term.op == "Sqrt":
        return None  # a factor, and not what is divided by
    if term in (spread.x, spread.mean, spread.root):
        return [(1, (term,))]
    if term.op == "Neg":
        inner = _products(term.operands[0], spread)
        return None if inner is None else [(-sign, factors) for sign, factors in inner]
    if term.op == "Div" and term.operands[1] is spread.root and spread.root.op == "Sqrt":
        above = _products(term.operands[0], spread)
        return None if above is None else [(sign, (*factors, spread.root)) for sign, factors in above]
    if term.op not in ("Add", "Sub", "Mul"):
        return [(1, (term,))]
    left, right = (_products(part, spread) for part in term.operands)
    if left is None or right is None:
        return None
    if term.op == "Mul":
        made = [(one * other, (*first, *second)) for one, first in left for other, second in right]
    else:
        sign = 1 if term.op == "Add" else -1
        made = left + [(sign * each, factors) for each, factors in right]
    return made if len(made) <= _MOST_PRODUCTS else None


def _scale_and_rest(
    products: Sequence[Product], spread: _InverseDeviation, constants: Constants
) -> tuple[np.ndarray, list[Product]] | None:
    """(gamma, beta as products), of  x * root * gamma - mean * root * gamma + beta."""
    by_x = [(sign, factors) for sign, factors in products if spread.x in factors]
    by_mean = [(sign, factors) for sign, factors in products if spread.mean in factors]
    rest = [each for each in products if each not in by_x and each not in by_mean]
    if len(by_x) != 1 or len(by_mean) != 1 or any(spread.root in factors for _, factors in rest):
        return None
    (sign, first), (other, second) = by_x[0], by_mean[0]
    gammas = Counter(first) - Counter([spread.x, spread.root])
    if (sign, other) != (1, -1) or Counter(second) - Counter([spread.mean, spread.root]) != gammas:
        return None
    if Counter(first)[spread.root] != 1 or Counter(second)[spread.root] != 1:
        return None
    gamma = np.ones(spread.x.width or 0, np.float32)
    for factor in gammas.elements():
        value = constants(factor)
        if value is None or value.size not in (1, gamma.size) or value.shape[-1:] not in ((), (1,), gamma.shape):
            return None
        gamma = gamma * value.ravel()
    return gamma, rest


def _written(
    terms: Terms, term: Term, spread: _InverseDeviation, gamma: np.ndarray, rest: Sequence[Product]
) -> Term | None:
    if spread.x.shape != term.shape or spread.x.rank is None:
        return None
    attributes = {"axis": -1, "epsilon": spread.epsilon}
    scale = terms.const(gamma, np.float32)
    (total,) = terms.call("LayerNormalization", [spread.x, scale], attributes, [(term.dtype, term.shape)])
    for sign, factors in rest:
        product = factors[0]
        for factor in factors[1:]:
            product = terms.elementwise("Mul", product, factor)
        total = terms.elementwise("Add" if sign > 0 else "Sub", total, product)
    return total


def _tensordot(terms: Terms, term: Term, constants: Constants) -> Term | None:
    """A product with a matrix whose rows were put together before it, and are taken apart behind it."""
    product, shape = term.operands
    if product.op != "MatMul" or product.operands[0].op != "Reshape" or product.operands[0].rank != 2:
        return None
    rows, matrix = product.operands
    x = rows.operands[0]
    if x.rank != 3 or x.shape is None or x.width is None or rows.width != x.width or matrix.rank != 2:
        return None
    columns = product.width
    kept = _leading(shape, x, constants)
    if columns is None or kept not in ([], [columns]) or (not kept and columns != 1):
        return None
    weight = constants(matrix)
    # A stack of one matrix: ONNX Runtime packs matrices, which takes long where there is one column.
    matrix = terms.const(weight[None]) if weight is not None and columns == 1 else matrix
    (whole,) = terms.call("MatMul", [x, matrix], results=[(term.dtype, (*x.shape[:-1], columns))])
    return whole if kept else terms.call("Squeeze", [whole, terms.const([-1], np.int64)], results=term.call.results)[0]


def _leading(shape: Term, x: Term, constants: Constants) -> list[int] | None:
    """What a shape has behind the dimensions of x but the last, in the order of x; None where it is another."""
    while shape.op == "Cast":
        shape = shape.operands[0]
    if shape.op == "Concat" and len(shape.operands) == 2:
        behind = constants(shape.operands[1])
        before = _leading(shape.operands[0], x, constants)
        return None if behind is None or before is None else [*before, *map(int, behind)]
    if shape.op != "Gather" or shape.attribute("axis", 0):
        return None
    source, places = shape.operands
    while source.op == "Cast":
        source = source.operands[0]
    found = constants(places)
    whole = source.op == "Shape" and not source.call.attributes and source.operands[0] is x
    return [] if whole and found is not None and found.tolist() == list(range((x.rank or 0) - 1)) else None


def _weighted_sum(terms: Terms, term: Term, constants: Constants) -> Term | None:
    """A sum over T of a_BT1 * x_BTF as a product of matrices."""
    product = term.operands[0]
    axes = term.attribute("axes") if len(term.operands) == 1 else constants(term.operands[1])
    if axes is None or list(axes) != [1] or term.attribute("keepdims", 1) or product.op != "Mul":
        return None
    for weights, x in (product.operands, product.operands[::-1]):
        inner = weights.operands[0] if weights.op == "Unsqueeze" else None
        if inner is None or inner.rank != 2 or weights.width != 1 or x.rank != 3 or x.dtype is not ir.DataType.FLOAT:
            continue
        if weights.shape is None or inner.shape is None or weights.shape[:2] != inner.shape or inner.shape[1] == 1:
            continue
        axis, lead = terms.const([1], np.int64), inner.shape[0]
        (row,) = terms.call("Unsqueeze", [inner, axis], results=[(term.dtype, (lead, 1, inner.shape[1]))])
        (summed,) = terms.call("MatMul", [row, x], results=[(term.dtype, (lead, 1, x.width))])
        return terms.call("Squeeze", [summed, axis], results=term.call.results)[0]
    return None
