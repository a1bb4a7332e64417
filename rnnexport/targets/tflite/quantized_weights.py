"""Weights in a TFLite file made narrow, and what became of each.

Before: FULLY_CONNECTED(x, W: float32)
After:  FULLY_CONNECTED(x, W: int8, a scale for each row)                   dynamic: LiteRT rounds x as it comes
        FULLY_CONNECTED(x, DEQUANTIZE(W: int8 or float16))                  weights, float16
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnexport.core.quantization import QuantizedPart
from rnnexport.quantization.weights import per_channel
from rnnexport.targets.tflite.tree import bytes_of, kind_of, new_buffer, new_operator, schema, tree_of

# Elements from which a constant of two dimensions or more is a weight.
_LEAST = 32
_LARGEST_HALF = float(np.finfo(np.float16).max)
_VERSION = 12  # of FULLY_CONNECTED, whose kernels take scales by row


@dataclass(frozen=True, eq=False)
class Constant:
    """A float32 constant of a graph.

    Attributes:
        graph: that it is in.
        index: its place among the tensors.
        tensor: what the file says of it.
        array: its values.
        readers: the operators that read it, and which of their inputs it is.
    """

    graph: Any
    index: int
    tensor: Any
    array: np.ndarray
    readers: tuple[tuple[Any, int], ...]

    @property
    def name(self) -> str:
        """As the file has it."""
        name = self.tensor.name
        return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def narrowed(model: bytes, form: str, only: frozenset[str] | None) -> tuple[bytes, tuple[QuantizedPart, ...]]:
    """(file, what became of each weight): the weights of `only`, or all, stored narrow.

    Args:
        model: in float32.
        form: `dynamic`, `weights` or `float16`.
        only: the weights by name; None for all.
    """
    tree = tree_of(model)
    parts = []
    for one in list(_constants(tree)):
        if only is None or one.name in only:
            parts.append(_narrow(tree, one, form))
    _forget_unread(tree)
    return bytes_of(tree), tuple(parts)


def with_used_codes(model: bytes) -> bytes:
    """The file without kinds of operators that it has none of: the calibrator has kernels for the others alone."""
    tree = tree_of(model)
    operators = [operator for graph in tree.subgraphs for operator in graph.operators]
    used = sorted({operator.opcodeIndex for operator in operators})
    tree.operatorCodes = [tree.operatorCodes[at] for at in used]
    for operator in operators:
        operator.opcodeIndex = used.index(operator.opcodeIndex)
    return bytes_of(tree)


def has_loops(model: bytes) -> bool:
    """Whether the file has a loop."""
    tree = tree_of(model)
    operators = [operator for graph in tree.subgraphs for operator in graph.operators]
    return any(kind_of(tree, operator) == "WHILE" for operator in operators)


def parts_of(model: bytes, plain: bytes) -> tuple[QuantizedPart, ...]:
    """What the converter's quantiser made of each weight: those that are float32 still were left so."""
    before, after = (tree_of(one) for one in (plain, model))
    left = {one.name for one in _constants(after)}
    found = []
    for one in _constants(before):
        kind = _operator(before, one)
        stays = one.name in left
        how = "" if stays else "int8 products, calibrated ranges"
        why = "the converter's quantiser leaves it" if stays else ""
        size = one.array.nbytes
        found.append(QuantizedPart(one.name, kind, how, why, size, size if stays else size // 4))
    return tuple(found)


def _constants(tree: Any) -> Iterator[Constant]:
    for graph in tree.subgraphs:
        readers: dict[int, list[tuple[Any, int]]] = defaultdict(list)
        for operator in graph.operators:
            for at, index in enumerate(operator.inputs):
                readers[int(index)].append((operator, at))
        for index, tensor in enumerate(graph.tensors):
            data = tree.buffers[tensor.buffer].data
            if tensor.type != schema().TensorType.FLOAT32 or data is None or index not in readers:
                continue
            array = np.frombuffer(np.asarray(data, np.uint8).tobytes(), np.float32)
            shape = tuple(map(int, tensor.shape if tensor.shape is not None else ()))
            if len(shape) >= 2 and array.size >= _LEAST and max(shape) < array.size:
                yield Constant(graph, index, tensor, array.reshape(shape), tuple(readers[index]))


def _operator(tree: Any, one: Constant) -> str:
    """The kind of the first operator that reads it."""
    return kind_of(tree, one.readers[0][0])


def _narrow(tree: Any, one: Constant, form: str) -> QuantizedPart:
    kind, size = _operator(tree, one), one.array.nbytes
    if not np.isfinite(one.array).all():
        return QuantizedPart(one.name, kind, "", "a weight is not finite", size, size)
    if form == "float16":
        largest = float(np.abs(one.array).max())
        if largest > _LARGEST_HALF:
            return QuantizedPart(one.name, kind, "", f"a weight is {largest:.3g}", size, size)
        _behind_dequantize(tree, one, schema().TensorType.FLOAT16, one.array.astype(np.float16), None)
        return QuantizedPart(one.name, kind, "float16 weights", "", size, size // 2)
    q, scale = per_channel(one.array, axis=0)
    if form == "dynamic" and all(kind_of(tree, reader) == "FULLY_CONNECTED" and at == 1 for reader, at in one.readers):
        _store(tree, one.tensor, schema().TensorType.INT8, q, _scales(scale))
        for reader, _ in one.readers:
            reader.builtinOptions.asymmetricQuantizeInputs = True
            code = tree.operatorCodes[reader.opcodeIndex]
            code.version = max(code.version, _VERSION)
        return QuantizedPart(one.name, kind, "int8 products, ranges of each call", "", size, size // 4)
    _behind_dequantize(tree, one, schema().TensorType.INT8, q, _scales(scale))
    why = f"LiteRT has no {kind} that rounds as it computes" if form == "dynamic" else ""
    return QuantizedPart(one.name, kind, "int8 weights, computed in float32", why, size, size // 4)


def _forget_unread(tree: Any) -> None:
    """Empty the buffers that no tensor has any more; their places stay, for tensors count them."""
    used = {tensor.buffer for graph in tree.subgraphs for tensor in graph.tensors}
    used |= {entry.buffer for entry in tree.metadata or []}
    for at, buffer in enumerate(tree.buffers):
        if at not in used:
            buffer.data = None


def _scales(scale: np.ndarray) -> Any:
    found = schema().QuantizationParametersT()
    found.scale, found.zeroPoint = scale.astype(np.float32), np.zeros(len(scale), np.int64)
    found.quantizedDimension = 0
    return found


def _store(tree: Any, tensor: Any, kind: int, array: np.ndarray, scales: Any) -> None:
    """Give a tensor other values; its buffer may be that of others."""
    tensor.type, tensor.quantization = kind, scales
    tensor.buffer = _buffer(tree, array)


def _buffer(tree: Any, array: np.ndarray) -> int:
    """The place of a buffer with these bytes: one that is there, for a matrix that several steps read."""
    data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
    for at, buffer in enumerate(tree.buffers):
        if buffer.data is not None and len(buffer.data) == len(data) and np.array_equal(buffer.data, data):
            return at
    return new_buffer(tree, array)


def _behind_dequantize(tree: Any, one: Constant, kind: int, array: np.ndarray, scales: Any) -> None:
    """Let the tensor be what a DEQUANTIZE makes of a new one, which stands in front of all operators."""
    graph, tensor = one.graph, one.tensor
    stored = copy(tensor)
    stored.name = f"{one.name}/stored".encode()
    _store(tree, stored, kind, array, scales)
    graph.tensors.append(stored)
    tensor.buffer = 0
    options = schema().DequantizeOptionsT()
    operator = new_operator(tree, "DEQUANTIZE", [len(graph.tensors) - 1], [one.index], options, version=5)
    graph.operators.insert(0, operator)
