"""What a SavedModel folder is, and whether running it does more than compute. Needs no TensorFlow.

A SavedModel is a TensorFlow program. Of its functions only those run that its serving signature, its start and its
restoring of weights reach; none of these may touch files, processes, other hosts or Python. Objects whose set-up runs
while the folder is loaded (tables, assets, savers of their own) are refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from rnnexport.errors import ConversionError
from rnnexport.source.saved_model_proto import parse_saved_model

PROGRAM = "saved_model.pb"
SERVING = "serving_default"
_KERAS_METADATA = "keras_metadata.pb"
_START = "__saved_model_init_op"
_RESTORES = ("RestoreV2",)
# Operators that reach past computing. `test_saved_model_file.py` checks it against all that TensorFlow has.
_REACHING = re.compile(
    r"File|PyFunc|Print|Dataset|Iterator|Table|Summary|Queue|Reader|Save|Restore|Checkpoint|Rpc|Send|Recv|Debug|Env"
    r"|Load|Remote|Socket|Record|Stage|Barrier|TPU|Collective|Nccl|Feed|Enqueue|Dequeue|Unigram|Event|Bigquery"
    r"|BoostedTrees|Cache|Snapshot|Stats|Abort|Sleep|Session|Mutex|Coordination|Vocab|Sharded|AudioMicrofrontend"
)


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
    return SavedModelFile(graph.meta_info.tensorflow_version, (path / _KERAS_METADATA).is_file(), names)


def digest(path: Path) -> str:
    """SHA-256 in hexadecimal of every file of the folder with its name, but for what rnnexport keeps in it."""
    total = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        name = file.relative_to(path).as_posix()
        if not name.startswith("assets.extra/"):
            with file.open("rb") as stream:
                total.update(f"{name} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
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
    for node in graph.objects.nodes:
        for kind in ("asset", "resource"):
            if node.HasField(kind):
                raise _refused(name, f"a table or other {kind}, which is set up from files")
        if node.savers or node.registered_saver:
            raise _refused(name, "an object with a saver of its own")
    program = _Program(graph)
    served = [entry.value for entry in graph.signatures if entry.key in (SERVING, _START)]
    tensors = [output.value.name for signature in served for output in signature.outputs]
    for op in program.reached(tensors):
        if _REACHING.search(op):
            raise _refused(name, f"the operator {op}")
    for op in program.reached([graph.saver.restore_op] if graph.saver.restore_op else []):
        if _REACHING.search(op) and op not in _RESTORES:
            raise _refused(name, f"the operator {op} where it restores its weights")


class _Program:
    """The nodes and functions of a graph, to walk from a tensor to all that it needs."""

    def __init__(self, graph: Any) -> None:
        self._nodes = {node.name: node for node in graph.graph.nodes}
        self._functions = {item.declaration.name: item for item in graph.graph.library.functions}

    def reached(self, tensors: Iterable[str]) -> set[str]:
        """Operators that run when these tensors or nodes are asked for."""
        waiting, seen, nodes = list(tensors), set(), []
        while waiting:
            name = waiting.pop().removeprefix("^").split(":")[0]
            if name not in seen and name in self._nodes:
                seen.add(name)
                nodes.append(self._nodes[name])
                waiting += self._nodes[name].inputs
        found: set[str] = set()
        functions: set[str] = set()
        while nodes:
            node = nodes.pop()
            found.add(node.op)
            for function in set(_called(node)) - functions:
                functions.add(function)
                if function in self._functions:
                    nodes += self._functions[function].nodes
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
