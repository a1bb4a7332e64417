"""The step written another way, so that as much of it as can be depends on no state.

    [x, h] @ W                ->  x @ W_x + h @ W_h           the first product leaves the loop
    (x @ W + h @ R) + b       ->  h @ R + (x @ W + b)         so does the sum
    m * a + (1 - m) * b       ->  Where(mask, a, b)           m a mask; exact, and right for values that overflow
    z * a + (1 - z) * b       ->  b + z * (a - b)             one operation less

Each is an identity of real numbers; rounding differs by the order of sums.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from rnnexport.ir.loop_body import Constants
from rnnexport.ir.terms import Term, Terms, below, broadcast, rewritten, uses

Addend = tuple[int, Term]
# A constant from here on takes digits off a float32 of ordinary size: sums with it keep their order.
LARGE = 2.0**20
_LONGEST = 64


class Regrouping:
    """Rewrites the terms of one step."""

    def __init__(self, terms: Terms, constants: Constants) -> None:
        self._terms, self._constants = terms, constants
        self._uses: dict[Term, int] = {}
        self._lefts: Counter[Term] = Counter()

    def __call__(self, roots: Iterable[Term]) -> dict[Term, Term]:
        """What every term below the roots becomes."""
        listed = list(roots)
        first = rewritten(self._terms, listed, self._opened)
        second_roots = [first[root] for root in listed]
        self._uses = uses(second_roots)
        self._lefts = Counter(term.operands[0] for term in below(second_roots) if term.op == "MatMul")
        second = rewritten(self._terms, second_roots, self._closed)
        return {term: second[new] for term, new in first.items() if new in second}

    def _opened(self, term: Term) -> Term:
        """Gemm as its product and sum; a product with a concatenation as a sum of products."""
        if term.op == "Gemm":
            return self._gemm(term)
        return self._product_of_parts(term) if term.op == "MatMul" else term

    def _gemm(self, term: Term) -> Term:
        left, right, *bias = term.inputs
        plain = term.attribute("alpha", 1.0) == 1.0 and term.attribute("beta", 1.0) == 1.0
        if left is None or right is None or not plain or term.attribute("transA", 0) or right.shape is None:
            return term
        if term.attribute("transB", 0):
            shape = (right.shape[1], right.shape[0])
            (right,) = self._terms.call("Transpose", [right], {"perm": [1, 0]}, [(right.dtype, shape)])
        product = self._product_of_parts(self._terms.matmul(left, right))
        return product if not bias or bias[0] is None else self._terms.elementwise("Add", product, bias[0])

    def _product_of_parts(self, term: Term) -> Term:
        whole, right = term.operands
        if whole.op != "Concat" or whole.rank is None or whole.attribute("axis") not in (-1, whole.rank - 1):
            return term
        widths = [part.width for part in whole.operands]
        states = {part.of_state for part in whole.operands}
        if right.rank != 2 or right.of_step or None in widths or len(states) == 1:
            return term
        start, products = 0, []
        for part, width in zip(whole.operands, widths, strict=True):
            assert width is not None  # told above
            products.append(self._terms.matmul(part, self._rows(right, start, start + width)))
            start += width
        total = products[0]
        for product in products[1:]:
            total = self._terms.elementwise("Add", total, product)
        return total

    def _rows(self, matrix: Term, start: int, stop: int) -> Term:
        known = self._constants(matrix)
        if known is not None:
            return self._terms.const(known[start:stop])
        cut = [self._terms.const([at], np.int64) for at in (start, stop, 0)]
        shape = (stop - start, matrix.shape[1] if matrix.shape else None)
        return self._terms.call("Slice", [matrix, *cut], results=[(matrix.dtype, shape)])[0]

    def _closed(self, term: Term) -> Term:
        if term.op not in ("Add", "Sub") or not term.of_state or not is_float(term):
            return term
        mixed = self._mixture(term)
        return self._sum(term) if mixed is None else mixed

    def _sum(self, term: Term) -> Term:
        """A sum with what depends on no state put together."""
        addends = self._addends(term, 1, first=True)
        free = [item for item in addends if not item[1].of_state]
        if any(self._rounds(part) for _, part in free):
            return term
        others = [item for item in addends if item[1].of_state]
        products = [item for item in others if item[0] > 0 and item[1].op == "MatMul"]
        if not free or not others or (len(free) < 2 and len(products) < 2):
            return term
        # What is the same in every step last: after the batched products, as one sum outside.
        free.sort(key=lambda item: not item[1].of_step)
        if len(products) < 2:
            return self._added([*others, (1, self._added(free))])
        # Beside a product that other sums have too: those with one operand become one, and so do the sums.
        last = max(products, key=lambda item: (self._lefts[item[1].operands[0]], item[1].call.number))
        joined = self._terms.elementwise("Add", last[1], self._added(free))
        return self._added([*(item for item in others if item is not last), (1, joined)])

    def _rounds(self, term: Term) -> bool:
        """Whether a constant is there to round what it is added to: (x + 1.5 * 2**23) - 1.5 * 2**23."""
        value = self._constants(term)
        return value is not None and bool(np.any(np.abs(value) >= LARGE))

    def _addends(self, term: Term, sign: int, *, first: bool = False, depth: int = 0) -> list[Addend]:
        # A sum that is used elsewhere too stays one: computing it twice would cost more. One that was regrouped stands
        # for a sum of the same uses.
        if term.op not in ("Add", "Sub") or not (first or self._uses.get(term, 1) == 1) or not is_float(term):
            return [(sign, term)]
        if depth > _LONGEST:
            return [(sign, term)]
        left, right = term.operands
        return self._addends(left, sign, depth=depth + 1) + self._addends(
            right, sign if term.op == "Add" else -sign, depth=depth + 1
        )

    def _added(self, addends: list[Addend]) -> Term:
        addends = sorted(addends, key=lambda item: -item[0])
        (sign, total), *rest = addends
        if sign < 0:
            total = self._terms.elementwise("Neg", total)
        for sign, term in rest:
            total = self._terms.elementwise("Add" if sign > 0 else "Sub", total, term)
        return total

    def _mixture(self, term: Term) -> Term | None:
        """Z * a + (1 - z) * b."""
        left, right = term.operands
        if term.op != "Add" or left.op != "Mul" or right.op != "Mul":
            return None
        for first in (left, right):
            second = right if first is left else left
            for weight, other in zip(second.operands, reversed(second.operands), strict=True):
                complement = self._complement(weight)
                if complement is not None and complement in first.operands:
                    value = first.operands[1] if first.operands[0] is complement else first.operands[0]
                    return self._mixed(complement, value, other)
        return None

    def _complement(self, weight: Term) -> Term | None:
        """z, where the weight is 1 - z."""
        if weight.op == "Sub" and is_one(self._constants(weight.operands[0])):
            return weight.operands[1]
        if weight.op == "Cast" and weight.operands[0].op == "Not":
            mask = weight.operands[0].operands[0]
            return self._terms.call("Cast", [mask], weight.call.attributes, weight.call.results)[0]
        return None

    def _mixed(self, weight: Term, value: Term, other: Term) -> Term:
        """`value` where the weight is 1, `other` where it is 0."""
        if weight.op == "Cast" and weight.operands[0].dtype == ir.DataType.BOOL:
            mask = weight.operands[0]
            results = [(value.dtype, broadcast([mask.shape, value.shape, other.shape]))]
            return self._terms.call("Where", [mask, value, other], results=results)[0]
        product = self._terms.elementwise("Mul", weight, self._terms.elementwise("Sub", value, other))
        return self._terms.elementwise("Add", other, product)


def is_one(value: np.ndarray | None) -> bool:
    """Whether a constant is 1 everywhere."""
    return value is not None and bool(np.all(value == 1))


def is_float(term: Term) -> bool:
    """Whether sums of its dtype may be taken in another order: integers would wrap the same way, but are left alone."""
    return term.dtype is not None and term.dtype.is_floating_point()
