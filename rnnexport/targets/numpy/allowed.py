"""Whether a program computes and does nothing else, told before anything of it runs.

A program is taken if it is put together as `rnnexport.emit.numpy` puts one together:

1. The module imports what every program imports, and binds each name once: functions, a class, `WEIGHTS`, `MODEL`.
2. What reads files and the command line (`load_weights`, `checked`, `__init__`, `main`) is text that some rnnexport
   wrote, by its SHA-256.
3. Every other function is a computation, see `computation`.

4. It is UTF-8 with plain line ends, and begins with its docstring: no line of it declares another encoding.

A loop without an end and an array without bounds pass: time and memory are limited where a program is verified.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
from functools import partial
from pathlib import Path

from rnnexport.core.errors import ForeignCode, UsageError, reason
from rnnexport.targets.numpy.computation import OtherError, check_computation, shown
from rnnexport.targets.numpy.program import read_text

_IMPORTS = (
    "from __future__ import annotations",
    *(f"import {name}" for name in ("argparse", "sys", "zipfile", "zlib")),
    "from pathlib import Path",
    "from types import SimpleNamespace",
    "import numpy as np",
)
_NAMES_OF = {"collections.abc": ("Callable", "Mapping", "Sequence"), "typing": ("Any", "ClassVar")}
_WEIGHTS = "WEIGHTS = Path(__file__).with_suffix('.npz')"
_GUARD = "if __name__ == '__main__':\n    main(MODEL)"
_STEP = "np.errstate(all='ignore')"
_METHODS = ("__init__", "initial_state", "reset", "__call__", "step")
_TOLD = ("INPUTS", "OUTPUTS", "STATES", "SIGNATURE")
# SHA-256 of the functions of `emit.numpy.skeleton` and of the `__init__` of a class. Those of earlier versions stay.
FRAME = {
    "load_weights": frozenset(("bbe673c4552f4f84333935b934a637b3b586728184dbc53f7c67f998b2bd4e42",)),
    "checked": frozenset(("a2b8823f80a3c9a80eab3086475429b6c43dca72d9ae7b8f026f8d2aa2de890d",)),
    "main": frozenset(("123231baffb3df53e1d0775fa81d33372916b2a4834a595e01cc1f8429db2208",)),
    "__init__": frozenset(("6feba56a8ca5bfefab610ff3b3454dc2b6602ae8b7941b150396a298e2798233",)),
}


def check_code(path: Path) -> None:
    """Refuse a program that may do more than compute.

    Raises:
        UsageError: names the line and what is there; or the file can't be read, or is no Python.
    """
    with ForeignCode(partial(_refused, path)):
        check_text(read_text(path))


def check_text(text: bytes) -> None:
    """See `check_code`.

    Raises:
        OtherError: tells the line and what is there.
        SyntaxError, ValueError, RecursionError: it is no Python, or nested deeper than Python looks.
    """
    tree = ast.parse(text)
    if not text.startswith(b'"""') or b"\r" in text:
        raise OtherError(tree, "does not begin with a docstring, or has other line ends")
    _check_module(tree, text.decode().split("\n"))


def digest(lines: list[str], node: ast.FunctionDef) -> str:
    """SHA-256 in hexadecimal of the text of a function."""
    return hashlib.sha256("\n".join(lines[node.lineno - 1 : node.end_lineno]).encode()).hexdigest()


def _check_module(tree: ast.Module, lines: list[str]) -> None:
    functions = frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    callable_ = functions - {"load_weights", "main"}
    bound = set(dir(builtins))
    for node in tree.body:
        for name in _bound(node):
            if name in bound:
                raise OtherError(node, f"binds {name}")
            bound.add(name)
        if isinstance(node, ast.FunctionDef):
            _check_function(node, lines, callable_, method=False)
        elif isinstance(node, ast.ClassDef):
            _check_class(node, lines, callable_)
        elif not (_is_text(node) or _is_import(node) or _is_frame(node, classes)):
            raise OtherError(node, f"holds {shown(node)}")
    if "annotations" not in bound:  # without it they would run
        raise OtherError(tree, "does not import annotations from __future__")


def _bound(node: ast.stmt) -> list[str]:
    """The names that a statement of the module binds."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    return (
        [target.id for target in node.targets if isinstance(target, ast.Name)] if isinstance(node, ast.Assign) else []
    )


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_import(node: ast.stmt) -> bool:
    if isinstance(node, ast.ImportFrom) and node.module in _NAMES_OF and node.level == 0:
        return all(alias.name in _NAMES_OF[node.module] and alias.asname is None for alias in node.names)
    return ast.unparse(node) in _IMPORTS


def _is_frame(node: ast.stmt, classes: list[str]) -> bool:
    """Whether it is one of the statements that a module has besides."""
    return ast.unparse(node) in (_WEIGHTS, _GUARD, *(f"MODEL = {name}" for name in classes))


def _check_class(node: ast.ClassDef, lines: list[str], functions: frozenset[str]) -> None:
    if node.bases or node.keywords or node.decorator_list:
        raise OtherError(node, f"gives {node.name} bases or a decorator")
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and part.name in _METHODS:
            _check_function(part, lines, functions, method=True)
        elif not _is_text(part) and not _is_told(part):
            raise OtherError(part, f"holds {shown(part)}")


def _is_told(node: ast.stmt) -> bool:
    """Whether a statement of the class tells a boundary, in literals alone."""
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        target, value = ast.unparse(node.target), node.value
    elif isinstance(node, ast.Assign) and len(node.targets) == 1:
        target, value = ast.unparse(node.targets[0]), node.value
    else:
        return False
    kinds = (ast.Constant, ast.Tuple, ast.Dict, ast.expr_context)
    return target in _TOLD and all(isinstance(part, kinds) for part in ast.walk(value))


def _check_function(node: ast.FunctionDef, lines: list[str], functions: frozenset[str], *, method: bool) -> None:
    if [ast.unparse(each) for each in node.decorator_list] not in ([], [_STEP] if method else []):
        raise OtherError(node, f"decorates {node.name}")
    if node.name not in FRAME:
        check_computation(node, functions, method=method)
    elif digest(lines, node) not in FRAME[node.name] or (node.name == "__init__") != method:
        raise OtherError(node, f"has a {node.name} of its own")


def _refused(path: Path, error: BaseException) -> UsageError:
    what = str(error) if isinstance(error, OtherError) else reason(error)
    return UsageError(
        f"{path.name} is no program as rnnexport writes one: {what}",
        "the computation of a model and nothing else",
        "export the model again, or give --allow-unsafe if you trust whoever wrote it",
    )
