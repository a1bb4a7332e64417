"""Products with one operand in common, as one product.

    h @ R_z + x_z,  h @ R_r + x_r  ->  split(h @ [R_z R_r] + [x_z x_r])

At small sizes the number of operators is the time of a step; at large ones a single product keeps its operands in
the caches.

Sums of products whose left operands go together, as products of the operands side by side.

    y @ W_z + c @ V_z + b_z,  y @ W_r + c @ V_r + b_r     ->     [y c] @ [W_z; V_z] + b_z,  [y c] @ [W_r; V_r] + b_r

Where two operands are in just the same sums, two or more, one Concat takes the place of a product, a Split and as many
sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from rnnexport.ir.loop_body import Constants
from rnnexport.ir.terms import Term, Terms, below, rewritten, substituted, uses


def merged(terms: Terms, constants: Constants, roots: Iterable[Term]) -> dict[Term, Term]:
    """What every term below the roots becomes."""
    listed = list(roots)
    groups: dict[Term, list[Term]] = {}
    for term in below(listed):
        if term.op == "MatMul" and term.of_state and _is_weight(term.operands[1]):
            groups.setdefault(term.operands[0], []).append(term)
    joining = _Joining(terms, constants)
    users = _users(listed)
    counts = uses(listed)
    known: dict[Term, Term] = {}
    for group in groups.values():
        if len(group) > 1:
            known |= _merged_group(group, joining, users, counts)
    return substituted(terms, listed, without_older(terms, known, listed))


def without_older(terms: Terms, known: Mapping[Term, Term], roots: Sequence[Term]) -> dict[Term, Term]:
    """What the terms in `known` become is computed from others of them: replace those too.

    A product is merged with those of its own left operand, so what stands for it never depends on itself.
    """
    done: dict[Term, Term] = {}
    for term in below(roots):
        if term in known:
            done[term] = substituted(terms, [known[term]], done)[known[term]]
        elif any(part in done and done[part] is not part for part in term.operands):
            done[term] = terms.rebuilt(term, [None if part is None else done[part] for part in term.inputs])
        else:
            done[term] = term
    return done


def with_gemms(terms: Terms, constants: Constants, roots: Iterable[Term]) -> dict[Term, Term]:
    """What every term below the roots becomes when sums with a product of matrices are one Gemm: an operator less."""
    listed = list(roots)
    counts = uses(listed)

    def change(term: Term) -> Term:
        if term.op == "MatMul" and term.of_state:
            return _by_column(terms, constants, term)
        if term.op != "Add" or not term.of_state or term.dtype not in (ir.DataType.FLOAT, ir.DataType.DOUBLE):
            return term
        for product, addend in (term.operands, term.operands[::-1]):
            if product.op == "MatMul" and counts.get(product, 0) <= 1 and _fits_gemm(product, addend):
                return terms.call("Gemm", [*product.operands, addend], results=term.call.results)[0]
        return term

    return rewritten(terms, listed, change)


def _by_column(terms: Terms, constants: Constants, term: Term) -> Term:
    """A product with a matrix of one column, the matrix as a stack of one.

    ONNX Runtime packs constant matrices for its fast kernel, which takes three times as long as a plain product where
    there is one column (attention scores). It packs matrices alone, no stacks of them.
    """
    left, right = term.operands
    column = constants(right)
    if column is None or column.ndim != 2 or column.shape[1] != 1 or left.shape is None or len(left.shape) != 2:
        return term
    stack = terms.const(column[None])
    (scores,) = terms.call("MatMul", [left, stack], results=[(term.dtype, (1, left.shape[0], 1))])
    return terms.call("Squeeze", [scores, terms.const([0], np.int64)], results=term.call.results)[0]


def _fits_gemm(product: Term, addend: Term) -> bool:
    left, right = product.operands
    if left.rank != 2 or right.rank != 2 or addend.rank not in (1, 2) or addend.width != product.width:
        return False
    # An addend of more rows than the product would broadcast the product, which Gemm does not do.
    return addend.rank == 1 or addend.shape == product.shape


def _merged_group(
    group: Sequence[Term], joining: _Joining, users: Mapping[Term, list[Term]], counts: Mapping[Term, int]
) -> dict[Term, Term]:
    terms = joining.terms
    left = group[0].operands[0]
    widths = [term.operands[1].width or 0 for term in group]
    product = terms.matmul(left, joining([term.operands[1] for term in group]))
    sums = [_sum_of(term, users, counts) for term in group]
    frees = [free for total, free in (pair for pair in sums if pair is not None)]
    if len(frees) == len(group) and len({free.rank for free in frees}) == 1 and _wide(frees, widths):
        whole = terms.elementwise("Add", product, joining(frees))
        return {pair[0]: part for pair, part in zip(sums, terms.split(whole, widths), strict=True) if pair is not None}
    return dict(zip(group, terms.split(product, widths), strict=True))


def _wide(frees: Sequence[Term], widths: Sequence[int]) -> bool:
    """Whether each addend has the full width of its product, so that they can stand side by side."""
    if any(free.width != width for free, width in zip(frees, widths, strict=True)):
        return False
    return len({free.shape[:-1] for free in frees if free.shape is not None}) == 1


def _sum_of(product: Term, users: Mapping[Term, list[Term]], counts: Mapping[Term, int]) -> tuple[Term, Term] | None:
    """The sum that the product is used in, if nowhere else, and what is added there, if that depends on no state."""
    if counts[product] != 1 or len(users.get(product, ())) != 1:
        return None
    (total,) = users[product]
    if total.op != "Add":
        return None
    free = total.operands[1] if total.operands[0] is product else total.operands[0]
    return None if free.of_state else (total, free)


def _users(roots: Sequence[Term]) -> dict[Term, list[Term]]:
    found: dict[Term, list[Term]] = {}
    for term in below(roots):
        for part in set(term.operands):
            found.setdefault(part, []).append(term)
    return found


def _is_weight(term: Term) -> bool:
    return term.rank == 2 and not term.of_step and term.shape is not None and None not in term.shape


class _Joining:
    """Terms side by side along the last dimension, written as one product or sum where they are alike."""

    def __init__(self, terms: Terms, constants: Constants) -> None:
        self.terms, self._constants = terms, constants

    def __call__(self, parts: Sequence[Term]) -> Term:
        known = [self._constants(part) for part in parts]
        if all(value is not None for value in known):
            return self.terms.const(np.concatenate([value for value in known if value is not None], axis=-1))
        whole = _whole(parts)
        if whole is not None:
            return whole
        if all(part.op == "Add" for part in parts):
            lefts, rights = ([part.operands[side] for part in parts] for side in (0, 1))
            if _alike(lefts, parts) and _alike(rights, parts):
                return self.terms.elementwise("Add", self(lefts), self(rights))
        if all(part.op == "MatMul" and _is_weight(part.operands[1]) for part in parts):
            lefts = [part.operands[0] for part in parts]
            if len(set(lefts)) == 1:
                return self.terms.matmul(lefts[0], self([part.operands[1] for part in parts]))
        return self.terms.concat(parts)


def _alike(side: Sequence[Term], sums: Sequence[Term]) -> bool:
    """Whether one side of the sums has their widths, and one rank: nothing is broadcast along the last dimension."""
    same = all(part.width == total.width for part, total in zip(side, sums, strict=True))
    return same and len({part.rank for part in side}) == 1


def _whole(parts: Sequence[Term]) -> Term | None:
    """What was split into just these parts, in this order."""
    call = parts[0].call
    same = call.op == "Split" and [(part.call, part.port) for part in parts] == [
        (call, port) for port in range(len(call.results))
    ]
    rank = parts[0].rank
    if not same or rank is None or parts[0].attribute("axis", 0) not in (-1, rank - 1):
        return None
    return call.inputs[0]


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
