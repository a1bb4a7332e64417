"""The names that one execution of a function gives, and what can be said of those that left no operation behind.

What the code that made the operations of a graph calls their outputs.

One execution of a statement is a run of operations that have its frame, and all frames around it, in common:

    z = self.gate(x @ w + b)        MatMul, AddV2, Sigmoid: the last one is z, whatever `gate` calls it inside
    i, f = ops.split(gates, 2)      the outputs of one operation, in order
    c, o = self.step(z, c_tm1)      what `step` returns, looked up among its own names

A statement that makes no operation (`h = states[0]`) leaves no trace, so a name that such a statement may have given to
something else is not used. Names are a courtesy: where the code is too clever for this, there is none.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from rnnexport.source.graphs import CHOICES, LOOPS
from rnnexport.source.statements import FrameLocation, Function, Statement, own_statements

# Operations that hand a value on, or hold one that has its name elsewhere.
UNNAMED = frozenset({"Const", "Identity", "Placeholder", "ReadVariableOp"})
# Operations whose outputs are alike, so that one name with a number does for each.
_PARTS = frozenset({"Split", "SplitV", "Unpack"})
_ASSIGNMENTS = (ast.Assign, ast.AugAssign, ast.AnnAssign)

# Keras' own cells, in the terms of their equations: hidden state h before and after, candidate n, gates by letter.
# The order i, f, c, o is that of `LSTMCell._compute_carry_and_output_fused`, which activates z0 to z3.
_KERAS_NAMES: Mapping[str, Mapping[str, str]] = {
    "GRUCell": {"hh": "n", "h_tm1": "h", "x_h": "x_n", "recurrent_h": "recurrent_n"},
    "LSTMCell": {
        **{f"z{separator}{at}": f"z_{gate}" for separator in ("", "_") for at, gate in enumerate("ifco")},
        "h_tm1": "h",
        "c_tm1": "c",
    },
    "SimpleRNNCell": {"h": "x_h", "output": "h", "prev_output": "h"},
}
_MEANINGLESS_IN_KERAS = frozenset({"output", "outputs", "x", "inputs", "last_output"})

Value = Any  # a tf.Tensor, a tuple of values, or None where it is not known
_CUTS = frozenset({"StridedSlice", "Slice", "GatherV2", "GatherNd"})
Step = tuple[Any, Sequence[FrameLocation]]  # an operation, and the places in code that made it, outermost first


@dataclass(frozen=True, eq=False)
class TensorNames:
    """The names of tensors of one graph, as they are found."""

    given: dict[str, tuple[Any, str]] = field(default_factory=dict)  # the tensor and its name, by the graph's name

    def give(self, name: str, value: Value, statement: Statement) -> None:
        """Name a value, and the parts of one that has several. The last name given is kept."""
        if isinstance(value, tuple):
            for at, part in enumerate(value):
                self.give(f"{name}_{at}" if len(value) > 1 else name, part, statement)
        elif value is not None and (spelled := _spelled(name, statement)):
            tensor = origin(value)
            if tensor.op.type not in UNNAMED and (tensor is value or tensor.name not in self.given):
                self.given[tensor.name] = (tensor, spelled)

    def by_operation(self) -> dict[str, tuple[str, ...]]:
        operations = {tensor.op.name: tensor.op for tensor, _ in self.given.values()}
        return {
            name: tuple(self.given.get(tensor.name, (None, ""))[1] for tensor in operation.outputs)
            for name, operation in operations.items()
        }


def _spelled(name: str, statement: Statement) -> str:
    if not name.strip("_"):
        return ""
    if not statement.of_keras:
        return name
    table = _KERAS_NAMES.get(statement.owner, {})
    return table.get(name, "" if name in _MEANINGLESS_IN_KERAS else name)


@dataclass(frozen=True, eq=False)
class Scope:
    """The names of one execution of a function: what they stand for, and the line that said so."""

    function: Function | None
    names: TensorNames
    values: dict[str, tuple[Value, int]] = field(default_factory=dict)

    def look_up(self, key: str, line: int) -> Value:
        """What a name stands for on a line, so far as what ran without an operation can't have changed it."""
        value, since = self.values.get(key, (None, 0))
        between = [node for node in self._assignments(key) if since < node.lineno < line and _may_be_silent(node, key)]
        if not between:
            return value
        silent = between[0].value
        return self.silent(silent, between[0].lineno) if len(between) == 1 and since == 0 and silent else None

    def _assignments(self, key: str) -> list[ast.Assign | ast.AugAssign | ast.AnnAssign]:
        statements = own_statements(self.function) if self.function else []
        return [node for node in statements if isinstance(node, _ASSIGNMENTS) and key in _keys(_target(node))]

    def silent(self, expression: ast.expr, line: int) -> Value:
        """The value of an expression that made no operation."""
        if key := key_of(expression):
            return self.look_up(key, line)
        if isinstance(expression, ast.Tuple | ast.List):
            return tuple(self.silent(element, line) for element in expression.elts)
        if isinstance(expression, ast.Subscript):
            return constant_part(self.silent(expression.value, line), expression.slice)
        if isinstance(expression, ast.Call):  # a cast to the same dtype, say: what it gives is what it was given
            given = [value for argument in expression.args if (value := self.silent(argument, line)) is not None]
            return given[0] if len(given) == 1 else None
        return None

    def bind(self, target: ast.expr, value: Value, statement: Statement) -> None:
        """Carry out an assignment, and those after it that only take the value apart."""
        if isinstance(target, ast.Tuple | ast.List):
            parts = value if isinstance(value, tuple) and len(value) == len(target.elts) else [None] * len(target.elts)
            # Of `h, states`, which may be one value, the first is its name: the last one given is kept.
            for element, part in reversed(list(zip(target.elts, parts, strict=True))):
                self.bind(element, part, statement)
        elif name := _name(target):
            self.names.give(name, value if _is_nameable(value) else None, statement)
            if key := key_of(target):
                self.values[key] = (value, statement.node.lineno)
                if isinstance(value, tuple):
                    self._take_apart(key, value, statement)

    def _take_apart(self, key: str, value: Value, statement: Statement) -> None:
        """`gates = split(x, 3)` followed by `z, r, n = gates`, or by `z = gates[0]`."""
        later = own_statements(self.function) if self.function else []
        for node in sorted(later, key=lambda node: node.lineno):
            if node.lineno <= statement.node.lineno or not isinstance(node, ast.Assign):
                continue
            read = node.value.value if isinstance(node.value, ast.Subscript) else node.value
            if key_of(read) == key:
                part = value if read is node.value else constant_part(value, node.value.slice)  # type: ignore[attr-defined]
                self.bind(
                    node.targets[0], part, Statement(node, statement.function, statement.owner, statement.of_keras)
                )
            if key in _keys(node.targets[0]):
                return

    def forget(self, statement: Statement) -> None:
        """A loop or an `if` that is part of the graph may give any of the names inside anew."""
        for node in ast.walk(statement.node):
            if isinstance(node, _ASSIGNMENTS):
                for key in _keys(_target(node)):
                    self.values.pop(key, None)


