"""Functions that a program carries a copy of; they need NumPy and one another."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from types import FunctionType

# In the order in which a program has them.
MODULES = ("arrays", "networks", "resizing", "scanning")


def names_of_all() -> tuple[str, ...]:
    """The names of all functions."""
    return tuple(_functions())


def source_of(name: str) -> str:
    """The text of a function, as a program has it.

    Raises:
        KeyError: there is no function of that name.
    """
    return inspect.getsource(_functions()[name])


def closure_of(names: Iterable[str]) -> tuple[str, ...]:
    """These functions and all that they call, in an order in which each comes after what it calls.

    Raises:
        ValueError: there is no function of one of the names.
    """
    found: list[str] = []
    order = list(_functions())
    for name in sorted(set(names), key=order.index):
        _visit(name, found)
    return tuple(found)


def _visit(name: str, found: list[str]) -> None:
    if name not in found:
        for other in _called(name):
            _visit(other, found)
        found.append(name)


@cache
def _called(name: str) -> tuple[str, ...]:
    """The functions of this folder that it uses, in the order of their names."""
    nodes = list(ast.walk(ast.parse(source_of(name))))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    read = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    own = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
    own |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    return tuple(sorted(read & set(_functions()) - own - {name}))


@cache
def _functions() -> dict[str, FunctionType]:
    """All functions that the modules define, by name."""
    found: dict[str, FunctionType] = {}
    for name in MODULES:
        module = import_module(f"{__name__}.{name}")
        own = inspect.getmembers(module, inspect.isfunction)
        made = [function for _, function in own if function.__module__ == module.__name__]
        found |= {
            function.__name__: function for function in sorted(made, key=lambda made: made.__code__.co_firstlineno)
        }
    return found
