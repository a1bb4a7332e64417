"""How each ONNX operator is written in NumPy."""

from __future__ import annotations

from collections.abc import Mapping

from rnnexport.emit.numpy.expression import Expression, Operand, Use
from rnnexport.emit.numpy.rules import elementwise, making, networks, parts, reductions, shapes
from rnnexport.emit.numpy.rules.common import Rule, result_dtype
from rnnexport.emit.numpy.rules.making import dtype_named
from rnnexport.emit.numpy.rules.sizes import TEXTS, elements_of, sized
from rnnexport.ir.size_arithmetic import SizeUse, Vector, vectors_of

_FAMILIES = (elementwise, making, networks, parts, reductions, shapes)


def _on_sizes(rule: Rule) -> Rule:
    """Sizes if the program knows them, and no vectors are made; the operator otherwise."""

    def either(use: Use) -> Expression | tuple[Expression, ...]:
        found = _sizes(use)
        return rule(use) if found is None else found

    return either


def _sizes(use: Use) -> Expression | tuple[Expression, ...] | None:
    """The result as sizes; None if they are not known."""
    given = [_vector(part) for part in use.inputs]
    while given and use.inputs[len(given) - 1] is None:
        given.pop()
    name = _dtype(use)
    is_integer = name is not None and name.startswith(("int", "uint"))
    found = vectors_of(SizeUse(use.op, given, use.attributes.get, len(use.results), is_integer, TEXTS))
    if found is None or any(None in each.flat for each in found):
        return None
    written = tuple(sized(each.flat, each.rank, name) for each in found)
    return written if use.op == "Split" else written[0]


def _dtype(use: Use) -> str | None:
    """That of the result, which an attribute may tell."""
    if use.op == "Cast":
        return dtype_named(int(use.attributes["to"]))
    if use.op == "ConstantOfShape" and "value" in use.attributes:
        return str(use.attributes["value"].dtype)
    return result_dtype(use)


def _vector(operand: Operand | None) -> Vector | None:
    elements = elements_of(operand)
    return None if operand is None or elements is None else Vector(operand.rank or 0, elements)


RULES: Mapping[str, Rule] = {op: _on_sizes(rule) for family in _FAMILIES for op, rule in family.RULES.items()}


def rule_of(op: str) -> Rule | None:
    """How an operator is written; None where there is no NumPy for it."""
    return RULES.get(op)
