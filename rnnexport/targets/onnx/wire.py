"""ONNX files written and read without a message that holds their weights.

A file is one message of protocol buffers: fields of a number and a length each, that of the graph the longest. What is
written here has the bytes that the serializer of protocol buffers gives for the whole model.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rnnexport.artifact.checksum import Data

# Numbers of fields of ModelProto, GraphProto and TensorProto, see onnx.proto.
_GRAPH, _INITIALIZER, _RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 7, 5, 9, 13, 14
_PROPERTIES = 14  # of ModelProto
_EXTERNAL = 1  # of the places where data may be
# A message of protocol buffers holds less than 2 GiB; the rest is for the graph and for what rides in the file.
LARGEST = 2**31 - 2**27
# What the name of the file with the weights adds to that of the model, where one message does not hold both.
BESIDE = ".data"
_PAGE = 1 << 16  # a runtime that maps the file can begin at each multiple of it
# Bytes from which an initializer is large.
LARGE = 1 << 16
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_CHUNK = 1 << 24


@dataclass(frozen=True)
class Field:
    """A field of a message.

    Attributes:
        number: which.
        start: where its tag is.
        value: where its value is.
        end: where the next field is.
    """

    number: int
    start: int
    value: int
    end: int


def fields(data: Data, start: int, end: int) -> Iterator[Field]:
    """The fields of the message that is in `data` between two places.

    Raises:
        ValueError: it is no message.
    """
    at = start
    while at < end:
        tag, value = _varint(data, at, end)
        kind = tag & 7
        if kind == _DELIMITED:
            size, value = _varint(data, value, end)
            after = value + size
        elif kind == _VARINT:
            _, after = _varint(data, value, end)
        elif kind in (_FIXED64, _FIXED32):
            after = value + (8 if kind == _FIXED64 else 4)
        else:
            raise ValueError(f"a field of wire type {kind}")
        if after > end:
            raise ValueError("a field that is cut short")
        yield Field(tag >> 3, at, value, after)
        at = after


def skeleton(data: Data, file: str = "") -> bytes:
    """A model without the numbers of its large initializers, as bytes to be parsed.

    Args:
        data: a file.
        file: its name, for each of them to say where in it the numbers are; empty for initializers that say nothing.

    Raises:
        ValueError: it is no message.
    """
    made = []
    for part in fields(data, 0, len(data)):
        if part.number != _GRAPH:
            made.append(bytes(data[part.start : part.end]))
            continue
        graph = b"".join(
            _initializer(data, inner, file) if inner.number == _INITIALIZER else bytes(data[inner.start : inner.end])
            for inner in fields(data, part.value, part.end)
        )
        made.append(_tag(_GRAPH, len(graph)) + graph)
    return b"".join(made)


def _initializer(data: Data, part: Field, file: str) -> bytes:
    """An initializer, without its numbers where these are many."""
    if part.end - part.value < LARGE:
        return bytes(data[part.start : part.end])
    made = []
    for inner in fields(data, part.value, part.end):
        if inner.number != _RAW_DATA:
            made.append(bytes(data[inner.start : inner.end]))
        elif file:
            told = {"location": file, "offset": str(inner.value), "length": str(inner.end - inner.value)}
            made += [_delimited(_EXTERNAL_DATA, _entry(key, value)) for key, value in told.items()]
            made.append(_encoded(_DATA_LOCATION << 3 | _VARINT) + _encoded(_EXTERNAL))
    return _delimited(_INITIALIZER, b"".join(made))


def _entry(key: str, value: str) -> bytes:
    return _delimited(1, key.encode()) + _delimited(2, value.encode())


def _delimited(number: int, data: bytes) -> bytes:
    return _tag(number, len(data)) + data


def write_model(path: Path, model: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a model whose large initializers are beside it.

    Args:
        path: where it goes.
        model: a ModelProto. An initializer that has an array holds no numbers.
        arrays: by the name of the initializer, in C order. More than `LARGEST` bytes go into a file beside it.

    Raises:
        OSError: it can't be written.
    """
    if sum(array.nbytes for array in arrays.values()) > LARGEST:
        path.write_bytes(_with_data_beside(path, model, arrays).SerializeToString(deterministic=True))
        return
    whole, graph = (part.SerializeToString(deterministic=True) for part in (model, model.graph))
    heads = [_head(tensor, arrays.get(tensor.name)) for tensor in model.graph.initializer]
    bodies = [arrays.get(tensor.name) for tensor in model.graph.initializer]
    sizes = [len(head) + (0 if body is None else body.nbytes) for head, body in zip(heads, bodies, strict=True)]
    parts = list(fields(graph, 0, len(graph)))
    first = b"".join(graph[part.start : part.end] for part in parts if part.number < _INITIALIZER)
    last = b"".join(graph[part.start : part.end] for part in parts if part.number > _INITIALIZER)
    length = len(first) + len(last) + sum(size + len(_tag(_INITIALIZER, size)) for size in sizes)
    place = next(part for part in fields(whole, 0, len(whole)) if part.number == _GRAPH)
    with path.open("wb") as file:
        file.write(whole[: place.start] + _tag(_GRAPH, length) + first)
        for head, body, size in zip(heads, bodies, sizes, strict=True):
            file.write(_tag(_INITIALIZER, size) + head)
            if body is not None:
                for piece in _pieces(body):
                    file.write(piece)
        file.write(last + whole[place.end :])


