"""How each ONNX operator is written in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rnnexport.emit.numpy.expression import Expression, Use
from rnnexport.emit.numpy.rules import elementwise, making, networks, parts, reductions, shapes
from rnnexport.emit.numpy.rules.common import Rule
from rnnexport.emit.numpy.rules.size_rules import SIZE_RULES

_FAMILIES = (elementwise, making, networks, parts, reductions, shapes)


def _on_sizes(rule: Rule, of_sizes: Callable[[Use], Expression | tuple[Expression, ...] | None]) -> Rule:
    """Sizes where the program knows them, the operator otherwise."""

    def either(use: Use) -> Expression | tuple[Expression, ...]:
        found = of_sizes(use)
        return rule(use) if found is None else found

    return either


RULES: Mapping[str, Rule] = {
    op: _on_sizes(rule, SIZE_RULES[op]) if op in SIZE_RULES else rule
    for family in _FAMILIES
    for op, rule in family.RULES.items()
}


def rule_of(op: str) -> Rule | None:
    """How an operator is written; None where there is no NumPy for it."""
    return RULES.get(op)
