"""Arithmetic, comparisons, truth values and functions of one number: element by element."""

from __future__ import annotations

import ast
from collections.abc import Mapping

import numpy as np

from rnnexport.emit.numpy.expression import Binding, Expression, Operand, UnwrittenError, Use, call, combined
from rnnexport.emit.numpy.rules.common import (
    FLOATS,
    Rule,
    as_array,
    dtype_of,
    is_number,
    number,
    result_dtype,
    with_an_array,
)
from rnnexport.ir.operators import OPERATORS, Elementwise


def _add(use: Use) -> Expression:
    a, b = with_an_array([use.operand(0), use.operand(1)])
    return added(a, b)


def added(a: Expression, b: Expression) -> Expression:
    """A + b; `a - b` where b is written as a negative."""
    if b.binding == Binding.UNARY and b.text.startswith("-"):
        return combined(f"{a.within(Binding.SUM)} - {b.text[1:]}", Binding.SUM, [a, b])
    return combined(f"{a.within(Binding.SUM)} + {b.within(Binding.PRODUCT)}", Binding.SUM, [a, b])


def _subtract(use: Use) -> Expression:
    a, b = with_an_array([use.operand(0), use.operand(1)])
    if b.binding == Binding.UNARY and b.text.startswith("-"):
        return combined(f"{a.within(Binding.SUM)} + {b.text[1:]}", Binding.SUM, [a, b])
    return combined(f"{a.within(Binding.SUM)} - {b.within(Binding.PRODUCT)}", Binding.SUM, [a, b])


def _product(sign: str, a: Expression, b: Expression) -> Expression:
    return combined(f"{a.within(Binding.PRODUCT)} {sign} {b.within(Binding.UNARY)}", Binding.PRODUCT, [a, b])


def _divide(use: Use) -> Expression:
    dtype = result_dtype(use)
    a, b = with_an_array([use.operand(0), use.operand(1)])
    if dtype in FLOATS:
        return _product("/", a, b)
    if dtype is None:
        raise UnwrittenError("of unknown dtype")
    if dtype.startswith("uint"):
        return _product("//", a, b)
    return call("truncated_quotient", a.text, b.text, uses=[a, b], helper=True)


def _modulo(use: Use) -> Expression:
    a, b = with_an_array([use.operand(0), use.operand(1)])
    if use.attributes.get("fmod", 0):
        return call("np.fmod", a.text, b.text, uses=[a, b])
    return _product("%", a, b)


def _power(use: Use) -> Expression:
    base, exponent = use.operand(0), use.operand(1)
    if base.dtype is None or exponent.dtype is None:
        raise UnwrittenError("of unknown dtype")
    x, y = base.expression, _exponent(base, exponent)
    if is_number(base) and (is_number(exponent) or exponent.dtype != base.dtype):
        x = as_array(base)
    power = combined(f"{x.within(Binding.ATOM)} ** {y.within(Binding.UNARY)}", Binding.POWER, [x, y])
    if base.dtype not in FLOATS and exponent.dtype in FLOATS:
        kind = dtype_of(base.dtype)
        return call(f"({power.text}).astype", kind.text, uses=[power, kind])
    return power


def _exponent(base: Operand, exponent: Operand) -> Expression:
    """A whole number without its point; of a dtype that does not widen the base."""
    value = exponent.value
    if value is not None and value.ndim == 0:
        number = float(value)
        whole = np.isfinite(number) and number == int(number) and abs(number) < 100
        return (
            Expression(str(int(number)), Binding.UNARY if number < 0 else Binding.ATOM)
            if whole
            else exponent.expression
        )
    if base.dtype != exponent.dtype and base.dtype in FLOATS:
        kind, y = dtype_of(base.dtype), as_array(exponent)
        return call(f"{y.within(Binding.ATOM)}.astype", kind.text, uses=[y, kind])
    return exponent.expression


