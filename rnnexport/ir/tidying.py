"""What converters spell in several operators and a person in one: the same numbers, said shorter.

Each rule is an equation that holds for every input, rounding included, but for the order in which a product sums:

1. Max(Min(x, high), low) = Clip(x, low, high), for numbers low <= high.
2. Reshape(MatMul(Reshape(x, [-1, K]), W), [..., N]) = MatMul(x, W), where the leading dimensions are those of x.
3. Gather(x, [0, 1, ..., n - 1]) = x, where x has n elements.
4. Squeeze(Slice(x, i, i + 1, axis), axis) = Gather(x, i, axis).
5. Transpose(Transpose(x, p), q) = Transpose(x, p[q]); of nothing moved, x.
6. Identity(x) = x, and a Cast to the dtype that is there already.
7. Reshape(x, [a, b]) = x, where x has this very shape; Reshape(Squeeze(x), s) = Reshape(x, s), for any reshaping.
8. Add(x, 0) = x, but for the sign of a zero, where the zeros are no larger than x.
9. ReverseSequence(x, [n, n, ...]) = x[::-1], where x has n elements.

Functions that NumPy has and ONNX has not are `restored` too, in the operators that our handlers write them with:

Where(Or(Equal(u, 1), Equal(u, inf)), x, Log(u) * (x / (u - 1))), u = x + 1     Log1p(x)
Tanh(0.5 * x) * (Exp(x) + 1)                                                    Expm1(x)
Where(m is not 0 and has not the sign of y, m + y, m), m = Mod(x, y, fmod=1)    Mod(x, y), which has the sign of y
Where(Mod(x, y) is not 0 and x has not the sign of y, q - 1, q), q = Div(x, y)  FloorDiv(x, y)

Each is what `rnnexport.conversion.handlers` writes, operand for operand. What is spelt another way stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rnnexport.ir.terms import Term, Terms

Tidying = Callable[[Term, Terms], "Term | None"]
_END = 2**31 - 1


def tidied(term: Term, terms: Terms) -> Term:
    """The term as a person would have written it; its inputs are tidy already."""
    rule = _RULES.get(term.op)
    found = None if rule is None else rule(term, terms)
    return found or restored(term, terms) or term


def _identity(term: Term, terms: Terms) -> Term | None:
    del terms
    (source,) = term.operands
    return source if term.op == "Identity" or source.dtype == term.dtype is not None else None


def _clip(term: Term, terms: Terms) -> Term | None:
    if len(term.operands) != 2:
        return None
    inner, low = _with_number(term)
    if inner is None or low is None or inner.op != "Min" or len(inner.operands) != 2:
        return None
    source, high = _with_number(inner)
    if source is None or high is None or not low.array <= high.array:
        return None
    return terms.call("Clip", [source, low, high], results=[(term.dtype, term.shape)])[0]


def _with_number(term: Term) -> tuple[Term | None, Term | None]:
    """The operand that is computed, and the one that is a number."""
    one, other = term.operands
    if _is_number(one):
        one, other = other, one
    return (one, other) if _is_number(other) and not _is_number(one) else (None, None)


def _is_number(term: Term) -> bool:
    return term.op == "Const" and term.array.ndim == 0


def _integers(term: Term | None) -> list[int] | None:
    if term is None or term.op != "Const" or term.array.dtype.kind not in "iu":
        return None
    return [int(item) for item in term.array.ravel()]


def _reshape(term: Term, terms: Terms) -> Term | None:
    product, target = term.operands
    wanted = _integers(target)
    if wanted is not None and 0 not in wanted and product.op in ("Reshape", "Squeeze", "Unsqueeze"):
        found = terms.call("Reshape", [product.operands[0], target], results=term.call.results)[0]
        return tidied(found, terms)
    if wanted is not None and term.operands[0].shape == tuple(wanted):
        return product
    if product.op != "MatMul":
        return None
    flat, weight = product.operands
    if flat.op != "Reshape" or weight.shape is None or len(weight.shape) != 2:
        return None
    source, sizes = flat.operands
    given = _integers(sizes)
    if source.shape is None or given is None or len(given) != 2 or given[1] != weight.shape[0] != -1:
        return None
    if source.shape[-1] != given[1]:
        return None
    if weight.shape[1] == 1 and weight.op == "Reshape" and _restores(target, source, None):
        vector = weight.operands[0]
        if vector.rank == 1:
            return terms.call("MatMul", [source, vector], results=[(term.dtype, source.shape[:-1])])[0]
    if not _restores(target, source, weight.shape[1]):
        return None
    shape = (*source.shape[:-1], weight.shape[1])
    return terms.call("MatMul", [source, weight], results=[(term.dtype, shape)])[0]


def _restores(target: Term, source: Term, width: int | None) -> bool:
    """Whether a shape is the leading dimensions of `source`, and `width` where there is one."""
    rank = len(source.shape or ())
    found = _dims(target, source)
    wanted: list[int | tuple[str, int]] = [("dim", axis) for axis in range(rank - 1)]
    wanted += [] if width is None else [width]
    return found is not None and len(found) == len(wanted) and all(map(_same, found, wanted, [source] * len(found)))


def _same(one: int | tuple[str, int], other: int | tuple[str, int], source: Term) -> bool:
    if one == other:
        return True
    shape = source.shape or ()
    return isinstance(one, int) and isinstance(other, tuple) and shape[other[1]] == one


def _dims(term: Term, source: Term) -> list[int | tuple[str, int]] | None:
    """The elements of a vector of sizes: numbers, and dimensions of `source`."""
    numbers = _integers(term)
    if numbers is not None:
        return list(numbers)
    if term.op == "Shape":
        same = term.operands[0] is source and not term.call.attributes
        return [("dim", axis) for axis in range(len(source.shape or ()))] if same else None
    parts = [_dims(part, source) for part in term.operands[:1]] if term.op != "Concat" else []
    if term.op == "Cast":
        return parts[0]
    if term.op == "Concat":
        joined = [_dims(part, source) for part in term.operands]
        return None if None in joined else [item for part in joined if part is not None for item in part]
    if term.op == "Gather" and parts[0] is not None:
        at = _integers(term.operands[1])
        return None if at is None else [parts[0][index] for index in at]
    if term.op == "Slice" and parts[0] is not None:
        bounds = [_integers(part) for part in term.inputs[1:]]
        if len(bounds) in (2, 3) and all(bound is not None and len(bound) == 1 for bound in bounds):
            return parts[0][bounds[0][0] : bounds[1][0]]  # type: ignore[index]
    return None


def _gather(term: Term, terms: Terms) -> Term | None:
    del terms
    source, at = term.operands
    numbers = _range(at) if at.op == "Range" else _integers(at)
    if numbers is None or at.rank != 1 or source.shape is None or term.attribute("axis", 0) != 0:
        return None
    return source if source.shape[0] == len(numbers) and numbers == list(range(len(numbers))) else None


def _range(term: Term) -> list[int] | None:
    ends = [_integers(part) for part in term.operands]
    if any(end is None or len(end) != 1 for end in ends):
        return None
    return list(range(*(end[0] for end in ends if end is not None)))


def _squeeze(term: Term, terms: Terms) -> Term | None:
    source = term.operands[0]
    axes = _integers(term.inputs[1]) if len(term.inputs) > 1 else None
    if source.op != "Slice" or axes is None or len(axes) != 1 or source.operands[0].rank is None:
        return None
    whole = source.operands[0]
    numbers = [_integers(bound) for bound in source.inputs[1:]]
    if len(numbers) != 3 or any(number is None for number in numbers):
        return None
    starts, ends, cut = (number for number in numbers if number is not None)
    axis = axes[0] % len(whole.shape or ())
    parts = dict(zip((at % len(whole.shape or ()) for at in cut), zip(starts, ends, strict=True), strict=True))
    picked = parts.pop(axis, None)
    if picked is None or any(part[0] != 0 or part[1] < _END for part in parts.values()):
        return None
    start, end = picked
    if end != start + 1 and not (start == -1 and end >= _END):
        return None
    index = terms.const(start, np.int64)
    return terms.call("Gather", [whole, index], {"axis": axis}, [(term.dtype, term.shape)])[0]


def _transpose(term: Term, terms: Terms) -> Term | None:
    (source,) = term.operands
    order = term.attribute("perm")
    if order is None:
        return None
    if list(order) == list(range(len(order))):
        return source
    if source.op != "Transpose" or source.attribute("perm") is None:
        return None
    joint = [int(source.attribute("perm")[axis]) for axis in order]
    inner = source.operands[0]
    if joint == list(range(len(joint))):
        return inner
    return terms.call("Transpose", [inner], {"perm": joint}, [(term.dtype, term.shape)])[0]


def _add(term: Term, terms: Terms) -> Term | None:
    del terms
    for source, zero in (term.operands, term.operands[::-1]):
        if zero.op == "Const" and not zero.array.any() and zero.array.ndim <= (source.rank or 0):
            sizes = zip(zero.array.shape[::-1], (source.shape or ())[::-1], strict=False)
            if all(size in (1, found) for size, found in sizes):
                return source
    return None


def _reverse(term: Term, terms: Terms) -> Term | None:
    source, lengths = term.operands
    if lengths.op != "Expand" or term.attribute("time_axis", 0) != 0 or source.shape is None:
        return None
    found = _dims(lengths.operands[0], source)
    if found is None or len(found) != 1 or not _same(found[0], ("dim", 0), source):
        return None
    ends = [terms.const([number], np.int64) for number in (-1, -_END, 0, -1)]
    return terms.call("Slice", [source, *ends], results=[(term.dtype, term.shape)])[0]


_RULES: dict[str, Tidying] = {
    "ReverseSequence": _reverse,
    "Add": _add,
    "Identity": _identity,
    "Cast": _identity,
    "Max": _clip,
    "Reshape": _reshape,
    "Gather": _gather,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
}


def restored(term: Term, terms: Terms) -> Term | None:
    """The function that a term is, of operands that are restored already; None where it is none of them."""
    if term.op == "Where":
        return _log1p(term, terms) or _floor_mod(term, terms) or _floor_div(term, terms)
    return _expm1(term, terms) if term.op == "Mul" else None


def _log1p(term: Term, terms: Terms) -> Term | None:
    condition, x, found = term.operands
    if condition.op != "Or" or found.op != "Mul" or [part.op for part in found.operands] != ["Log", "Div"]:
        return None
    logarithm, quotient = found.operands
    (u,) = logarithm.operands
    tests = condition.operands
    alike = all(test.op == "Equal" and test.operands[0] is u for test in tests)
    if not alike or not (_is(tests[0].operands[1], 1) and _is(tests[1].operands[1], np.inf)):
        return None
    lost = quotient.operands[1]
    if quotient.operands[0] is not x or not _is_shifted(lost, "Sub", u) or not _is_shifted(u, "Add", x):
        return None
    return _call(terms, "Log1p", term, x)


def _expm1(term: Term, terms: Terms) -> Term | None:
    half, total = term.operands
    if half.op != "Tanh" or half.operands[0].op != "Mul" or total.op != "Add" or total.operands[0].op != "Exp":
        return None
    x, factor = half.operands[0].operands
    if not _is(factor, 0.5) or not _is(total.operands[1], 1) or total.operands[0].operands[0] is not x:
        return None
    return _call(terms, "Expm1", term, x)


def _floor_mod(term: Term, terms: Terms) -> Term | None:
    condition, total, remainder = term.operands
    if remainder.op != "Mod" or not remainder.attribute("fmod", 0) or total.op != "Add":
        return None
    x, y = remainder.operands
    same = total.operands[0] is remainder and total.operands[1] is y
    return _call(terms, "Mod", term, x, y) if same and _is_turned(condition, remainder, remainder, y) else None


def _floor_div(term: Term, terms: Terms) -> Term | None:
    condition, below, quotient = term.operands
    if quotient.op != "Div" or not _is_shifted(below, "Sub", quotient) or condition.op != "And":
        return None
    x, y = quotient.operands
    unequal = condition.operands[0]
    remainder = unequal.operands[0].operands[0] if unequal.op == "Not" and unequal.operands[0].op == "Equal" else None
    if remainder is None or remainder.op != "Mod" or remainder.operands != (x, y) or remainder.attribute("fmod", 0):
        return None
    return _call(terms, "FloorDiv", term, x, y) if _is_turned(condition, remainder, x, y) else None


def _is_turned(condition: Term, remainder: Term, x: Term, y: Term) -> bool:
    """And(Not(Equal(remainder, 0)), Xor(Less(x, 0), Less(y, 0)))."""
    if condition.op != "And" or [part.op for part in condition.operands] != ["Not", "Xor"]:
        return False
    unequal, signs = condition.operands
    equal = unequal.operands[0]
    if equal.op != "Equal" or equal.operands[0] is not remainder or not _is(equal.operands[1], 0):
        return False
    return all(
        sign.op == "Less" and sign.operands[0] is part and _is(sign.operands[1], 0)
        for sign, part in zip(signs.operands, (x, y), strict=True)
    )


def _is_shifted(term: Term, op: str, source: Term) -> bool:
    """Whether a term is `source` plus, or less, 1."""
    return term.op == op and term.operands[0] is source and _is(term.operands[1], 1)


def _is(term: Term, number: float) -> bool:
    return term.op == "Const" and term.array.ndim == 0 and bool(term.array == number)


def _call(terms: Terms, op: str, term: Term, *operands: Term) -> Term:
    return terms.call(op, operands, results=[(term.dtype, term.shape)])[0]
