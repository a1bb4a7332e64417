"""The names that one execution of a function gives, and what can be said of those that left no operation behind."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rnnexport.source.statements import Function, Statement, own_statements

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


@dataclass(frozen=True, eq=False)
class Names:
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
    names: Names
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