def origin(tensor: Any) -> Any:
    """What a tensor is a copy of."""
    while tensor.op.type == "Identity":
        tensor = tensor.op.inputs[0]
    return tensor


def constant_part(value: Value, index: ast.expr) -> Value:
    """One of several values, where the index is a number in the code."""
    at = index.value if isinstance(index, ast.Constant) else None
    return value[at] if isinstance(value, tuple) and isinstance(at, int) and at < len(value) else None


def key_of(expression: ast.expr) -> str:
    """`h` or `self.h` as the code has it; empty for anything else."""
    if isinstance(expression, ast.Name):
        return expression.id
    if isinstance(expression, ast.Attribute) and (inner := key_of(expression.value)):
        return f"{inner}.{expression.attr}"
    return ""


def _target(node: ast.Assign | ast.AugAssign | ast.AnnAssign) -> ast.expr:
    return node.targets[0] if isinstance(node, ast.Assign) else node.target


def _keys(target: ast.expr) -> set[str]:
    if isinstance(target, ast.Tuple | ast.List):
        return {key for element in target.elts for key in _keys(element)}
    return {key_of(target.value if isinstance(target, ast.Starred) else target)} - {""}


def _name(target: ast.expr) -> str:
    """What a reader would call it: a name, an attribute's, or the key of a dict."""
    if isinstance(target, ast.Subscript):
        key = target.slice.value if isinstance(target.slice, ast.Constant) else None
        return key if isinstance(key, str) and key.isidentifier() else ""
    return key_of(target).rpartition(".")[2]


