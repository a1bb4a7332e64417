"""The proof in an ONNX file: two entries of `metadata_props`, text for the provenance, base64 for the goldens.

The protobuf messages of ONNX without the package around them.

`import onnx` brings checkers, parsers and version converters, a third of what verifying a small model takes. The module
of the messages needs none of them.
"""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from rnnexport.artifact.checksum import Data, mapped, place_of, seal_of
from rnnexport.artifact.provenance import Proof, read_proof
from rnnexport.compat.supported import module_alone
from rnnexport.core.errors import UsageError
from rnnexport.targets.onnx.wire import BESIDE, skeleton, write_properties

if TYPE_CHECKING:
    import onnx

_PROVENANCE = "rnnexport.provenance"
_GOLDENS = "rnnexport.artifact.goldens"
# The operators of these are ONNX Runtime's own, as are those of ONNX itself; another domain is code from elsewhere.
_DOMAINS = frozenset(("", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"))


def write(path: Path, proof: Proof) -> None:
    """Put the proof into the file at `path`, in place of one that is there."""
    data = mapped(path)
    model = messages().ModelProto.FromString(skeleton(data))
    provenance, goldens = proof.blobs()
    properties = {prop.key: prop.value for prop in model.metadata_props if prop.key != _GOLDENS}
    properties[_PROVENANCE] = provenance
    if goldens:
        properties[_GOLDENS] = base64.b64encode(goldens).decode("ascii")
    props = messages().ModelProto()
    for key, value in properties.items():
        props.metadata_props.add(key=key, value=value)
    write_properties(path, data, props.SerializeToString(deterministic=True))
    data = mapped(path)
    seal, place = seal_of(_parts(path, model, data)), place_of(data)
    with path.open("r+b") as file:
        file.seek(place)
        file.write(seal.encode())


def load(path: Path) -> onnx.ModelProto:
    """Parse the file, and look whether it may be executed. Its large initializers are there without their numbers.

    Raises:
        UsageError: it is no ONNX file, is cut short, or reaches for operators or files that no artifact needs.
    """
    return _checked(path, _bytes(path))


def read(path: Path) -> Proof | None:
    """The proof inside the file, or None where there is none. Raises as `load`, and where it is damaged."""
    data = _bytes(path)
    model = _checked(path, data)
    properties = {prop.key: prop.value for prop in model.metadata_props}
    if _PROVENANCE not in properties:
        return None
    try:
        goldens = base64.b64decode(properties.get(_GOLDENS, ""), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _unreadable(path, f"its goldens are damaged: {error}") from error
    return read_proof(path, _encoded(properties[_PROVENANCE]), goldens, _parts(path, model, data))


def lean(path: Path) -> onnx.ModelProto:
    """The model, its large initializers external data in the file itself. Raises as `load`."""
    data = _bytes(path)
    _checked(path, data)
    model: onnx.ModelProto = messages().ModelProto.FromString(skeleton(data, path.name))
    return model


def external_files(path: Path) -> tuple[Path, ...]:
    """The files beside `path` that hold weights of it. Raises as `load`."""
    return tuple(path.parent / place for place in _locations(load(path)))


def owns_weights(path: Path) -> bool:
    """Whether the file of weights that is named after the one at `path` belongs to it, and it is one of rnnexport."""
    try:
        return path.is_file() and read(path) is not None and path.with_name(path.name + BESIDE) in external_files(path)
    except UsageError:
        return False


def facts(path: Path) -> dict[str, str]:
    """What there is to say of a file that some tool changed, by label. Raises as `load`."""
    model = load(path)
    names = {number: name for name, number in messages().TensorProto.DataType.items()}
    dtypes = Counter(names[tensor.data_type].lower() for graph in _graphs(model) for tensor in _tensors(graph))
    return {
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "opsets": ", ".join(f"{one.domain or 'ai.onnx'} {one.version}" for one in model.opset_import),
        "tensors": ", ".join(f"{count} {name}" for name, count in sorted(dtypes.items())),
        "external data": ", ".join(_locations(model)),
    }


def operators(path: Path) -> Counter[str]:
    """Operators by name, loop bodies included."""
    return Counter(node.op_type for graph in _graphs(load(path)) for node in graph.node)


def _bytes(path: Path) -> Data:
    try:
        return mapped(path)
    except OSError as error:
        raise _unreadable(path, str(error)) from error


def _checked(path: Path, data: Data) -> onnx.ModelProto:
    try:
        model: onnx.ModelProto = messages().ModelProto.FromString(skeleton(data))
    except (DecodeError, ValueError) as error:
        raise _unreadable(path, str(error)) from error
    if not model.graph.node and not model.graph.output:
        raise _unreadable(path, "it holds no graph")
    for graph in _graphs(model):
        _check_domains(path, graph)
        for tensor in _tensors(graph):
            _check_location(path, tensor)
    return model


def _graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto | onnx.FunctionProto]:
    """The graph, the bodies inside it, and those of the model's functions."""
    waiting: list[onnx.GraphProto | onnx.FunctionProto] = [model.graph, *model.functions]
    while waiting:
        graph = waiting.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                waiting += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _tensors(graph: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.TensorProto]:
    yield from getattr(graph, "initializer", ())
    sparse = list(getattr(graph, "sparse_initializer", ()))
    for node in graph.node:
        for attribute in node.attribute:
            yield from [*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors]
            sparse += [
                *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
                *attribute.sparse_tensors,
            ]
    for one in sparse:
        yield from (one.values, one.indices)


def _parts(path: Path, model: onnx.ModelProto, data: Data) -> list[tuple[str, Data]]:
    """All that an artifact consists of: the file, and those beside it that hold weights, by their names."""
    return [("", data), *((place, _bytes(path.parent / place)) for place in _locations(model))]


def _locations(model: onnx.ModelProto) -> list[str]:
    """The names of the files that hold weights, in order; `_checked` has seen that they lie in the folder."""
    tensors = [tensor for graph in _graphs(model) for tensor in _tensors(graph)]
    outside = [tensor for tensor in tensors if tensor.data_location == messages().TensorProto.EXTERNAL]
    return sorted({entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"})


def _check_domains(path: Path, graph: onnx.GraphProto | onnx.FunctionProto) -> None:
    for node in graph.node:
        if node.domain not in _DOMAINS:
            raise UsageError(
                f"{path.name} holds the operator {node.op_type} of the domain {node.domain!r}",
                "operators of ONNX",
                "export the model again",
            )


def _check_location(path: Path, tensor: onnx.TensorProto) -> None:
    if tensor.data_location != messages().TensorProto.EXTERNAL:
        return
    for entry in tensor.external_data:
        place = PureWindowsPath(entry.value), PurePosixPath(entry.value)
        if entry.key == "location" and any(one.is_absolute() or ".." in one.parts or one.drive for one in place):
            raise UsageError(
                f"{path.name} reads the weights of {tensor.name!r} from {entry.value!r}, outside its folder",
                "weights inside the file, or in one beside it",
                "export the model again",
            )
        if entry.key == "location" and not _lies_in(path.parent / entry.value, path.parent):
            raise UsageError(
                f"{path.name} reads the weights of {tensor.name!r} from {entry.value!r}, which is not beside it",
                "that file too",
                f"copy {entry.value} with {path.name}",
            )


def _lies_in(file: Path, folder: Path) -> bool:
    """Whether it is a file there, and no link that leads elsewhere."""
    return file.is_file() and file.resolve().is_relative_to(folder.resolve())


def _encoded(text: str | bytes) -> bytes:
    """Protobuf gives a string that is no UTF-8 as bytes."""
    return text if isinstance(text, bytes) else text.encode()


def _unreadable(path: Path, reason: str) -> UsageError:
    return UsageError(f"{path.name} can't be read as ONNX ({reason})", "a whole ONNX file", "copy or export it again")


def messages() -> Any:
    """The module with `ModelProto` and its parts."""
    # The package itself, where it is laid out in another way than it is today.
    return module_alone("onnx.onnx_ml_pb2") or import_module("onnx")
