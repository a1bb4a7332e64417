"""Change one weight inside a finished artifact, leaving its goldens as they are and its seal whole.

A seal tells what was changed after the export. These stand for what a converter does wrong before it.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rnnexport.artifact import archive
from rnnexport.artifact.checksum import seal_of, sealed, with_seal
from rnnexport.emit.c.module import constants_in, weights
from rnnexport.emit.c.self_test import PREFIX
from rnnexport.targets.c import files as c_files
from rnnexport.targets.c.metadata import sealed as c_sealed
from rnnexport.targets.numpy.metadata import sealed as sealed_entries
from rnnexport.targets.registry import companions_of


def copied(artifact: Path, folder: Path, name: str | None = None) -> Path:
    """A copy of an artifact, with its companions, in `folder`; without its suffix it is called `name` there."""
    copy = folder / (artifact.name if name is None else name + artifact.suffix)
    if artifact.is_dir():
        shutil.copytree(artifact, copy)
    for file, beside in zip((artifact, *companions_of(artifact)), (copy, *companions_of(copy)), strict=True):
        if file.is_file():
            shutil.copy(file, beside)
    return copy


def perturb(artifact: Path, folder: Path, amount: float) -> Path:
    """A copy of `artifact` in `folder` with `amount` added to one weight of its largest tensor."""
    copy = folder / f"perturbed_{artifact.name}"
    if artifact.is_dir():
        shutil.copytree(artifact, copy)
        (copy / "saved_model.pb").write_bytes(_saved_model(copy / "saved_model.pb", amount))
        seal_folder(copy)
    elif artifact.suffix == ".onnx":
        copy.write_bytes(sealed(_onnx(artifact, amount)))
    elif artifact.suffix == ".c":
        copied(artifact, folder, copy.stem)
        _c(copy, amount)
    elif artifact.suffix == ".py":
        copied(artifact, folder, copy.stem)
        archive.archive_of(copy).write_bytes(_numpy(copy, amount))
    else:
        copy.write_bytes(sealed(_tflite(artifact, amount)))
    return copy


def seal_folder(folder: Path) -> None:
    """Seal a SavedModel again."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    seal = seal_of(
        sorted((file.relative_to(folder).as_posix(), file.read_bytes()) for file in files),
        "assets.extra/rnnexport.json",
    )
    provenance = folder / "assets.extra" / "rnnexport.json"
    provenance.write_bytes(with_seal(provenance.read_bytes(), seal))


def _changed(array: np.ndarray, amount: float, share: int = 2) -> np.ndarray:
    """With another weight in the middle, or at a third: one that the outputs depend on by more than the tolerance."""
    array = array.copy()
    array.reshape(-1)[array.size // share] += amount
    return array


def _largest(arrays: Sequence[np.ndarray]) -> int:
    sizes = [array.size if array.dtype == np.float32 else 0 for array in arrays]
    return int(np.argmax(sizes))


def _c(path: Path, amount: float) -> None:
    """Another weight in the text, and the seal of the files as they are then."""
    text = path.read_text()
    arrays = [
        text_ for name, (kind, text_) in constants_in(text).items() if kind == "float" and not name.startswith(PREFIX)
    ]
    numbers = max(arrays, key=len)
    array = np.array([float.fromhex(item.strip().removesuffix("f")) for item in numbers.split(",")], np.float32)
    path.write_text(text.replace(numbers, "\n".join(weights(_changed(array, amount)))))
    beside = c_files.beside(path)
    beside.write_bytes(archive.to_bytes(c_sealed(path, archive.read(beside))))


def _onnx(path: Path, amount: float) -> bytes:
    import onnx

    model = onnx.load(path)
    graphs, tensors = [model.graph], []
    while graphs:
        graph = graphs.pop()
        tensors += list(graph.initializer)
        for node in graph.node:
            tensors += [attribute.t for attribute in node.attribute if attribute.HasField("t")]
            graphs += [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    arrays = [onnx.numpy_helper.to_array(tensor) for tensor in tensors]
    index = _largest(arrays)
    tensors[index].CopyFrom(onnx.numpy_helper.from_array(_changed(arrays[index], amount, 3), tensors[index].name))
    data: bytes = model.SerializeToString()
    return data


def _tflite(path: Path, amount: float) -> bytes:
    from rnnexport.targets.tflite.metadata import parse

    data = bytearray(path.read_bytes())
    model, schema = parse(path)
    graph = model.Subgraphs(0)
    weights = [graph.Tensors(i) for i in range(graph.TensorsLength())]
    floats = [t.Buffer() for t in weights if t.Type() == schema.TensorType.FLOAT32]
    raw = [model.Buffers(index).DataAsNumpy() for index in floats if model.Buffers(index).DataLength()]
    largest = max(raw, key=len)
    start = bytes(data).index(largest.tobytes())
    changed = _changed(np.frombuffer(largest.tobytes(), "float32"), amount)
    data[start : start + len(largest)] = changed.tobytes()
    return bytes(data)


def _numpy(program: Path, amount: float) -> bytes:
    entries = archive.read(archive.archive_of(program))
    arrays = {name: np.load(io.BytesIO(data), allow_pickle=False) for name, data in entries.items() if "/" in name}
    name = list(arrays)[_largest(list(arrays.values()))]
    entries[name] = archive.to_entry(_changed(arrays[name], amount))
    return archive.to_bytes(sealed_entries(program.read_bytes(), entries))


def _saved_model(path: Path, amount: float) -> bytes:
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    functions = proto.meta_graphs[0].graph_def.library.function
    nodes = [node for function in functions for node in function.node_def if node.op == "Const"]
    arrays = [tf.make_ndarray(node.attr["value"].tensor) for node in nodes]
    index = _largest([np.asarray(array) if array.dtype != object else np.zeros(0) for array in arrays])
    nodes[index].attr["value"].tensor.CopyFrom(tf.make_tensor_proto(_changed(arrays[index], amount)))
    data: bytes = proto.SerializeToString()
    return data
