"""Arithmetic, comparisons, truth values and functions of one number: element by element."""

from __future__ import annotations

import ast
from collections.abc import Mapping

import numpy as np

from rnnexport.emit.numpy.expression import Binding, Expression, Operand, UnwrittenError, Use, call, combined
from rnnexport.emit.numpy.rules.common import FLOATS, Rule, as_array, dtype_of, is_number, result_dtype, with_an_array


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


def _multiply(use: Use) -> Expression:
    a, b = with_an_array([use.operand(0), use.operand(1)])
    return _product("*", a, b)


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


def _floor_divide(use: Use) -> Expression:
    """No operator of ONNX: see `rnnexport.ir.tidying`."""
    return _product("//", *with_an_array([use.operand(0), use.operand(1)]))


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


def _sum(use: Use) -> Expression:
    first, *rest = with_an_array([operand for operand in use.inputs if operand is not None])
    for other in rest:
        first = added(first, other)
    return first


def _mean(use: Use) -> Expression:
    total = _sum(use)
    if len(use.inputs) == 1:
        return total
    return combined(f"{total.within(Binding.PRODUCT)} / {len(use.inputs)}", Binding.PRODUCT, [total])


def _clip(use: Use) -> Expression:
    x, low, high = use.operand(0), use.given(1), use.given(2)
    whole = with_an_array([x, *(bound for bound in (low, high) if bound is not None)])
    texts = [part.text for part in whole]
    if low is None and high is None:
        return whole[0]
    function = "np.maximum" if high is None else "np.minimum" if low is None else "np.clip"
    return call(function, *texts, uses=whole)


def _bitwise(sign: str, binding: Binding, tighter: Binding) -> Rule:
    def rule(use: Use) -> Expression:
        a, b = with_an_array([use.operand(0), use.operand(1)])
        return combined(f"{a.within(binding)} {sign} {b.within(tighter)}", binding, [a, b])

    return rule


def _bitwise_not(use: Use) -> Expression:
    x = as_array(use.operand(0))
    return combined(f"~{x.within(Binding.UNARY)}", Binding.UNARY, [x])


def _shift(use: Use) -> Expression:
    a, b = with_an_array([use.operand(0), use.operand(1)])
    function = {"LEFT": "np.left_shift", "RIGHT": "np.right_shift"}[use.attributes["direction"]]
    return call(function, a.text, b.text, uses=[a, b])


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


def _function(name: str) -> Rule:
    def rule(use: Use) -> Expression:
        x = as_array(use.operand(0))
        return call(name, x.text, uses=[x])

    return rule


def _erf(use: Use) -> Expression:
    x = as_array(use.operand(0))
    return call("erf", x.text, uses=[x], helper=True)


RULES: Mapping[str, Rule] = {
    "Add": _add,
    "BitShift": _shift,
    "BitwiseAnd": _bitwise("&", Binding.BIT_AND, Binding.SUM),
    "BitwiseNot": _bitwise_not,
    "BitwiseOr": _bitwise("|", Binding.BIT_OR, Binding.BIT_XOR),
    "BitwiseXor": _bitwise("^", Binding.BIT_XOR, Binding.BIT_AND),
    "Clip": _clip,
    "Div": _divide,
    "FloorDiv": _floor_divide,
    "Max": _extreme("np.maximum"),
    "Mean": _mean,
    "Min": _extreme("np.minimum"),
    "Mod": _modulo,
    "Mul": _multiply,
    "Neg": _negate,
    "Pow": _power,
    "Reciprocal": _reciprocal,
    "Sub": _subtract,
    "Sum": _sum,
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
    # Expm1 and Log1p are no operators of ONNX: see `rnnexport.ir.tidying`.
    "Abs": _function("np.abs"),
    "Acos": _function("np.arccos"),
    "Acosh": _function("np.arccosh"),
    "Asin": _function("np.arcsin"),
    "Asinh": _function("np.arcsinh"),
    "Atan": _function("np.arctan"),
    "Atanh": _function("np.arctanh"),
    "Ceil": _function("np.ceil"),
    "Cos": _function("np.cos"),
    "Cosh": _function("np.cosh"),
    "Det": _function("np.linalg.det"),
    "Erf": _erf,
    "Exp": _function("np.exp"),
    "Expm1": _function("np.expm1"),
    "Floor": _function("np.floor"),
    "Log": _function("np.log"),
    "Log1p": _function("np.log1p"),
    # Halves to the even number, as ONNX has it.
    "Round": _function("np.rint"),
    "Sign": _function("np.sign"),
    "Sin": _function("np.sin"),
    "Sinh": _function("np.sinh"),
    "Sqrt": _function("np.sqrt"),
    "Tan": _function("np.tan"),
}
