"""Faults in artifacts that are no ONNX files: in the arrays of each, and in its own operators.

A change is applied to a copy of the artifact. Its seal is broken by it, so that it is judged by the comparison alone.
"""

from __future__ import annotations

import ast
import io
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.mutation.c_changes import of_c_program
from benchmarks.mutation.change import Change, array_faults
from rnnexport.artifact import archive


def changes_of(target: str, path: Path) -> Iterator[Change]:
    """All changes of the artifact of that target at `path`, which is left as it is."""
    made: Mapping[str, Callable[[Path], Iterator[Change]]] = {
        "numpy": _of_program,
        "tflite": _of_tflite,
        "saved-model": _of_saved_model,
        "c": of_c_program,
    }
    return made[target](path)


def _of_program(path: Path) -> Iterator[Change]:
    """Of a NumPy program: its arrays, and the operators of its text."""
    for name, data in archive.read(archive.archive_of(path)).items():
        array = np.load(io.BytesIO(data), allow_pickle=False)
        for fault, where, changed in array_faults(array):
            yield Change(fault, f"{name} {where}", partial(_put_entry, name=name, array=changed))
    tree = ast.parse(path.read_text())
    for at, node in enumerate(ast.walk(tree)):
        for fault, how in _text_faults(node):
            where = f"line {getattr(node, 'lineno', 0)}: {ast.unparse(node)[:50]}"
            yield Change(fault, where, partial(_put_node, at=at, how=how))


def _put_entry(path: Path, *, name: str, array: np.ndarray) -> None:
    entries = archive.read(archive.archive_of(path))
    archive.archive_of(path).write_bytes(archive.to_bytes({**entries, name: archive.to_entry(array)}))


def _text_faults(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], None]]]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield "sign of a sum", lambda one: setattr(one, "op", ast.Sub())
    elif isinstance(node, ast.Attribute) and node.attr == "tanh":
        yield "another activation", lambda one: setattr(one, "attr", "sin")
    elif isinstance(node, ast.Slice) and isinstance(node.step, ast.UnaryOp):
        yield "reversal lost", lambda one: setattr(one, "step", None)


def _put_node(path: Path, *, at: int, how: Callable[[Any], None]) -> None:
    tree = ast.parse(path.read_text())
    how(next(node for place, node in enumerate(ast.walk(tree)) if place == at))
    path.write_text(ast.unparse(ast.fix_missing_locations(tree)))


def _of_tflite(path: Path) -> Iterator[Change]:
    """Of a TFLite file: its buffers, tanh and sigmoid in each other's place, the activation behind a product."""
    model = _flatbuffers().read_model(str(path))
    buffers = sorted(
        {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors if _is_weight(model, tensor)}
    )
    for at in buffers:
        array = _buffer(model, at)
        for fault, where, changed in array_faults(array):
            yield Change(fault, f"buffer {at} {where}", partial(_put_buffer, at=at, array=changed.ravel()))
    for place, graph in enumerate(model.subgraphs):
        for at, operator in enumerate(graph.operators):
            where = f"operator {at} of graph {place}"
            if _code(model, operator) in _EACH_OTHER:
                yield Change("another activation", where, partial(_put_code, place=place, at=at))
            if hasattr(operator.builtinOptions, "fusedActivationFunction"):
                yield Change("another activation", f"{where}, fused", partial(_put_fused, place=place, at=at))


_TANH, _LOGISTIC = 28, 14  # BuiltinOperator of the schema
_EACH_OTHER = {_TANH: _LOGISTIC, _LOGISTIC: _TANH}
_FLOAT32 = 0  # TensorType of the schema


def _flatbuffers() -> Any:
    from tensorflow.lite.tools import flatbuffer_utils

    return flatbuffer_utils


def _is_weight(model: Any, tensor: Any) -> bool:
    return tensor.type == _FLOAT32 and model.buffers[tensor.buffer].data is not None and len(tensor.shape) > 0


def _buffer(model: Any, at: int) -> np.ndarray:
    shape = next(t.shape for graph in model.subgraphs for t in graph.tensors if t.buffer == at)
    return np.frombuffer(bytes(model.buffers[at].data), np.float32).reshape(shape)


def _code(model: Any, operator: Any) -> int:
    return int(model.operatorCodes[operator.opcodeIndex].builtinCode)


def _put_buffer(path: Path, *, at: int, array: np.ndarray) -> None:
    model = _flatbuffers().read_model(str(path))
    model.buffers[at].data = np.frombuffer(array.tobytes(), np.uint8)
    _flatbuffers().write_model(model, str(path))


def _put_code(path: Path, *, place: int, at: int) -> None:
    model = _flatbuffers().read_model(str(path))
    operator = model.subgraphs[place].operators[at]
    other = deepcopy(model.operatorCodes[operator.opcodeIndex])
    other.builtinCode = other.deprecatedBuiltinCode = _EACH_OTHER[other.builtinCode]
    model.operatorCodes.append(other)
    operator.opcodeIndex = len(model.operatorCodes) - 1
    _flatbuffers().write_model(model, str(path))


def _put_fused(path: Path, *, place: int, at: int) -> None:
    """RELU where there is none, and none where there is one."""
    model = _flatbuffers().read_model(str(path))
    options = model.subgraphs[place].operators[at].builtinOptions
    options.fusedActivationFunction = 0 if options.fusedActivationFunction else 1
    _flatbuffers().write_model(model, str(path))


_OTHER_OPS = {"Tanh": ("another activation", "Sigmoid"), "Sigmoid": ("another activation", "Tanh")} | {
    "AddV2": ("sign of a sum", "Sub")
}


def _of_saved_model(path: Path) -> Iterator[Change]:
    """Of a SavedModel: its constants, tanh and sigmoid in each other's place, a sum that is a difference."""
    import tensorflow as tf

    for at, node in enumerate(_nodes(_read(path))):
        if node.op == "Const":
            for fault, where, changed in array_faults(tf.make_ndarray(node.attr["value"].tensor)):
                yield Change(fault, f"{node.name} {where}", partial(_put_constant, at=at, array=changed))
        elif node.op in _OTHER_OPS:
            fault, other = _OTHER_OPS[node.op]
            yield Change(fault, node.name, partial(_put_op, at=at, op=other))


def _read(path: Path) -> Any:
    from tensorflow.core.protobuf import saved_model_pb2

    return saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())


def _nodes(program: Any) -> list[Any]:
    graph = program.meta_graphs[0].graph_def
    return [*graph.node, *(node for function in graph.library.function for node in function.node_def)]


def _put_constant(path: Path, *, at: int, array: np.ndarray) -> None:
    import tensorflow as tf

    program = _read(path)
    _nodes(program)[at].attr["value"].tensor.CopyFrom(tf.make_tensor_proto(array))
    (path / "saved_model.pb").write_bytes(program.SerializeToString())


def _put_op(path: Path, *, at: int, op: str) -> None:
    program = _read(path)
    _nodes(program)[at].op = op
    (path / "saved_model.pb").write_bytes(program.SerializeToString())