def _with_data_beside(path: Path, model: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Write the arrays beside `path`; the model that says where they are."""
    found = type(model)()
    found.CopyFrom(model)
    place = path.with_name(path.name + BESIDE)
    with place.open("wb") as file:
        for tensor in found.graph.initializer:
            if (array := arrays.get(tensor.name)) is None:
                continue
            file.seek(-file.tell() % _PAGE, os.SEEK_CUR)
            tensor.ClearField("external_data")
            told = {"location": place.name, "offset": str(file.tell()), "length": str(array.nbytes)}
            for key, value in told.items():
                tensor.external_data.add(key=key, value=value)
            tensor.data_location = _EXTERNAL
            file.writelines(_pieces(array))
    return found


def write_properties(path: Path, data: Data, properties: bytes) -> None:
    """Give the file at `path` other properties: fields of the model, which stand behind all that was there.

    Args:
        path: the file.
        data: what is in it.
        properties: the fields.

    Raises:
        OSError: it can't be written.
    """
    parts = list(fields(data, 0, len(data)))
    kept = [part for part in parts if part.number != _PROPERTIES]
    if len(kept) == len(parts):
        with path.open("ab") as file:
            file.write(properties)
        return
    beside = path.with_name(f"{path.name}.new")
    with beside.open("wb") as file:
        for part in kept:
            for at in range(part.start, part.end, _CHUNK):
                file.write(data[at : min(at + _CHUNK, part.end)])
        file.write(properties)
    beside.replace(path)


def _head(tensor: Any, array: np.ndarray | None) -> bytes:
    """An initializer, but for the bytes of its array."""
    if array is None:
        data: bytes = tensor.SerializeToString(deterministic=True)
        return data
    head = type(tensor)()
    head.CopyFrom(tensor)
    head.ClearField("external_data")
    head.ClearField("data_location")
    return bytes(head.SerializeToString(deterministic=True)) + _tag(_RAW_DATA, array.nbytes)


def _pieces(array: np.ndarray) -> Iterator[memoryview]:
    """The bytes of an array, the least significant of each number first."""
    flat = array.reshape(-1)
    step = max(1, _CHUNK // array.itemsize)
    for at in range(0, flat.size, step):
        piece = flat[at : at + step]
        yield np.ascontiguousarray(piece, piece.dtype.newbyteorder("<")).view(np.uint8).data


def _tag(number: int, size: int) -> bytes:
    """What stands before a field of so many bytes."""
    return _encoded(number << 3 | _DELIMITED) + _encoded(size)


def _encoded(number: int) -> bytes:
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*data, number))


def _varint(data: Data, at: int, end: int) -> tuple[int, int]:
    """A number, and where it ends."""
    number = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
    raise ValueError("a number that is cut short")
