"""The objects of a TFLite file, and small changes to them: what every module here that edits one does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from rnnexport.core.errors import ProviderError

# Of LiteRT, or of TensorFlow, which has the same ones.
_CLASSES = (
    ("ai_edge_litert.schema_py_generated", "ai_edge_litert.tools.flatbuffer_utils"),
    ("tensorflow.lite.python.schema_py_generated", "tensorflow.lite.tools.flatbuffer_utils"),
)
# The dtypes of constants that are read or written, by TensorType.
TYPES: Mapping[int, Any] = {
    0: np.dtype(np.float32),
    2: np.dtype(np.int32),
    4: np.dtype(np.int64),
    6: np.dtype(np.bool_),
}


@cache
def flatbuffer_classes() -> tuple[Any, Any]:
    """The module of the classes of a file, and that of functions beside them. ProviderError where there is none."""
    for classes, functions in _CLASSES:
        with suppress(ModuleNotFoundError):
            return import_module(classes), import_module(functions)
    raise ProviderError(
        "ai-edge-litert is not installed", "LiteRT, to write a TFLite file", "pip install 'rnnexport[cpu]'"
    )


def schema() -> Any:
    """The module of the classes. Raises as `flatbuffer_classes`."""
    return flatbuffer_classes()[0]


def tree_of(model: bytes) -> Any:
    """The objects of a file, which may be changed. Raises as `flatbuffer_classes`."""
    return flatbuffer_classes()[1].convert_bytearray_to_object(bytearray(model))


def bytes_of(tree: Any) -> bytes:
    """The file of these objects."""
    return bytes(flatbuffer_classes()[1].convert_object_to_bytearray(tree))


@cache
def _kinds() -> dict[int, str]:
    return {code: name for name, code in vars(schema().BuiltinOperator).items() if not name.startswith("_")}


def kind_of(tree: Any, operator: Any) -> str:
    """The built-in name of an operator."""
    code = tree.operatorCodes[operator.opcodeIndex]
    return _kinds()[max(code.builtinCode, code.deprecatedBuiltinCode)]


def sizes_of(tensor: Any) -> list[int]:
    """The sizes of its axes; -1 for an open one."""
    if tensor.shapeSignature is not None and len(tensor.shapeSignature):
        return [int(size) for size in tensor.shapeSignature]
    return [] if tensor.shape is None else [int(size) for size in tensor.shape]


def needed(operators: Sequence[Any], outputs: Iterable[int]) -> list[Any]:
    """The operators that the outputs depend on, in their order."""
    needed, kept = set(outputs), []
    for one in reversed(operators):
        if not needed.isdisjoint(one.outputs) or not len(one.outputs):
            needed.update(one.inputs)
            kept.append(one)
    return kept[::-1]


def compact(graph: Any, signatures: Iterable[Any]) -> None:
    """Leave tensors out that no operator has."""
    named = [*graph.inputs, *graph.outputs]
    used = {int(at) for one in graph.operators for at in (*one.inputs, *one.outputs)} | {int(at) for at in named}
    now = {at: place for place, at in enumerate(sorted(used - {-1}))} | {-1: -1}
    graph.tensors = [graph.tensors[at] for at in now if at >= 0]
    graph.inputs, graph.outputs = ([now[int(at)] for at in side] for side in (graph.inputs, graph.outputs))
    for one in graph.operators:
        one.inputs, one.outputs = ([now[int(at)] for at in side] for side in (one.inputs, one.outputs))
    for entry in signatures:
        for one in (*entry.inputs, *entry.outputs):
            one.tensorIndex = now[int(one.tensorIndex)]


def drop_unused_buffers(tree: Any) -> None:
    """Leave buffers out that no tensor and no metadata has; the first stays, which is that of tensors without one."""
    holders = [*(one for graph in tree.subgraphs for one in graph.tensors), *(tree.metadata or ())]
    now = {at: place for place, at in enumerate(sorted({0} | {one.buffer for one in holders}))}
    tree.buffers = [tree.buffers[at] for at in now]
    for one in {id(one): one for one in holders}.values():
        one.buffer = now[one.buffer]


def new_operator(
    tree: Any, name: str, inputs: Sequence[int], outputs: Sequence[int], options: Any = None, *, version: int = 1
) -> Any:
    """An operator of a file, in no graph yet.

    Args:
        tree: the file.
        name: of its kind, built in.
        inputs, outputs: tensors of the graph that it will be in.
        options: an object of the class that the kind has for them; None where it has none.
        version: of the kind, or a later one.
    """
    made = schema().OperatorT()
    made.opcodeIndex = opcode_of(tree, name, version)
    made.inputs, made.outputs = list(inputs), list(outputs)
    if options is not None:
        made.builtinOptionsType = getattr(schema().BuiltinOptions, type(options).__name__.removesuffix("T"))
        made.builtinOptions = options
    return made


def opcode_of(tree: Any, name: str, version: int = 1) -> int:
    """The place of a kind of operators, of this version or a later one, among those of a file; added if it has none."""
    code = getattr(schema().BuiltinOperator, name)
    for at, one in enumerate(tree.operatorCodes):
        if max(one.builtinCode, one.deprecatedBuiltinCode) == code and one.version >= version:
            return at
    made = schema().OperatorCodeT()
    # The older field has no room for codes above 127, and holds 127 then.
    made.builtinCode, made.deprecatedBuiltinCode, made.version = code, min(code, 127), version
    tree.operatorCodes.append(made)
    return len(tree.operatorCodes) - 1


def new_buffer(tree: Any, array: np.ndarray) -> int:
    """The place of a new buffer with the bytes of an array."""
    made = schema().BufferT()
    made.data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
    tree.buffers.append(made)
    return len(tree.buffers) - 1


def constant(tree: Any, array: np.ndarray, name: str = "known") -> Any:
    """A tensor that holds an array of one of `TYPES`, in no graph yet."""
    made = schema().TensorT()
    made.name, made.shape, made.buffer = name.encode(), list(array.shape), new_buffer(tree, array)
    made.type = next(code for code, dtype in TYPES.items() if dtype == array.dtype)
    return made


def like(tensor: Any, name: str, sizes: Sequence[int]) -> Any:
    """A tensor of the type of another one, which holds no constant.

    Args:
        tensor: the other one.
        name: of the new one.
        sizes: of its axes; -1 for an open one.
    """
    made = copy(tensor)
    made.name, made.buffer = name.encode(), 0
    made.shape = [max(size, 1) if size < 0 else size for size in sizes]
    made.shapeSignature = list(sizes) if -1 in sizes else None
    return made
