"""Functions that NumPy has and ONNX has not, found again in the operators that our handlers write them with.

Where(Or(Equal(u, 1), Equal(u, inf)), x, Log(u) * (x / (u - 1))), u = x + 1     Log1p(x)
Tanh(0.5 * x) * (Exp(x) + 1)                                                    Expm1(x)
Where(m is not 0 and has not the sign of y, m + y, m), m = Mod(x, y, fmod=1)    Mod(x, y), which has the sign of y
Where(Mod(x, y) is not 0 and x has not the sign of y, q - 1, q), q = Div(x, y)  FloorDiv(x, y)

Each is what `rnnexport.conversion.handlers` writes, operand for operand. What is spelt another way stays as it is.
"""

from __future__ import annotations

import numpy as np

from rnnexport.ir.terms import Term, Terms


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
