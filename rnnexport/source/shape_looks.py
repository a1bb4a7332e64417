"""The code of a model that looks at shapes in Python, by layer and line: eager Keras and a graph may differ there.

Read from the source of the model's own classes and functions, and of those that they call; where there is no source,
from what the compiled code names.

Where the code of one function lets a shape decide: conditions, bounds of slices and the like, with their numbers.

    if x.shape[1] is not None and x.shape[1] > 64:      decides, at 64
    steps = min(keras.backend.int_shape(x)[1], 50)      decides, at 50
    position[:, : x.shape[1]]                           decides: an open length is no bound
    tf.zeros((x.shape[0], 4))                           decides nothing: it fails where the size is open

Run eagerly a shape is numbers; in a graph a size that is open is None, and so the other branch may be taken.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from rnnexport.source.api import Layer
from rnnexport.source.held import is_own, is_own_module
from rnnexport.source.model import SourceModel
from rnnexport.source.statements import Function

# What runs once, when a model is made or saved, and not in its call.
_NOT_CALLED = frozenset(
    (
        "__init__",
        "build",
        "get_config",
        "from_config",
        "compute_output_shape",
        "compute_output_spec",
        "get_build_config",
    )
)
_ROUNDS = 3  # a shape may go through as many functions
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
class Look:
    """One place where a shape decides.

    Attributes:
        layer: the name of the layer whose code it is, or that calls it.
        kind: the name of its class.
        file: the name of the file; of code without one, what it calls itself.
        line: the line.
        numbers: sizes at which it may go one way or the other; empty where they are not known.
    """

    layer: str
    kind: str
    file: str
    line: int
    numbers: frozenset[int]

    def __str__(self) -> str:
        return f"layer {self.layer} ({self.kind}) at {self.file}:{self.line}"


@dataclass(frozen=True, eq=False)
class _Called:
    """A function that a layer may call."""

    layer: Layer
    function: FunctionType

    @property
    def syntax(self) -> tuple[Function | ast.Lambda, ...]:
        return _definitions(self.function.__code__)


def looks(source: SourceModel) -> list[Look]:
    """Where the code of `source` lets a shape decide, each place once; nothing for a program, which has no code."""
    if source.api.name == "saved-model":
        return []
    called = [one for layer in source.api.layers(source.model) for one in _functions(layer)]
    telling, parameters = _through_functions(called)
    found: dict[tuple[str, int], Look] = {}
    for one in called:
        file = Path(one.function.__code__.co_filename).name
        names = telling | parameters.get(id(one.function.__code__), frozenset())
        for line, numbers in _decided(one, names):
            look = Look(one.layer.name, type(one.layer).__name__, file, line, numbers)
            found.setdefault((file, line), look)
    return list(found.values())


def _decided(one: _Called, telling: frozenset[str]) -> Iterator[tuple[int, frozenset[int]]]:
    known = partial(_number, one)
    if one.syntax:
        for syntax in one.syntax:
            yield from ((found.line, found.numbers) for found in decisions(syntax, telling, known))
        return
    codes = list(_codes(one.function.__code__))
    if any(TELLING & set(code.co_names) - {"len"} for code in codes):
        numbers = {value for code in codes for value in code.co_consts if type(value) is int and value > 0}
        yield one.function.__code__.co_firstlineno, frozenset(numbers)


def _through_functions(called: Iterable[_Called]) -> tuple[frozenset[str], dict[int, frozenset[str]]]:
    """`TELLING` with the functions of the model that give shapes, and by code the parameters that are given them."""
    telling, parameters = TELLING, dict[int, frozenset[str]]()
    for _ in range(_ROUNDS):
        handed = set()
        for one in called:
            code = one.function.__code__
            names = telling | parameters.get(id(code), frozenset())
            for syntax in one.syntax:
                handed |= set(shapes_handed_on(syntax, names))
                if returns_shape(syntax, names) and code.co_name != "<lambda>":
                    telling |= {code.co_name}
        for one in called:
            code = one.function.__code__
            taken = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            first = 1 if taken[:1] == ("self",) else 0
            given = {
                taken[first + at] if isinstance(at, int) else at
                for name, at in handed
                if name == code.co_name and (isinstance(at, str) or first + at < len(taken))
            }
            parameters[id(code)] = parameters.get(id(code), frozenset()) | given
    return telling, parameters


def _functions(layer: Layer) -> Iterator[_Called]:
    """The functions of the model's own code that a layer may call."""
    todo: list[Any] = list(vars(layer).values())
    if is_own(layer):
        todo += _methods(type(layer))
    seen: set[int] = set()
    while todo:
        value = _plain(todo.pop())
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, FunctionType):
            if is_own_module(value.__module__):
                yield _Called(layer, value)
                todo += [_known(value, name) for code in _codes(value.__code__) for name in code.co_names]
                todo += [_known(value, name) for name in value.__code__.co_freevars]
        elif isinstance(value, list | tuple):
            todo += value
        elif isinstance(value, dict):
            todo += value.values()
        elif is_own_module(type(value).__module__) and not hasattr(value, "trainable_weights"):
            todo += [*_methods(type(value)), *getattr(value, "__dict__", {}).values()]


def _methods(kind: type) -> list[Any]:
    own = [base for base in kind.__mro__ if is_own_module(base.__module__)]
    return [value for base in own for name, value in vars(base).items() if name not in _NOT_CALLED]


def _plain(value: Any) -> Any:
    """The function in a property, a method, a `tf.function`, a partial, or a decorator that keeps what it wraps."""
    for name in ("fget", "__func__", "python_function", "func", "__wrapped__"):
        if not isinstance(value, type) and isinstance(found := getattr(value, name, None), FunctionType):
            value = found
    return value


def _known(function: FunctionType, name: str) -> Any:
    """What a name outside of a function stands for; None where it is not known."""
    if name in function.__code__.co_freevars:
        cell = (function.__closure__ or ())[function.__code__.co_freevars.index(name)]
        try:
            return cell.cell_contents
        except ValueError:
            return None  # not filled yet
    return function.__globals__.get(name)


def _number(one: _Called, node: ast.expr) -> int | None:
    """The whole number that `name` or `self.name` stands for."""
    if isinstance(node, ast.Name):
        value = _known(one.function, node.id)
        defaults = dict(zip(reversed(one.function.__code__.co_varnames[: one.function.__code__.co_argcount]),
                            reversed(one.function.__defaults__ or ()), strict=False))  # fmt: skip
        value = defaults.get(node.id) if value is None else value
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        value = getattr(one.layer, node.attr, None)
    else:
        return None
    return value if type(value) is int else None


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code, and that of the functions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _definitions(code: CodeType) -> tuple[Function | ast.Lambda, ...]:
    """The syntax of a function; of a lambda that of all on its line. Nothing where its file is gone or has changed."""
    linecache.checkcache(code.co_filename)
    found = _by_line("".join(linecache.getlines(code.co_filename))).get(code.co_firstlineno, ())
    return tuple(one for one in found if getattr(one, "name", "<lambda>") == code.co_name)


@lru_cache(maxsize=64)
def _by_line(text: str) -> dict[int, tuple[Function | ast.Lambda, ...]]:
    found: dict[int, tuple[Function | ast.Lambda, ...]] = {}
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return {}
    for node in ast.walk(tree):
        if isinstance(node, Function | ast.Lambda):
            line = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
            found[line] = (*found.get(line, ()), node)
    return found


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
