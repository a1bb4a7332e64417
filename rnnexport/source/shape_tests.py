"""Where the code of one function lets a shape decide: conditions, bounds of slices and the like, with their numbers.

    if x.shape[1] is not None and x.shape[1] > 64:      decides, at 64
    steps = min(keras.backend.int_shape(x)[1], 50)      decides, at 50
    position[:, : x.shape[1]]                           decides: an open length is no bound
    tf.zeros((x.shape[0], 4))                           decides nothing: it fails where the size is open

Run eagerly a shape is numbers; in a graph a size that is open is None, and so the other branch may be taken.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from rnnexport.source.statements import Function

# What gives a shape, of Python, TensorFlow and both Kerases.
TELLING = frozenset(("shape", "get_shape", "int_shape", "static_shape", "as_list", "dims", "len"))
_ANY = 2  # stands for None: whichever size there is instead
_DECIDING_CALLS = frozenset({"min", "max", "bool", "isinstance", "any", "all"})
_OPERATIONS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
}
_RANKS = frozenset({"ndim", "ndims", "rank"})
_WITHIN = (ast.expr, ast.keyword, ast.comprehension)
Known = Callable[[ast.expr], int | None]  # the number that a name or an attribute stands for


@dataclass(frozen=True)
class Decision:
    """A place where a shape decides.

    Attributes:
        line: in the file.
        numbers: at which it may go one way or the other; empty where they are not known.
    """

    line: int
    numbers: frozenset[int]


def decisions(function: Function | ast.Lambda, telling: frozenset[str], known: Known) -> list[Decision]:
    """Where a shape decides in a function.

    Args:
        function: its syntax.
        telling: names of functions and attributes that give a shape, `TELLING` among them, and of parameters.
        known: what its names stand for, where that is a whole number.
    """
    names = telling | _given_shapes(function, telling)
    found: dict[int, set[int]] = {}
    for node in ast.walk(function):
        for expression in _deciding(node):
            if _tells(expression, names):
                found.setdefault(expression.lineno, set()).update(_numbers(expression, known))
    return [Decision(line, frozenset(numbers)) for line, numbers in sorted(found.items())]


def returns_shape(function: Function | ast.Lambda, telling: frozenset[str]) -> bool:
    """Whether what a function gives may be, or be made of, a shape."""
    names = telling | _given_shapes(function, telling)
    values = [function.body] if isinstance(function, ast.Lambda) else _returned(function)
    return any(_is_size(value, names) for value in values)


def shapes_handed_on(function: Function | ast.Lambda, telling: frozenset[str]) -> Iterator[tuple[str, int | str]]:
    """(name of a function, place or name of a parameter) wherever a function is called with a shape."""
    names = telling | _given_shapes(function, telling)
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and (name := _last_name(node.func)):
            yield from ((name, at) for at, value in enumerate(node.args) if _is_size(value, names))
            yield from ((name, key.arg) for key in node.keywords if key.arg and _is_size(key.value, names))


def _returned(function: Function) -> list[ast.expr]:
    return [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value is not None]


def _given_shapes(function: Function | ast.Lambda, telling: frozenset[str]) -> frozenset[str]:
    """The local names that are given a shape, or what was computed from one, whatever the order."""
    names: set[str] = set()
    while True:
        more = {
            name.id
            for node in ast.walk(function)
            for target, value in _assigned(node)
            if _is_size(value, telling | names)
            for name in ast.walk(target)
            if isinstance(name, ast.Name)
        }
        if more <= names:
            return frozenset(names)
        names |= more


def _assigned(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    if isinstance(node, ast.Assign):
        yield from ((target, node.value) for target in node.targets)
    elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value is not None:
        yield node.target, node.value
    elif isinstance(node, ast.For | ast.comprehension):
        yield node.target, node.iter


def _deciding(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions of a node that decide something."""
    if isinstance(node, ast.If | ast.While | ast.IfExp | ast.Assert):
        yield node.test
    elif isinstance(node, ast.BoolOp | ast.Compare):
        yield node
    elif isinstance(node, ast.Slice):
        yield from (bound for bound in (node.lower, node.upper) if bound is not None)
    elif isinstance(node, ast.Call) and _last_name(node.func) in _DECIDING_CALLS:
        yield node
    elif isinstance(node, ast.Match):
        yield node.subject
    elif isinstance(node, ast.Try):
        yield from (statement.value for statement in node.body if isinstance(statement, ast.Assign | ast.Expr))


def _tells(expression: ast.AST, names: frozenset[str]) -> bool:
    """Whether a shape is anywhere in an expression. A rank never changes, nor the shape of a layer's own attribute."""
    if isinstance(expression, ast.Call) and _last_name(expression.func) == "len" and len(expression.args) == 1:
        if _is_size(expression.args[0], names):
            return False
    elif isinstance(expression, ast.Name):
        return expression.id in names
    elif isinstance(expression, ast.Attribute):
        if expression.attr in names:
            return not _is_own(expression.value)
        if expression.attr in _RANKS:
            return False
    return any(_tells(node, names) for node in ast.iter_child_nodes(expression) if isinstance(node, _WITHIN))


def _is_size(value: ast.expr, names: frozenset[str]) -> bool:
    """Whether a value is a shape or a number made of one, rather than a tensor that is made with one."""
    if isinstance(value, ast.Call):
        return _last_name(value.func) in names | {"int", "min", "max", "list", "tuple", "range", "enumerate"} and (
            _tells(value, names)
        )
    if isinstance(value, ast.Subscript | ast.Starred):
        return _is_size(value.value, names)
    if isinstance(value, ast.Attribute):
        return value.attr in names and not _is_own(value.value)
    if isinstance(value, ast.Name):
        return value.id in names
    if isinstance(value, ast.BinOp):
        return _is_size(value.left, names) or _is_size(value.right, names)
    if isinstance(value, ast.BoolOp | ast.Tuple | ast.List):
        return any(_is_size(part, names) for part in (value.values if isinstance(value, ast.BoolOp) else value.elts))
    if isinstance(value, ast.IfExp):
        return any(_is_size(part, names) for part in (value.test, value.body, value.orelse))
    return isinstance(value, ast.Compare) and _tells(value, names)


def _is_own(value: ast.expr) -> bool:
    """Whether it is an attribute of the layer itself."""
    return isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name) and value.value.id == "self"


def _last_name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _numbers(expression: ast.expr, known: Known) -> set[int]:
    """The numbers in an expression, but for those that say which axis; and those that come of two of them."""
    found = {number for node in _without_indices(expression) if (number := _value(node, known)) is not None}
    made = {value for one, two in product(found, found) for value in (one + two, one * two, one * (two + 1))}
    computes = any(isinstance(node, ast.BinOp) for node in ast.walk(expression))
    return {number for number in (found | made if computes else found) if number > 0}


def _without_indices(expression: ast.expr) -> Iterator[ast.expr]:
    todo: list[ast.AST] = [expression]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.expr):
            yield node
        todo += [node.value] if isinstance(node, ast.Subscript) else ast.iter_child_nodes(node)


def _value(node: ast.expr, known: Known) -> int | None:
    if isinstance(node, ast.Constant):
        return _ANY if node.value is None else node.value if type(node.value) is int else None
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left, known), _value(node.right, known)
        operation = _OPERATIONS.get(type(node.op))
        return None if operation is None or left is None or right is None else operation(left, right)
    return known(node) if isinstance(node, ast.Name | ast.Attribute) else None
