"""The process behind `backend.c`: runs batches of requests in ONNX Runtime, with the states that Triton put in."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import onnxruntime
from google.protobuf import text_format

from rnnexport.triton.configuration import messages

Arrays = Mapping[str, np.ndarray]
Loaded = tuple[Any, onnxruntime.InferenceSession]
_LETTERS = {"TYPE_FP16": "float16", "TYPE_FP32": "float32", "TYPE_FP64": "float64"}


class Runtime:
    """Listens at a socket until the program ends.

    Attributes:
        largest: how many requests the largest run of each model had, by its folder's name.
    """

    def __init__(self, place: Path) -> None:
        names = messages().DataType.items()
        fixed = {name: number for name, number in names if name not in ("TYPE_INVALID", "TYPE_STRING", "TYPE_BF16")}
        self._dtypes = {n: np.dtype(_LETTERS.get(name, name[5:].lower())) for name, n in fixed.items()}
        self._numbers = {dtype: number for number, dtype in self._dtypes.items()}
        self._loaded: dict[tuple[str, int], Loaded] = {}
        self._lock = threading.Lock()
        self.largest: dict[str, int] = {}
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(place))
        self._server.listen()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            connection, _ = self._server.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as wire:
            place, version, count = _text(wire), _number(wire), _number(wire)
            feeds = [self._feed(wire) for _ in range(count)]
            with self._lock:
                config, session = self._model(place, version)
                self.largest[config.name] = max(count, self.largest.get(config.name, 0))
                answers = _run(config, session, feeds)
            states = {state.output_name for state in config.sequence_batching.state}
            for answer in answers:
                wire.write(struct.pack("<q", len(answer)))
                for name, array in answer.items():
                    head = (name in states, self._numbers[array.dtype], array.ndim, *array.shape, array.nbytes)
                    wire.write(struct.pack("<q", len(name.encode())) + name.encode())
                    wire.write(struct.pack(f"<{len(head)}q", *head) + array.tobytes())

    def _feed(self, wire: IO[bytes]) -> Arrays:
        feed = {}
        for _ in range(_number(wire)):
            name, dtype = _text(wire), self._dtypes[_number(wire)]
            shape = [_number(wire) for _ in range(_number(wire))]
            feed[name] = np.frombuffer(wire.read(_number(wire)), dtype).reshape(shape)
        return feed

    def _model(self, place: str, version: int) -> Loaded:
        if (place, version) not in self._loaded:
            config = text_format.Parse((Path(place) / "config.pbtxt").read_text(), messages().ModelConfig())
            session = onnxruntime.InferenceSession(Path(place) / str(version) / "model.onnx")
            self._loaded[place, version] = config, session
        return self._loaded[place, version]


def _run(config: Any, session: onnxruntime.InferenceSession, feeds: Sequence[Arrays]) -> list[Arrays]:
    """The outputs of each request; all of them in one run."""
    names = [output.name for output in session.get_outputs()]
    if config.max_batch_size == 0:
        (feed,) = feeds
        return [dict(zip(names, session.run(names, dict(feed)), strict=True))]
    rows = np.cumsum([len(next(iter(feed.values()))) for feed in feeds])[:-1]
    whole = session.run(names, {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]})
    parts = [[np.ascontiguousarray(part) for part in np.split(array, rows)] for array in whole]
    return [dict(zip(names, part, strict=True)) for part in zip(*parts, strict=True)]


def _number(wire: IO[bytes]) -> int:
    return struct.unpack("<q", wire.read(8))[0]


def _text(wire: IO[bytes]) -> str:
    return wire.read(_number(wire)).decode()
