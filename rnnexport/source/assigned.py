"""What the code that made the operations of a graph calls their outputs.

One execution of a statement is a run of operations that have its frame, and all frames around it, in common:

    z = self.gate(x @ w + b)        MatMul, AddV2, Sigmoid: the last one is z, whatever `gate` calls it inside
    i, f = ops.split(gates, 2)      the outputs of one operation, in order
    c, o = self.step(z, c_tm1)      what `step` returns, looked up among its own names

A statement that makes no operation (`h = states[0]`) leaves no trace, so a name that such a statement may have given to
something else is not used. Names are a courtesy: where the code is too clever for this, there is none.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from rnnexport.source.graphs import CHOICES, LOOPS
from rnnexport.source.scopes import UNNAMED, Names, Scope, Value, constant_part, key_of, origin
from rnnexport.source.statements import Place, own_statements

_CUTS = frozenset({"StridedSlice", "Slice", "GatherV2", "GatherNd"})

Step = tuple[Any, Sequence[Place]]  # an operation, and the places in code that made it, outermost first


def assigned(steps: Sequence[Step]) -> dict[str, tuple[str, ...]]:
    """Of the operations of one graph, in the order in which they were made, those that have names.

    Returns:
        By the operation's name, a name for each of its outputs, empty where an output has none.
    """
    names = Names()
    for _, run in groupby(steps, lambda step: _function(step, 0)):
        _execution(list(run), 0, names)
    return names.by_operation()


def _function(step: Step, depth: int) -> object:
    """The function at a depth of the places of an operation; None where it was made further out."""
    return step[1][depth].function if len(step[1]) > depth else None


def _execution(steps: Sequence[Step], depth: int, names: Names) -> Value:
    """Name what a function at `depth` made. Returns what it returns, None where that is not known."""
    if _function(steps[0], depth) is None:
        return None
    first = steps[0][1][depth]
    scope = Scope(None if first.in_lambda else first.statement.function, names)
    value: Value = None
    for _, run in groupby(steps, lambda step: id(step[1][depth].statement)):
        group = list(run)
        last = group[-1][1][depth]
        made = _Made([operation for operation, _ in group], *_inner(group, depth, names), scope)
        value = _carried_out(last, made, scope)
    if last.in_lambda or isinstance(last.statement.node, ast.Return):
        return value
    return _returned(last, scope)


def _inner(group: Sequence[Step], depth: int, names: Names) -> tuple[Value, bool]:
    """Name what the functions made that a statement called. Returns what the last made, and whether one called did."""
    value: Value = None
    called = False
    for function, run in groupby(group, lambda step: _function(step, depth + 1)):
        steps = list(run)
        called = function is not None
        value = _execution(steps, depth + 1, names) if called else _outputs(steps[-1][0])
    return value, called


def _carried_out(place: Place, made: _Made, scope: Scope) -> Value:
    """The value of a statement, its names given."""
    node = place.statement.node
    if place.in_lambda:
        return made.last
    if place.statement.is_compound:
        scope.forget(place.statement)
        return None
    expression = getattr(node, "value", None)
    if not isinstance(expression, ast.expr):
        return None
    value = made.last if isinstance(node, ast.AugAssign) else made.value(expression)
    if isinstance(node, ast.Assign):
        for target in reversed(node.targets):
            scope.bind(target, value, place.statement)
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        scope.bind(node.target, value, place.statement)
    elif isinstance(expression, ast.NamedExpr):
        scope.bind(expression.target, value, place.statement)
    return value


def _returned(last: Place, scope: Scope) -> Value:
    """What a function returned whose `return` made no operation."""
    node, function = last.statement.node, last.statement.function
    returns = [found for found in own_statements(function) if isinstance(found, ast.Return)] if function else []
    after = [found for found in returns if found.lineno > (node.end_lineno or node.lineno)] or returns
    return scope.silent(after[0].value, after[0].lineno) if len(after) == 1 and after[0].value else None


class _Made:
    """What one execution of a statement made.

    Args:
        operations: in order.
        last: the value of the last of them, or what the function returned that made it.
        by_function: whether a function of the model's code made it.
        scope: of the statement.
    """

    def __init__(self, operations: Sequence[Any], last: Value, by_function: bool, scope: Scope) -> None:
        self._operations = operations
        self.last = last
        self._by_function = by_function
        self._scope = scope

    def value(self, expression: ast.expr) -> Value:
        """The value of an expression that made all these."""
        if isinstance(expression, ast.NamedExpr):
            return self.value(expression.value)
        if isinstance(expression, ast.Tuple | ast.List):
            return self._elements(expression)
        if isinstance(expression, ast.Subscript) and (self._by_function or self._operations[-1].type not in _CUTS):
            return constant_part(self.value(expression.value), expression.slice)
        if _collects(expression):
            return tuple(self._results())
        calls = isinstance(expression, ast.Call | ast.IfExp | ast.Await)
        return self.last if calls or not self._by_function else None

    def _elements(self, expression: ast.Tuple | ast.List) -> Value:
        """Of `x @ w, h, self.gate(x)` the first and the last made something, in this order."""
        line = expression.lineno
        made = [element for element in expression.elts if not _is_silent(element)]
        if len(made) == 1:
            values = [self.value(made[0])]
        else:
            results = self._results()
            values = results if len(results) == len(made) else [None] * len(made)
        found: Iterator[Value] = iter(values)
        return tuple(
            self._scope.silent(element, line) if _is_silent(element) else next(found) for element in expression.elts
        )

    def _results(self) -> list[Value]:
        """What no other of the operations reads."""
        read = {tensor.op.name for operation in self._operations for tensor in operation.inputs}
        kept = [operation for operation in self._operations if operation.name not in read]
        return [_outputs(operation) for operation in kept if operation.type not in UNNAMED - {"Identity"}]


def _is_silent(expression: ast.expr) -> bool:
    """Whether an expression makes no operation in any case."""
    if isinstance(expression, ast.Tuple | ast.List):
        return all(map(_is_silent, expression.elts))
    return isinstance(expression, ast.Constant) or bool(key_of(expression))


def _collects(expression: ast.expr) -> bool:
    """Whether it is a list of results: a comprehension, or `list` or `tuple` of one."""
    if isinstance(expression, ast.Call) and isinstance(expression.func, ast.Name) and len(expression.args) == 1:
        return expression.func.id in ("list", "tuple") and _collects(expression.args[0])
    return isinstance(expression, ast.ListComp | ast.GeneratorExp)


def _outputs(operation: Any) -> Value:
    """The value of an operation: its output, or all of them. Of a loop nobody can tell which is meant."""
    first = origin(operation.outputs[0])
    if first.op.type in LOOPS | CHOICES and len(first.op.outputs) > 1:
        return None
    return tuple(operation.outputs) if len(operation.outputs) > 1 else operation.outputs[0]
