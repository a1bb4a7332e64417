"""The code of a model that looks at shapes in Python, by layer and line: eager Keras and a graph may differ there.

Read from the source of the model's own classes and functions, and of those that they call; where there is no source,
from what the compiled code names.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from rnnexport.source.api import Layer
from rnnexport.source.held import is_own, is_own_module
from rnnexport.source.model import SourceModel
from rnnexport.source.shape_tests import TELLING, decisions, returns_shape, shapes_handed_on
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
