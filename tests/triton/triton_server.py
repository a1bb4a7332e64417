"""A Triton server in miniature: it knows nothing but a model repository, and carries states as Triton does."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import tritonclient.grpc
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

DTYPES = {"FP16": "float16", "FP32": "float32", "FP64": "float64"}
Arrays = Mapping[str, np.ndarray]


def numpy_name(data_type: int) -> str:
    name = DataType.Name(data_type).removeprefix("TYPE_")
    return DTYPES.get(name, name.lower())


class Server:
    """The newest version of each model of a repository."""

    def __init__(self, repository: Path) -> None:
        self._models = {folder.name: Model(folder) for folder in repository.iterdir()}

    def infer(self, model: str, inputs: Arrays, sequence: int = 0, start: bool = False, end: bool = False) -> Arrays:
        return self._models[model].infer(inputs, sequence, start, end)


class Model:
    def __init__(self, folder: Path) -> None:
        self.config = text_format.Parse((folder / "config.pbtxt").read_text(), ModelConfig())
        assert self.config.name == folder.name
        newest = max(int(path.name) for path in folder.iterdir() if path.name.isdigit())
        self._session = onnxruntime.InferenceSession(folder / str(newest) / "model.onnx")
        self._folder = folder
        self._states: dict[int, dict[str, np.ndarray]] = {}

    def infer(self, inputs: Arrays, sequence: int, start: bool, end: bool) -> Arrays:
        batched, states = self.config.max_batch_size > 0, self.config.sequence_batching.state
        assert set(inputs) == {tensor.name for tensor in self.config.input}
        for tensor in self.config.input:
            self._check(tensor, inputs[tensor.name], batched)
        if states:
            assert sequence, "a request without a sequence"
            assert start or sequence in self._states, "a sequence that was not started"
        if start:
            self._states[sequence] = {state.input_name: self._initial(state, batched) for state in states}
        names = [output.name for output in self._session.get_outputs()]
        found = dict(zip(names, self._session.run(names, {**inputs, **self._states.get(sequence, {})}), strict=True))
        # By their places among the sorted names, as Triton does; what the configuration pairs is not looked at.
        before = sorted(state.input_name for state in states)
        after = sorted(state.output_name for state in states)
        self._states[sequence] = {old: found[new] for old, new in zip(before, after, strict=True)}
        if end:
            del self._states[sequence]
        return {output.name: found[output.name] for output in self.config.output}

    def _check(self, tensor: object, array: np.ndarray, batched: bool) -> None:
        dims = [-1, *tensor.dims] if batched else list(tensor.dims)
        assert array.dtype == numpy_name(tensor.data_type)
        assert len(array.shape) == len(dims)
        assert all(wanted in (-1, found) for wanted, found in zip(dims, array.shape, strict=True))
        assert not (batched and self.config.HasField("sequence_batching")) or array.shape[0] == 1

    def _initial(self, state: object, batched: bool) -> np.ndarray:
        (start,) = state.initial_state
        shape = ([1] if batched else []) + list(start.dims)
        if start.WhichOneof("state_data") == "zero_data":
            return np.zeros(shape, numpy_name(start.data_type))
        data = (self._folder / "initial_state" / start.data_file).read_bytes()
        return np.frombuffer(data, numpy_name(start.data_type)).reshape(shape)


def client_of(server: Server) -> type:
    """A class in the place of `tritonclient.grpc.InferenceServerClient`, which asks `server`."""
    real = tritonclient.grpc.InferenceServerClient

    class Client:
        def __init__(self, url: str) -> None:
            inspect.signature(real).bind(url)

        def start_stream(self, callback: Callable[[object, object], None]) -> None:
            self._callback = callback

        def async_stream_infer(self, *arguments: object, **options: object) -> None:
            said = inspect.signature(real.async_stream_infer).bind(self, *arguments, **options)
            said.apply_defaults()
            at = SimpleNamespace(**said.arguments)
            feed = dict(map(_array, at.inputs))
            found = server.infer(at.model_name, feed, at.sequence_id, at.sequence_start, at.sequence_end)
            self._callback(SimpleNamespace(as_numpy=found.__getitem__), None)

        def stop_stream(self) -> None:
            del self._callback

    return Client


def _array(tensor: tritonclient.grpc.InferInput) -> tuple[str, np.ndarray]:
    shape: Sequence[int] = tensor.shape()
    data = np.frombuffer(tensor._raw_content, DTYPES.get(tensor.datatype(), tensor.datatype().lower()))
    return tensor.name(), data.reshape(shape)
