"""Products of matrices as NumPy."""

from __future__ import annotations

from collections.abc import Mapping

from rnnexport.emit.numpy.expression import Binding, Expression, Operand, Use, combined
from rnnexport.emit.numpy.rules.attributes import number, scaled
from rnnexport.emit.numpy.rules.common import Rule


def _mat_mul(use: Use) -> Expression:
    return _product(use.operand(0).expression, use.operand(1).expression)


def _gemm(use: Use) -> Expression:
    """`a @ b + c`, with what the attributes say: `alpha * (a.T @ b) + beta * c`."""
    left = _turned(use.operand(0), bool(use.attributes.get("transA", 0)))
    right = _turned(use.operand(1), bool(use.attributes.get("transB", 0)))
    product = scaled(number(use, "alpha", 1), _product(left, right))
    added = use.given(2)
    if added is None or use.attributes.get("beta", 1) == 0:
        return product
    term = scaled(number(use, "beta", 1), added.expression)
    text = f"{product.within(Binding.SUM)} + {term.within(Binding.PRODUCT)}"
    return combined(text, Binding.SUM, [product, term])


def _product(left: Expression, right: Expression) -> Expression:
    """Brackets around products on the left too: `0.5 * x @ w` says less than `(0.5 * x) @ w`."""
    text = f"{left.within(Binding.UNARY)} @ {right.within(Binding.UNARY)}"
    return combined(text, Binding.PRODUCT, [left, right])


def _turned(operand: Operand, turn: bool) -> Expression:
    if not turn:
        return operand.expression
    return combined(f"{operand.expression.within(Binding.ATOM)}.T", Binding.ATOM, [operand.expression])


RULES: Mapping[str, Rule] = {"Gemm": _gemm, "MatMul": _mat_mul}
