"""A TFLite file in TensorFlow Lite Micro, as the tflite-micro package runs it on this host."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from rnnexport.core.errors import ForeignCode, ProviderError, one_line
from rnnexport.core.signature import argument_name
from rnnexport.targets.base import SIGNATURE, STEP, Runner, RuntimeTensor
from rnnexport.targets.tflite.arena import least_arena
from rnnexport.targets.tflite.metadata import parse

_STDERR = 2
# What it says of an operator that it lacks, and of one whose use it does not support.
_LACKS = re.compile(r"Didn't find op for builtin opcode '(\w+)'|Node (\w+) \(number")
# Bytes of a value at most, of what is noted of a tensor or operator, and of all else.
_VALUE, _NOTES, _ELSE = 8, 1024, 1 << 16
_TYPES = {0: "float32", 1: "float16", 2: "int32", 4: "int64", 6: "bool", 9: "int8"}  # of states, by TensorType


class MicroRunner:
    """See `Runner`. Its sizes are those of the file; what it holds is reset before each call.

    `settings` has the bytes of memory that it takes, the arena; the weights are not in it, they stay in the file.

    Args:
        path: of the file.
        interpreter: of it.
        room: the bytes of its arena.
    """

    ordered = False

    def __init__(self, path: Path, interpreter: Any, room: int) -> None:
        self._interpreter = interpreter
        self.settings: Mapping[str, str] = MappingProxyType({"arena": f"{least_arena(path, room):,} bytes"})
        model, _ = parse(path)
        signatures = list(map(model.SignatureDefs, range(model.SignatureDefsLength())))
        named = {one.SignatureKey().decode(): one for one in signatures}
        self._held = {
            name: Held(model, one)
            for name, one in named.items()
            if not model.Subgraphs(one.SubgraphIndex()).OperatorsLength()
        }
        self.entries = tuple(name for name, one in named.items() if name in self._held or not one.SubgraphIndex())
        main, graph = named[STEP if STEP in named else SIGNATURE], model.Subgraphs(0)
        self._inputs = _places([main.Inputs(at) for at in range(main.InputsLength())], graph.InputsAsNumpy())
        self._outputs = _places([main.Outputs(at) for at in range(main.OutputsLength())], graph.OutputsAsNumpy())
        self.inputs = tuple(_described(name, interpreter.get_input_details(at)) for name, at in self._inputs.items())
        self.outputs = tuple(_described(name, interpreter.get_output_details(at)) for name, at in self._outputs.items())

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self._interpreter.reset()
        for name, array in feed.items():
            self._interpreter.set_input(np.ascontiguousarray(array), self._inputs[argument_name(name)])
        self._interpreter.invoke()
        return {name: np.array(self._interpreter.get_output(at)) for name, at in self._outputs.items()}

    def at(self, entry: str) -> Runner:
        if entry not in self.entries:
            raise KeyError(entry)
        return self._held.get(entry, self)

    def placement(self) -> None:
        return None


class Held:
    """See `Runner`. A signature without an operator, as that of initial states: what it gives is in the file.

    TensorFlow Lite Micro calls the first graph of a file alone; whoever calls it begins with these states.
    """

    ordered = False
    inputs: tuple[RuntimeTensor, ...] = ()
    settings: Mapping[str, str] = MappingProxyType({})

    def __init__(self, model: Any, signature: Any) -> None:
        graph = model.Subgraphs(signature.SubgraphIndex())
        named = [signature.Outputs(at) for at in range(signature.OutputsLength())]
        self._arrays = {one.Name().decode(): _constant(model, graph.Tensors(one.TensorIndex())) for one in named}
        self.outputs = tuple(RuntimeTensor(name, one.dtype.name, one.shape) for name, one in self._arrays.items())
        self.entries: tuple[str, ...] = (signature.SignatureKey().decode(),)

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(self._arrays)

    def at(self, entry: str) -> Held:
        if entry not in self.entries:
            raise KeyError(entry)
        return self

    def placement(self) -> None:
        return None


@contextmanager
def open_micro(path: Path) -> Iterator[MicroRunner]:
    """Load the file.

    Raises:
        ProviderError: tflite-micro is not installed; or it lacks an operator, which is named, or open sizes.
        UsageError: it is no TFLite file.
    """
    try:
        from tflite_micro import runtime
    except ModuleNotFoundError as error:
        raise ProviderError(
            "tflite-micro is not installed", "TensorFlow Lite Micro", "pip install 'rnnexport[tflm]'"
        ) from error
    room = _room(path)
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said.txt"
        with _printed_to(said), ForeignCode(partial(_refused, path, said)):
            interpreter = runtime.Interpreter.from_bytes(path.read_bytes(), arena_size=room)
        yield MicroRunner(path, interpreter, room)


def _room(path: Path) -> int:
    """Bytes in which everything has a place of its own. ProviderError where a size is open."""
    model, _ = parse(path)
    _require_fixed(path, model.Subgraphs(0))
    values = notes = 0
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        notes += graph.TensorsLength() + graph.OperatorsLength()
        for tensor in map(graph.Tensors, range(graph.TensorsLength())):
            values += int(np.prod(tensor.ShapeAsNumpy(), dtype=np.int64)) if tensor.ShapeLength() else 1
    return 2 * _VALUE * values + _NOTES * notes + _ELSE


def _require_fixed(path: Path, graph: Any) -> None:
    for at in graph.InputsAsNumpy():
        tensor = graph.Tensors(int(at))
        if tensor.ShapeSignatureLength() and (np.asarray(tensor.ShapeSignatureAsNumpy()) < 0).any():
            raise ProviderError(
                f"{path.name} has open sizes, in {tensor.Name().decode()}",
                "fixed sizes for TensorFlow Lite Micro",
                "export it with --batch 1 and --timesteps N",
            )


def _refused(path: Path, said: Path, error: BaseException) -> ProviderError:
    text = said.read_text(errors="replace") if said.is_file() else ""
    lacks = dict.fromkeys(name for pair in _LACKS.findall(text) for name in pair if name)
    first = one_line(next(iter(text.strip().splitlines()), str(error)), 160)
    why = f"it has no {', '.join(lacks)} of this kind: {first}" if lacks else first
    return ProviderError(
        f"TensorFlow Lite Micro refuses {path.name}: {why}",
        "operators that it has",
        "export it again for this runtime, with another --form",
    )


@contextmanager
def _printed_to(file: Path) -> Iterator[None]:
    """Inside this block what C++ prints on descriptor 2 goes to a file."""
    before = os.dup(_STDERR)
    with file.open("wb") as stream:
        os.dup2(stream.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(before, _STDERR)
            os.close(before)


def _places(named: list[Any], order: Any) -> dict[str, int]:
    """The place of each tensor of a signature among those of the graph, by its name."""
    places = {int(tensor): at for at, tensor in enumerate(order)}
    return {one.Name().decode(): places[int(one.TensorIndex())] for one in named}


def _constant(model: Any, tensor: Any) -> np.ndarray:
    """What a tensor holds."""
    data, kind = model.Buffers(tensor.Buffer()).DataAsNumpy(), np.dtype(_TYPES[tensor.Type()])
    shape = tensor.ShapeAsNumpy() if tensor.ShapeLength() else ()
    return np.frombuffer(bytes(bytearray(data)), kind).reshape(shape)


def _described(name: str, detail: Mapping[str, Any]) -> RuntimeTensor:
    return RuntimeTensor(name, np.dtype(detail["dtype"]).name, tuple(map(int, detail["shape"])))
