"""What a SavedModel folder is, and whether running it does more than compute. Needs no TensorFlow.

A SavedModel is a TensorFlow program. Of its functions those run that its serving signature reaches, the one that the
objects of the folder name so; none of these may hold an operator that does more than compute. Objects whose set-up runs
while the folder is loaded (tables, assets, savers of their own) are refused, and so are folders of TensorFlow 1, which
run a graph to start.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from rnnexport.core.errors import ConversionError, UsageError
from rnnexport.source.saved_model_proto import COMPUTING, parse_saved_model

PROGRAM = "saved_model.pb"
SERVING = "serving_default"
_KERAS_METADATA = "keras_metadata.pb"
_SIGNATURES = "signatures"
# A constant of one value throughout is stored as that value.
_VALUES_A_BYTE, _FEW_VALUES = 4, 2**22
# TensorFlow, and every converter, writes out each call of a function where it stands.
_TIMES_THE_STORED, _FEW_OPERATORS = 4, 50_000


@dataclass(frozen=True)
class SavedModelFile:
    """A SavedModel folder that was looked at.

    Attributes:
        tensorflow_version: that wrote it.
        keras: whether Keras 2 wrote its own objects into it.
        signatures: names of its signatures.
    """

    tensorflow_version: str
    keras: bool
    signatures: tuple[str, ...]


def is_saved_model(path: Path) -> bool:
    """Whether `path` is a folder of that format."""
    return (path / PROGRAM).is_file()


def read_saved_model(path: Path, *, allow_unsafe: bool = False) -> SavedModelFile:
    """Look at a SavedModel folder.

    Raises:
        ConversionError: it is damaged, has no serving signature, or would do more than compute; names the operator.
    """
    graph = _serving_graph(path)
    names = tuple(sorted(entry.key for entry in graph.signatures if not entry.key.startswith("__")))
    if SERVING not in names:
        raise ConversionError(
            f"{path.name} has the signatures {', '.join(names) or '(none)'}", SERVING, "save it with that signature"
        )
    if not allow_unsafe:
        _check(graph, path.name)
        _check_totals(graph, path)
    return SavedModelFile(graph.meta_info.tensorflow_version, (path / _KERAS_METADATA).is_file(), names)


def digest(path: Path) -> str:
    """SHA-256 in hexadecimal of every file of the folder with its name, but for what rnnexport keeps in it."""
    total = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        name = file.relative_to(path).as_posix()
        if not name.startswith("assets.extra/"):
            try:
                with file.open("rb") as stream:
                    total.update(f"{name} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
            except OSError as error:
                raise UsageError(
                    f"can't read {file}: {error.strerror}", "a readable file", "check its rights"
                ) from error
    return total.hexdigest()


def _serving_graph(path: Path) -> Any:
    try:
        program = parse_saved_model((path / PROGRAM).read_bytes())
    except (DecodeError, OSError) as error:
        raise ConversionError(f"{path.name} is damaged ({error})", "a whole SavedModel", "save it again") from error
    for graph in program.meta_graphs:
        if "serve" in graph.meta_info.tags:
            return graph
    raise ConversionError(f"{path.name} has no graph tagged serve", "a SavedModel for serving", "save it again")


def _check(graph: Any, name: str) -> None:
    if not graph.objects.nodes:
        raise _refused(name, "a graph of TensorFlow 1, which runs operators to start,")
    for node in graph.objects.nodes:
        for kind in ("asset", "resource"):
            if node.HasField(kind):
                raise _refused(name, f"a table or other {kind}, which is set up from files,")
        if node.savers or node.registered_saver:
            raise _refused(name, "an object with a saver of its own")
    functions = _serving_functions(graph.objects.nodes)
    if not functions:
        raise _refused(name, f"no function {SERVING} among the objects")
    for op in sorted(_reached(graph, functions)):
        if op not in COMPUTING:
            raise _refused(name, f"the operator {op}")


def _check_totals(graph: Any, path: Path) -> None:
    """Refuse a folder that holds far more than it has bytes: a bomb.

    Counted are the values of its constants and of its variables, and its operators with each call written out.
    """
    functions = (node for function in graph.graph.library.functions for node in function.nodes)
    shapes = [entry.value.tensor.shape for node in functions for entry in node.attributes]
    shapes += [entry.value.tensor.shape for node in graph.graph.nodes for entry in node.attributes]
    variables = [node.variable.shape for node in graph.objects.nodes if node.HasField("variable")]
    stored = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    for what, found in (("constants", shapes), ("variables", variables)):
        values = sum(math.prod(max(dim.size, 0) for dim in shape.dims) for shape in found)
        if values > _FEW_VALUES + _VALUES_A_BYTE * stored:
            raise _refused(path.name, f"{what} of {values} values in {stored} bytes,")
    library = {item.declaration.name: item.nodes for item in graph.graph.library.functions}
    written = sum(_written_out(library, name) for name in _serving_functions(graph.objects.nodes) & library.keys())
    if written > max(_FEW_OPERATORS, _TIMES_THE_STORED * sum(map(len, library.values()))):
        raise _refused(path.name, f"functions that come to {written} operators where they are called,")


def _written_out(library: Mapping[str, Any], name: str) -> int:
    """How many operators a function has with those of all functions that it calls; a recursion counts as one."""
    found: dict[str, int] = {}
    begun: set[str] = set()
    waiting = [name]
    while waiting:
        last = waiting[-1]
        called = [one for node in library[last] for one in _called(node) if one in library]
        if last in begun:
            found[last] = len(library[last]) + sum(found.get(one, 1) for one in called)
            waiting.pop()
        begun.add(last)
        waiting += {one for one in called if one not in begun}
    return found[name]


def _serving_functions(objects: Any) -> set[str]:
    """The functions that a loader calls for the serving signature; the one in the graph is a description alone."""
    found: set[str] = set()
    for index in _children(objects, 0, _SIGNATURES):
        for child in _children(objects, index, SERVING):
            found |= {objects[child].bare_function.name, *objects[child].function.names}
    return found - {""}


def _children(objects: Any, index: int, name: str) -> list[int]:
    return [child.node for child in objects[index].children if child.name == name and 0 <= child.node < len(objects)]


def _reached(graph: Any, functions: Iterable[str]) -> set[str]:
    """The operators of these functions and of all that they call."""
    library = {item.declaration.name: item for item in graph.graph.library.functions}
    waiting, seen, found = set(functions), set(), set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        for node in library[name].nodes if name in library else ():
            found |= {node.op} - set(library)
            waiting |= set(_called(node)) - seen
    return found


def _called(node: Any) -> Iterator[str]:
    """Names of functions that a node may call."""
    yield node.op
    for attribute in node.attributes:
        yield attribute.value.function.name
        yield from (function.name for function in attribute.value.list.functions)


def _refused(name: str, what: str) -> ConversionError:
    return ConversionError(
        f"{what} in {name}",
        "a SavedModel that computes and does nothing else",
        "export the model it was made from, or let it in with --allow-unsafe if you trust it",
    )
