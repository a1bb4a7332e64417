"""Comparisons, truth values, and what is chosen by them."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from rnnexport.emit.numpy.expression import Binding, Expression, Use, call, combined
from rnnexport.emit.numpy.rules.common import (
    FLOATS,
    Rule,
    as_array,
    dtype_of,
    is_number,
    result_dtype,
    with_an_array,
)


def _comparison(sign: str) -> Rule:
    def rule(use: Use) -> Expression:
        a, b = with_an_array([use.operand(0), use.operand(1)])
        text = f"{a.within(Binding.BIT_OR)} {sign} {b.within(Binding.BIT_OR)}"
        return combined(text, Binding.COMPARISON, [a, b])

    return rule


def _logical(sign: str, binding: Binding, tighter: Binding) -> Rule:
    def rule(use: Use) -> Expression:
        a, b = with_an_array([use.operand(0), use.operand(1)])
        return combined(f"{a.within(binding)} {sign} {b.within(tighter)}", binding, [a, b])

    return rule


def _not(use: Use) -> Expression:
    x = use.operand(0)
    different = _different(x.expression)
    if different is not None:
        return different
    if x.rank:
        return combined(f"~{x.expression.within(Binding.UNARY)}", Binding.UNARY, [x.expression])
    # `~True` is -2: a scalar may be Python's.
    return call("np.logical_not", x.expression.text, uses=[x.expression])


def _different(x: Expression) -> Expression | None:
    """`a != b` for not `a == b`; it is the same for NaN too, other than `a < b` and `a >= b`."""
    if x.binding != Binding.COMPARISON:
        return None
    match ast.parse(x.text, mode="eval").body:
        case ast.Compare(left=left, ops=[ast.Eq()], comparators=[_]):
            end = left.end_col_offset or 0
            text = x.text[:end] + x.text[end:].replace("==", "!=", 1)
            return combined(text, Binding.COMPARISON, [x])
    return None


def _is_infinite(use: Use) -> Expression:
    x = use.operand(0).expression
    negative, positive = use.attributes.get("detect_negative", 1), use.attributes.get("detect_positive", 1)
    if negative and positive:
        return call("np.isinf", x.text, uses=[x])
    if not negative and not positive:
        return call("np.zeros_like", x.text, "bool", uses=[x])
    infinite = "np.inf" if positive else "-np.inf"
    return combined(f"{x.within(Binding.BIT_OR)} == {infinite}", Binding.COMPARISON, [x])


def _is_nan(use: Use) -> Expression:
    x = use.operand(0).expression
    return call("np.isnan", x.text, uses=[x])


def _where(use: Use) -> Expression:
    condition, a, b = (use.operand(at) for at in range(3))
    given = [condition.expression, a.expression, b.expression]
    chosen = call("np.where", *(part.text for part in given), uses=given)
    if not (is_number(a) and is_number(b)):
        return chosen
    # Two Python numbers alone would not have the dtype.
    name = result_dtype(use) if use.results[0].dtype else a.dtype
    if name in ("int64", "float64", "bool", None):
        return chosen
    dtype = dtype_of(name)
    if name in FLOATS and a.value is not None and b.value is not None and a.value == 1 and b.value == 0:
        truth = as_array(condition)
        return call(f"{truth.within(Binding.ATOM)}.astype", dtype.text, uses=[truth, dtype])
    return call(f"{chosen.text}.astype", dtype.text, uses=[chosen, dtype])


RULES: Mapping[str, Rule] = {
    "And": _logical("&", Binding.BIT_AND, Binding.SUM),
    "Equal": _comparison("=="),
    "Greater": _comparison(">"),
    "GreaterOrEqual": _comparison(">="),
    "IsInf": _is_infinite,
    "IsNaN": _is_nan,
    "Less": _comparison("<"),
    "LessOrEqual": _comparison("<="),
    "Not": _not,
    "Or": _logical("|", Binding.BIT_OR, Binding.BIT_XOR),
    "Where": _where,
    "Xor": _logical("^", Binding.BIT_XOR, Binding.BIT_AND),
}
