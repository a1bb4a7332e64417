"""The text of a NumPy program: written with its archive, read, parsed, and run as a module of its own."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from rnnexport.artifact import archive
from rnnexport.core.errors import ForeignCode, UsageError, reason

# No program of rnnexport comes near it: its arrays are in the archive.
LIMIT = 1 << 24
_MODEL = "MODEL"
# What the class of a model tells of itself.
_TOLD = ("INPUTS", "OUTPUTS", "STATES", "SIGNATURE", "step")


def write(path: Path, text: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a program, and the archive of its arrays beside it.

    Raises:
        OSError: it can't be written.
    """
    path.write_bytes(text.encode())
    archive.write(archive.archive_of(path), arrays)


def read_text(path: Path) -> bytes:
    """The program as it lies in its file.

    Raises:
        UsageError: it can't be read, or is larger than any program of rnnexport.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LIMIT + 1)
    except OSError as error:
        raise UsageError(f"can't read {path}: {error.strerror}", "a readable file", "check its rights") from error
    if len(text) > LIMIT:
        raise UsageError(f"{path.name} has more than {LIMIT} bytes", "a program of rnnexport", "export it again")
    return text


def parsed(path: Path) -> ast.Module:
    """The program as a syntax tree; nothing of it runs.

    Raises:
        UsageError: it can't be read, or is no Python.
    """
    text = read_text(path)
    with ForeignCode(partial(_no_python, path)):
        return ast.parse(text, path.name)


def opened(path: Path) -> Any:
    """Run the program, and make its model in float32, which reads its own archive. What is in the file is executed.

    The text alone is compiled: no `__pycache__` is read or written. The module is in nobody's `sys.modules`, so that
    two programs of one name don't meet.

    Raises:
        UsageError: it can't be read, is no Python or no program of rnnexport; or it raises.
    """
    tree = parsed(path)
    if not any(_assigns_model(node) for node in tree.body):
        raise UsageError(f"no {_MODEL} in {path.name}", "a program of rnnexport", "export it again")
    module = ModuleType(path.stem)
    module.__file__ = str(path.absolute())
    with ForeignCode(partial(_refused, path)):
        exec(compile(tree, str(path), "exec", dont_inherit=True), module.__dict__)
        model = module.__dict__[_MODEL](dtype=np.float32)  # which finds its archive by itself
        missing = [name for name in _TOLD if not hasattr(model, name)]
    if missing:
        raise UsageError(f"no {missing[0]} in the model of {path.name}", "a program of rnnexport", "export it again")
    return model


def _assigns_model(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and any(isinstance(at, ast.Name) and at.id == _MODEL for at in node.targets)


def _no_python(path: Path, error: BaseException) -> UsageError:
    return UsageError(f"{path.name} is no Python ({reason(error)})", "a program of rnnexport", "export it again")


def _refused(path: Path, error: BaseException) -> UsageError:
    return UsageError(f"{path.name} can't be loaded: {reason(error)}", "a program that runs", "export it again")