def _may_be_silent(node: ast.Assign | ast.AugAssign | ast.AnnAssign, key: str) -> bool:
    """Whether an assignment can run without an operation, and make `key` another value than it was."""
    if isinstance(node, ast.AugAssign) or isinstance(node.value, ast.BinOp | ast.UnaryOp | ast.Compare | None):
        return False
    return isinstance(_target(node), ast.Tuple | ast.List) or key not in set(_read(node.value))


def _read(expression: ast.expr) -> Iterator[str]:
    return (key for node in ast.walk(expression) if isinstance(node, ast.expr) and (key := key_of(node)))


def _is_nameable(value: Value) -> bool:
    """Whether one name with numbers says what the parts are."""
    if not isinstance(value, tuple):
        return True
    makers = {part.op.name: part.op.type for part in value if part is not None and not isinstance(part, tuple)}
    return len(makers) != 1 or len(value) == 1 or set(makers.values()) <= _PARTS


def assigned(steps: Sequence[Step]) -> dict[str, tuple[str, ...]]:
    """Of the operations of one graph, in the order in which they were made, those that have names.

    Returns:
        By the operation's name, a name for each of its outputs, empty where an output has none.
    """
    names = TensorNames()
    for _, run in groupby(steps, lambda step: _function(step, 0)):
        _execution(list(run), 0, names)
    return names.by_operation()


def _function(step: Step, depth: int) -> object:
    """The function at a depth of the places of an operation; None where it was made further out."""
    return step[1][depth].function if len(step[1]) > depth else None


def _execution(steps: Sequence[Step], depth: int, names: TensorNames) -> Value:
    """Name what a function at `depth` made. Returns what it returns, None where that is not known."""
    if _function(steps[0], depth) is None:
        return None
    first = steps[0][1][depth]
    scope = Scope(None if first.in_lambda else first.statement.function, names)
    value: Value = None
    for _, run in groupby(steps, lambda step: id(step[1][depth].statement)):
        group = list(run)
        last = group[-1][1][depth]
        made = _Outputs([operation for operation, _ in group], *_inner(group, depth, names), scope)
        value = _carried_out(last, made, scope)
    if last.in_lambda or isinstance(last.statement.node, ast.Return):
        return value
    return _returned(last, scope)


def _inner(group: Sequence[Step], depth: int, names: TensorNames) -> tuple[Value, bool]:
    """Name what the functions made that a statement called. Returns what the last made, and whether one called did."""
    value: Value = None
    called = False
    for function, run in groupby(group, lambda step: _function(step, depth + 1)):
        steps = list(run)
        called = function is not None
        value = _execution(steps, depth + 1, names) if called else _outputs(steps[-1][0])
    return value, called


def _carried_out(place: FrameLocation, made: _Outputs, scope: Scope) -> Value:
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


def _returned(last: FrameLocation, scope: Scope) -> Value:
    """What a function returned whose `return` made no operation."""
    node, function = last.statement.node, last.statement.function
    returns = [found for found in own_statements(function) if isinstance(found, ast.Return)] if function else []
    after = [found for found in returns if found.lineno > (node.end_lineno or node.lineno)] or returns
    return scope.silent(after[0].value, after[0].lineno) if len(after) == 1 and after[0].value else None


class _Outputs:
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
