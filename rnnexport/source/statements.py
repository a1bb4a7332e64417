"""The statement of Python code that a frame of a traceback is in, read from the file that the frame names."""

from __future__ import annotations

import ast
import linecache
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef
Frame = tuple[str, int, str]  # file, line, name of the function
Lines = Mapping[int, "Statement | None"]  # None where several statements are on one line

_LAMBDA = "<lambda>"
# Keras' layers whose local names say something, and what among these only runs other layers.
_TELLING = frozenset({"attention", "normalization", "rnn"})
_PLUMBING = frozenset(
    {
        *("rnn.py", "base_rnn.py", "stacked_rnn_cells.py", "bidirectional.py", "time_distributed.py", "rnn_utils.py"),
        *("base_wrapper.py", "cell_wrappers.py", "dropout_rnn_cell.py", "dropout_rnn_cell_mixin.py"),
        "gru_lstm_utils.py",
    }
)
_KERAS = ("keras", "tf_keras")
_NOT_THE_MODEL = (*_KERAS, "tensorflow", "rnnexport")


@dataclass(frozen=True, eq=False)
class Statement:
    """One statement of a file.

    Attributes:
        node: its syntax.
        function: the function that it is in; None at the top of a file.
        owner: the name of the class that the function is in; empty where there is none.
        of_keras: whether Keras wrote it.
    """

    node: ast.stmt
    function: Function | None
    owner: str
    of_keras: bool

    @property
    def is_compound(self) -> bool:
        """Whether it holds other statements: an `if`, a loop, a `with`, a definition."""
        return hasattr(self.node, "body") or isinstance(self.node, ast.Match)


@dataclass(frozen=True, eq=False)
class FrameLocation:
    """Where a frame is: in a statement of a function, or in a lambda, whose statement is the one that defines it."""

    statement: Statement
    in_lambda: bool

    @property
    def function(self) -> tuple[int, bool]:
        """Equal for places in one function."""
        return id(self.statement if self.in_lambda else self.statement.function), self.in_lambda


@dataclass(frozen=True, eq=False)
class Code:
    """The files that frames name, each read once, when first asked for.

    A file that is gone, can't be parsed, or has another function on that line gives no places.
    """

    _files: dict[str, Lines] = field(default_factory=dict)
    _packages: dict[str, str] = field(default_factory=lambda: {name: _folder(name) for name in _NOT_THE_MODEL})

    def places(self, frames: Iterable[Frame]) -> list[FrameLocation]:
        """Those of `frames` that are in the model's code or in Keras' own layers, outermost first."""
        found: list[FrameLocation] = []
        for file, line, name in frames:
            if (place := self._place(file, line, name)) is not None:
                if found and _holds(found[-1].statement, place.statement):
                    found.pop()  # autograph calls the body of an `if` or a loop as a function of its own
                found.append(place)
        return found

    def _place(self, file: str, line: int, name: str) -> FrameLocation | None:
        if file not in self._files:
            self._files[file] = self._lines(file)
        statement = self._files[file].get(line)
        if statement is None:
            return None
        if name == _LAMBDA:
            return FrameLocation(statement, in_lambda=True)
        if name != (statement.function.name if statement.function else "<module>"):
            return None  # a comprehension, which is in a function's place too; or the file has changed since
        return FrameLocation(statement, in_lambda=False)

    def _lines(self, file: str) -> Lines:
        package = next((name for name, folder in self._packages.items() if folder and file.startswith(folder)), "")
        if package and (package not in _KERAS or not _is_layer(file.removeprefix(self._packages[package]))):
            return {}
        linecache.checkcache(file)
        return _parsed("".join(linecache.getlines(file)), bool(package))


def own_statements(function: Function) -> list[ast.stmt]:
    """Every statement of a function, without those of functions and classes defined in it."""
    return [
        statement.node for statement in _statements(function, function, "", False) if statement.function is function
    ]


@lru_cache(maxsize=64)
def _parsed(text: str, of_keras: bool) -> Lines:
    """The statement on each line. Kept, for one model is traced several times."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of code that has been imported
            statements = list(_statements(ast.parse(text), None, "", of_keras))
    except (SyntaxError, ValueError, RecursionError):
        return {}
    lines: dict[int, Statement | None] = {}
    for statement in statements:
        for line in _own_lines(statement):
            lines[line] = None if line in lines else statement
    return lines


def _folder(package: str) -> str:
    """Where a package is, with the separator behind; empty if it was not imported, so that no frame can be in it."""
    module = sys.modules.get(package)
    return f"{Path(module.__file__).parent}{os.sep}" if module and module.__file__ else ""


def _is_layer(path: str) -> bool:
    parts = Path(path).parts
    return parts[:2] == ("src", "layers") and parts[2] in _TELLING and parts[-1] not in _PLUMBING


def _holds(outer: Statement, inner: Statement) -> bool:
    """Whether `inner` is in the body of `outer`, both of one function."""
    end = outer.node.end_lineno or outer.node.lineno
    return (
        outer.is_compound
        and outer is not inner
        and outer.function is inner.function
        and outer.node.lineno <= inner.node.lineno <= end
    )


def _statements(parent: ast.AST, function: Function | None, owner: str, of_keras: bool) -> Iterator[Statement]:
    """Every statement below `parent`, outer ones first."""
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.stmt):
            yield Statement(node, function, owner, of_keras)
        if isinstance(node, Function):
            yield from _statements(node, node, owner, of_keras)
        elif isinstance(node, ast.ClassDef):
            yield from _statements(node, None, node.name, of_keras)
        elif isinstance(node, ast.stmt | ast.excepthandler | ast.match_case):
            yield from _statements(node, function, owner, of_keras)


def _own_lines(statement: Statement) -> range:
    """The lines of a statement; of one that holds others, those before the first of them."""
    node = statement.node
    first = getattr(node, "body", None) or getattr(node, "cases", None)
    if not first:
        return range(node.lineno, (node.end_lineno or node.lineno) + 1)
    inner = first[0].pattern if isinstance(first[0], ast.match_case) else first[0]
    start = min([inner.lineno, *(decorator.lineno for decorator in getattr(inner, "decorator_list", []))])
    return range(node.lineno, start)
