"""Sums of products whose left operands go together, as products of the operands side by side.

    y @ W_z + c @ V_z + b_z,  y @ W_r + c @ V_r + b_r     ->     [y c] @ [W_z; V_z] + b_z,  [y c] @ [W_r; V_r] + b_r

Where two operands are in just the same sums, two or more, one Concat takes the place of a product, a Split and as many
sums.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from rnnexport.ir.constants import Constants
from rnnexport.ir.terms import Term, Terms, below, uses
from rnnexport.lowering.fuse_products import without_older


def joined_operands(terms: Terms, constants: Constants, roots: Iterable[Term]) -> dict[Term, Term]:
    """What every term below the roots becomes."""
    listed = list(roots)
    counts = uses(listed)
    sums = {term: _addends(term, counts) for term in below(listed) if term.op == "Add" and term.of_state}
    inner = {part for total in sums for part in total.operands if part.op == "Add" and counts[part] == 1}
    products = {total: _by_left(addends, counts, constants) for total, addends in sums.items() if total not in inner}
    places: dict[Term, list[Term]] = {}
    for total, found in products.items():
        for left in found:
            places.setdefault(left, []).append(total)
    groups: dict[tuple[Term, ...], list[Term]] = {}
    for left, where in places.items():
        groups.setdefault(tuple(where), []).append(left)
    known: dict[Term, Term] = {}
    for totals, lefts in groups.items():
        if len(totals) > 1 and len(lefts) > 1 and len({left.shape and left.shape[:-1] for left in lefts}) == 1:
            whole = terms.concat(lefts)
            for total in totals:
                own = [products[total][left] for left in lefts]
                known[total] = _written(terms, constants, total, sums[total], whole, own)
    return without_older(terms, known, listed)


def _addends(total: Term, counts: dict[Term, int]) -> list[Term]:
    """What a sum adds up, sums that are used in it alone taken apart."""
    found: list[Term] = []
    stack = [*reversed(total.operands)]
    while stack:
        part = stack.pop()
        if part.op == "Add" and counts[part] == 1 and part.shape == total.shape:
            stack += reversed(part.operands)
        else:
            found.append(part)
    return found


def _by_left(addends: list[Term], counts: dict[Term, int], constants: Constants) -> dict[Term, Term]:
    """The products with weights in a sum, by their left operand; without operands that are there twice."""
    found: dict[Term, list[Term]] = {}
    for part in addends:
        if part.op == "MatMul" and counts[part] == 1 and part.of_state:
            left, right = part.operands
            if left.rank == 2 and left.of_state and left.width and constants(right) is not None and right.rank == 2:
                found.setdefault(left, []).append(part)
    return {left: parts[0] for left, parts in found.items() if len(parts) == 1}


def _written(
    terms: Terms, constants: Constants, total: Term, addends: list[Term], whole: Term, own: list[Term]
) -> Term:
    weights = [constants(product.operands[1]) for product in own]
    stacked = terms.const(np.concatenate([weight for weight in weights if weight is not None]))
    found = terms.matmul(whole, stacked)
    # What depends on no state beside the product, so that both become one Gemm.
    others = [part for part in addends if part not in own]
    for part in sorted(others, key=lambda part: part.of_state):
        found = terms.elementwise("Add", found, part)
    return found
