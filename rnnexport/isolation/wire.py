"""Messages between two processes: an object of JSON, and arrays. Nothing that is received is executed or unpickled."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

_LENGTH = struct.Struct("<QQ")  # bytes of JSON, bytes of arrays
_TEXT = "text"

Message = tuple[dict[str, Any], dict[str, np.ndarray]]


class ClosedError(Exception):
    """The other side is gone."""


class TooLargeError(Exception):
    """A message of more bytes than may be received."""


def send(channel: socket.socket, told: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> None:
    """Send a message.

    Raises:
        ClosedError: the other side is gone.
        TimeoutError: it does not read.
    """
    plain = {name: np.asarray(array) for name, array in (arrays or {}).items()}
    texts = {name: [str(item) for item in array.ravel()] for name, array in plain.items() if array.dtype.kind in "OUS"}
    kinds = [[name, _TEXT if name in texts else array.dtype.name, array.shape] for name, array in plain.items()]
    head = json.dumps({"told": dict(told), "arrays": kinds, "texts": texts}).encode()
    numbers = [np.ascontiguousarray(array) for name, array in plain.items() if name not in texts]
    try:
        channel.sendall(_LENGTH.pack(len(head), sum(array.nbytes for array in numbers)) + head)
        for array in numbers:
            if array.size:
                channel.sendall(array.reshape(-1).view(np.uint8).data)
    except ConnectionError as error:
        raise ClosedError from error


def receive(channel: socket.socket, most: int, wait: Callable[[], None] = lambda: None) -> Message:
    """Receive a message.

    Args:
        channel: from whom.
        most: bytes that it may have.
        wait: called before every read: it returns once there is something to read, or raises.

    Raises:
        ClosedError: the other side is gone.
        TooLargeError: see `most`.
    """
    head, body = _LENGTH.unpack(_read(channel, _LENGTH.size, wait))
    if head + body > most:
        raise TooLargeError(head + body)
    value = json.loads(_read(channel, head, wait))
    arrays: dict[str, np.ndarray] = {}
    for name, kind, shape in value["arrays"]:
        if kind == _TEXT:
            arrays[name] = np.array(value["texts"][name], object).reshape(shape)
            continue
        dtype = _dtype(kind)
        data = _read(channel, dtype.itemsize * int(np.prod(shape, dtype=np.int64)), wait)
        arrays[name] = np.frombuffer(data, dtype).reshape(shape)
    return value["told"], arrays


def _read(channel: socket.socket, count: int, wait: Callable[[], None]) -> bytearray:
    data = bytearray(count)
    view, done = memoryview(data), 0
    while done < count:
        wait()
        try:
            read = channel.recv_into(view[done:])
        except ConnectionError as error:
            raise ClosedError from error
        if not read:
            raise ClosedError
        done += read
    return data


def _dtype(name: str) -> np.dtype[Any]:
    try:
        return np.dtype(name)
    except TypeError:  # bfloat16 and its like, which TensorFlow brings
        import ml_dtypes

        found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return found