def _negate(use: Use) -> Expression:
    x = as_array(use.operand(0))
    return combined(f"-{x.within(Binding.UNARY)}", Binding.UNARY, [x])


def _reciprocal(use: Use) -> Expression:
    x = as_array(use.operand(0))
    return combined(f"1 / {x.within(Binding.UNARY)}", Binding.PRODUCT, [x])


def _extreme(function: str) -> Rule:
    def rule(use: Use) -> Expression:
        first, *rest = with_an_array([operand for operand in use.inputs if operand is not None])
        for other in rest:
            first = call(function, first.text, other.text, uses=[first, other])
        return first

    return rule


def _clip(use: Use) -> Expression:
    x, low, high = use.operand(0), use.optional(1), use.optional(2)
    whole = with_an_array([x, *(bound for bound in (low, high) if bound is not None)])
    texts = [part.text for part in whole]
    if low is None and high is None:
        return whole[0]
    function = "np.maximum" if high is None else "np.minimum" if low is None else "np.clip"
    return call(function, *texts, uses=whole)


def _bitwise_not(use: Use) -> Expression:
    x = as_array(use.operand(0))
    return combined(f"~{x.within(Binding.UNARY)}", Binding.UNARY, [x])


def _shift(use: Use) -> Expression:
    a, b = with_an_array([use.operand(0), use.operand(1)])
    function = {"LEFT": "np.left_shift", "RIGHT": "np.right_shift"}[use.attributes["direction"]]
    return call(function, a.text, b.text, uses=[a, b])


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


# How tightly two operands are bound by a sign: the whole, the left one and the right one.
_SIGNS = {
    **dict.fromkeys(("==", "<", "<=", ">", ">="), (Binding.COMPARISON, Binding.BIT_OR, Binding.BIT_OR)),
    **dict.fromkeys(("*", "/", "//"), (Binding.PRODUCT, Binding.PRODUCT, Binding.UNARY)),
    "&": (Binding.BIT_AND, Binding.BIT_AND, Binding.SUM),
    "|": (Binding.BIT_OR, Binding.BIT_OR, Binding.BIT_XOR),
    "^": (Binding.BIT_XOR, Binding.BIT_XOR, Binding.BIT_AND),
}


def _signed(sign: str) -> Rule:
    """`a sign b`."""
    binding, left, right = _SIGNS[sign]

    def rule(use: Use) -> Expression:
        a, b = with_an_array([use.operand(0), use.operand(1)])
        return combined(f"{a.within(left)} {sign} {b.within(right)}", binding, [a, b])

    return rule


def _by_text(row: Elementwise) -> Rule:
    """The text of a row, around its operands."""
    function = row.numpy.partition("(")[0]
    helpers = frozenset[str]() if function.startswith("np.") else frozenset({function})

    def rule(use: Use) -> Expression:
        values = [as_array(part) for part in use.inputs if part is not None]
        text = row.numpy.format(*(value.text for value in values), a=number(use, "alpha", row.alpha).text)
        return combined(text, Binding.ATOM, values, helpers)

    return rule


_OWN: Mapping[str, Rule] = {
    "Add": _add,
    "BitShift": _shift,
    "BitwiseNot": _bitwise_not,
    "Clip": _clip,
    "Div": _divide,
    "IsInf": _is_infinite,
    "IsNaN": _is_nan,
    "Max": _extreme("np.maximum"),
    "Min": _extreme("np.minimum"),
    "Mod": _modulo,
    "Neg": _negate,
    "Not": _not,
    "Pow": _power,
    "Reciprocal": _reciprocal,
    "Sub": _subtract,
    "Where": _where,
}
_ROWS = [row for row in OPERATORS.values() if isinstance(row, Elementwise)]
RULES: Mapping[str, Rule] = {
    **{row.name: _by_text(row) for row in _ROWS if row.numpy},
    **{row.name: _signed(row.sign) for row in _ROWS if row.sign in _SIGNS},
    **_OWN,
}
