"""Whether a program computes and does nothing else, told before anything of it runs.

A program is taken if it is put together as `rnnexport.emit.numpy` puts one together:

1. The module imports what every program imports, and binds each name once: functions, a class, `WEIGHTS`, `MODEL`.
2. What reads files and the command line (`load_weights`, `checked`, `__init__`, `main`) is text that some rnnexport
   wrote, by its SHA-256.
3. Every other function is a computation, see `computation`.

4. It is UTF-8 with plain line ends, and begins with its docstring: no line of it declares another encoding.

A loop without an end and an array without bounds pass: time and memory are limited where a program is verified.

Whether a function of a program computes and does nothing else, read off its syntax tree.

It holds assignments, loops, branches and arithmetic. It reads its own variables, the functions of the program and
harmless builtins; of NumPy the functions below, none of which touches a file, memory by its address or Python's
objects; of an array the attributes below; of the model its weights and what it carries.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
from functools import cache, partial
from pathlib import Path

import numpy as np

from rnnexport.core.errors import ForeignCode, UsageError, reason
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
_BUILTINS = frozenset(
    """
    ValueError abs all any bool dict divmod enumerate float int isinstance len list map max min range reversed round
    slice sorted str sum tuple zip
    """.split()  # noqa: SIM905 - one long list
)
# Of NumPy, beside every ufunc and every numeric dtype.
_FUNCTIONS = frozenset(
    """
    all any arange argmax argmin argsort array array_equal asarray broadcast_arrays broadcast_shapes broadcast_to
    can_cast clip compress concatenate copy cumprod cumsum diag diagonal diff dot dtype e einsum empty empty_like
    expand_dims eye finfo flip full full_like iinfo indices inf interp isclose linalg.det linalg.inv linalg.norm
    lib.stride_tricks.sliding_window_view linspace max mean min moveaxis nan nan_to_num ndim ndindex newaxis nonzero
    ones ones_like outer pad pi polynomial.chebyshev.chebval prod promote_types put_along_axis ravel repeat reshape
    result_type roll round searchsorted shape size sort split squeeze stack std sum swapaxes take take_along_axis
    tensordot tile trace transpose tri tril triu unique var vstack where zeros zeros_like
    """.split()  # noqa: SIM905
)
_ATTRIBUTES = frozenset(
    """
    T accumulate all any append argmax argmin argsort astype at clip compress copy cumprod cumsum diagonal dot dtype
    fill flatten get imag item items itemsize keys kind max mean min ndim nonzero outer prod ravel real reduce repeat
    reshape round setdefault shape size sort squeeze std sum swapaxes take tolist transpose values var view
    """.split()  # noqa: SIM905
)
_OF_SELF = frozenset(("dtype", "initial_state", "states", "step", "weights"))
_NODES = (
    *(ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Expr, ast.Return, ast.If, ast.For, ast.While, ast.Raise, ast.Pass),
    *(ast.Break, ast.Continue, ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.comprehension),
    *(ast.Constant, ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.Call, ast.keyword, ast.Starred),
    *(ast.Tuple, ast.List, ast.Dict, ast.Set, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.JoinedStr, ast.FormattedValue),
)
_READS_WEIGHTS = "w = self.weights"
_LAYER_AND_NAME = 2
_SHOWN = 60


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


class OtherError(Exception):
    """Something that no program of rnnexport has, and where."""

    def __init__(self, node: ast.AST, what: str) -> None:
        super().__init__(f"line {getattr(node, 'lineno', 1)} {what}")


def check_computation(function: ast.FunctionDef, functions: frozenset[str], *, method: bool) -> None:
    """Look at every node that runs: neither annotations nor decorators.

    Args:
        function: the function.
        functions: the names of those that it may call.
        method: whether it is one of the model, where `self`, and as `w` the weights, can be read.

    Raises:
        OtherError: it may do more than compute.
        RecursionError: it is nested deeper than Python looks.
    """
    given = function.args
    names = [arg.arg for arg in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    if given.vararg or given.kwarg or (method and names[:1] != ["self"]):
        raise OtherError(function, f"gives {function.name} other arguments")
    checker = _Checker(_variables(function, names[1:] if method else names), functions, method=method)
    for node in (*given.defaults, *given.kw_defaults, *function.body):
        if node is not None:
            checker.visit(node)


def _variables(function: ast.FunctionDef, names: list[str]) -> set[str]:
    stored = [node for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    return {*names, *(node.id for node in stored)}


class _Checker(ast.NodeVisitor):
    """See `check_computation`."""

    def __init__(self, variables: set[str], functions: frozenset[str], *, method: bool) -> None:
        self._method = method
        self._fixed = {"np", "self", "w"} if method else {"np"}
        self._readable = variables | functions | _BUILTINS | ({"self"} if method else set())
        self._readable -= {"np"}

    def generic_visit(self, node: ast.AST) -> None:
        if not isinstance(node, _NODES):
            raise OtherError(node, f"holds {shown(node)}")
        super().generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if not (self._method and ast.unparse(node) == _READS_WEIGHTS):
            self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)

    def visit_Raise(self, node: ast.Raise) -> None:
        if not (isinstance(node.exc, ast.Call) and ast.unparse(node.exc.func) == "ValueError") or node.cause:
            raise OtherError(node, "raises something else than ValueError")
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        # `list[np.ndarray]` is a list: `np.ndarray` itself could be called with a buffer.
        if not (isinstance(node.value, ast.Name) and node.value.id in ("list", "tuple")):
            self.generic_visit(node)
        elif any(not isinstance(part, _OF_TYPES) for part in ast.walk(node)):
            raise OtherError(node, f"holds {shown(node)}")

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store) and node.id in self._fixed:
            raise OtherError(node, f"binds {node.id}")
        if node.id not in self._readable or node.id.startswith("__"):
            raise OtherError(node, f"reads {node.id}")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        root, path = _path(node)
        stored = not isinstance(node.ctx, ast.Load)
        if root == "np" and not stored and ".".join(path) in _numpy():
            return
        if self._method and root in ("self", "w"):
            allowed = ast.unparse(node) == "self.states" if stored else self._of_the_model(root, path)
            if allowed:
                return
        if stored or node.attr not in _ATTRIBUTES:
            raise OtherError(node, f"{'sets' if stored else 'reads'} {shown(node)}")
        self.visit(node.value)

    def _of_the_model(self, root: str, path: list[str]) -> bool:
        """Whether it is one of the attributes of a model, or the weights of a layer, or one of these."""
        if any(name.startswith("_") for name in path):
            return False
        if root == "self" and path != ["weights", *path[1:]]:
            return len(path) == 1 and path[0] in _OF_SELF
        below = path[1:] if root == "self" else path
        return len(below) <= _LAYER_AND_NAME


_OF_TYPES = (ast.Subscript, ast.Name, ast.Attribute, ast.Tuple, ast.Constant, ast.expr_context)


def _path(node: ast.Attribute) -> tuple[str, list[str]]:
    """`a.b.c` as ("a", ["b", "c"]); an empty root for the attribute of something that has no name."""
    path: list[str] = []
    at: ast.expr = node
    while isinstance(at, ast.Attribute):
        path.insert(0, at.attr)
        at = at.value
    return (at.id if isinstance(at, ast.Name) else ""), path


@cache
def _numpy() -> frozenset[str]:
    """What may be read of NumPy, by its name behind `np.`."""
    own = {name: value for name, value in vars(np).items() if not name.startswith("_")}
    ufuncs = {name for name, value in own.items() if isinstance(value, np.ufunc)}
    kinds = (np.number, np.bool_)
    dtypes = {name for name, value in own.items() if isinstance(value, type) and issubclass(value, kinds)}
    return _FUNCTIONS | ufuncs | dtypes


def shown(node: ast.AST) -> str:
    """A piece of a program for a message: its first line, cut short."""
    text = ast.unparse(node).splitlines()[0] if isinstance(node, ast.stmt | ast.expr) else type(node).__name__
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
