"""A TFLite file in the LiteRT interpreter, and in TensorFlow Lite Micro, as the tflite-micro package runs it here."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from rnnexport.core.errors import ForeignCode, ProviderError, UsageError, one_line
from rnnexport.core.signature import argument_name
from rnnexport.targets.base import SIGNATURE, STEP, RuntimeTensor
from rnnexport.targets.tflite.metadata import holds_state, parse

PLAIN = "no-xnnpack"
TFLM = "tflm"
_STDERR = 2
# What it says of an operator that it lacks, and of one whose use it does not support.
_LACKS = re.compile(r"Didn't find op for builtin opcode '(\w+)'|Node (\w+) \(number")
_ARENA = re.compile(r"Arena allocation total (\d+) bytes")
Open = Callable[[], Any]  # an interpreter of the file, new
Shapes = tuple[tuple[int, ...], ...]
_FAILED: Shapes = ((-1,),)


class TFLiteRunner:
    """See `Runner`. Each call of other shapes than the one before has a new interpreter.

    One that is resized more than once is wrong now and then: the memory of its XNNPACK delegate is that of a smaller
    batch (seen with ai-edge-litert 2.3.0, see docs/runtimes.md).

    A file that holds states, as its fused operators do, begins anew in every call: they are reset before it. The first
    call is made twice, to see that a reset is enough.
    """

    ordered = False
    settings: Mapping[str, str] = MappingProxyType({})

    def __init__(self, opened: Open, entry: str, *, holds_state: bool) -> None:
        self._opened, self._entry, self._holds_state = opened, entry, holds_state
        self._shapes: Shapes | None = None
        self._checked, self._used = not holds_state, False
        self._interpreter = interpreter = opened()
        self._runner = runner = interpreter.get_signature_runner(entry)
        self.entries = tuple(interpreter.get_signature_list())
        self.inputs = tuple(_runtime_tensor(n, d) for n, d in runner.get_input_details().items())
        self.outputs = tuple(_runtime_tensor(n, d) for n, d in runner.get_output_details().items())

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        arguments = {argument_name(name): array for name, array in feed.items()}
        shapes = tuple(arguments[name].shape for name in sorted(arguments))
        if self._shapes not in (None, shapes):
            self._interpreter, self._used = self._opened(), False
            self._runner = self._interpreter.get_signature_runner(self._entry)
        self._shapes = _FAILED  # until it comes back
        found = self._called(arguments)
        if not self._checked:
            self._require_same(found, self._called(arguments))
            self._checked = True
        self._shapes = shapes
        return found

    def _called(self, arguments: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self._holds_state and self._used:  # before the first call it has no memory that could be reset
            self._interpreter.reset_all_variables()
        outputs = self._runner(**arguments)
        self._used = True
        # The interpreter returns views of its own memory, which the next call overwrites.
        return {name: np.array(array) for name, array in outputs.items()}

    def _require_same(self, first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> None:
        for name, array in first.items():
            if not np.array_equal(array, second[name], equal_nan=True):
                raise UsageError(
                    f"{name} is something else in a second call, after a reset of all variables",
                    "the same for the same inputs",
                    "export it again with --form rolled",
                )

    def at(self, entry: str) -> TFLiteRunner:
        if entry not in self.entries:
            raise KeyError(entry)
        return TFLiteRunner(self._opened, entry, holds_state=self._holds_state)

    def placement(self) -> None:
        return None


class MicroRunner:
    """See `Runner`. Its sizes are those of the file; what it holds is reset before each call.

    `settings` has the bytes of memory that it takes, the arena: those for the weights, which stay in the file, are none
    of it.
    """

    ordered = False

    def __init__(self, path: Path, interpreter: Any, said: Path) -> None:
        self._interpreter, self._said = interpreter, said
        model, _ = parse(path)
        signatures = [model.SignatureDefs(at) for at in range(model.SignatureDefsLength())]
        self.entries = tuple(one.SignatureKey().decode() for one in signatures if one.SubgraphIndex() == 0)
        (main,) = (one for one in signatures if one.SignatureKey().decode() == self._main())
        graph = model.Subgraphs(0)
        self._inputs = _places([main.Inputs(at) for at in range(main.InputsLength())], graph.InputsAsNumpy())
        self._outputs = _places([main.Outputs(at) for at in range(main.OutputsLength())], graph.OutputsAsNumpy())
        self.inputs = tuple(_described(name, interpreter.get_input_details(at)) for name, at in self._inputs.items())
        self.outputs = tuple(_described(name, interpreter.get_output_details(at)) for name, at in self._outputs.items())
        self.settings: Mapping[str, str] = MappingProxyType({"arena": f"{self._arena():,} bytes"})

    def _main(self) -> str:
        return STEP if STEP in self.entries else SIGNATURE

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self._interpreter.reset()
        for name, array in feed.items():
            self._interpreter.set_input(np.ascontiguousarray(array), self._inputs[argument_name(name)])
        self._interpreter.invoke()
        return {name: np.array(self._interpreter.get_output(at)) for name, at in self._outputs.items()}

    def at(self, entry: str) -> MicroRunner:
        if entry not in self.entries:
            raise KeyError(entry)
        return self

    def placement(self) -> None:
        return None

    def _arena(self) -> int:
        """The bytes that it took, which it prints."""
        with _kept(self._said):
            self._interpreter.print_allocations()
        found = _ARENA.findall(self._said.read_text(errors="replace"))
        return int(found[-1]) if found else 0


@contextmanager
def open_runner(path: Path, provider: str, tf32: bool = False) -> Iterator[TFLiteRunner | MicroRunner]:
    """Load the file.

    Args:
        path: of the file.
        provider: `cpu`, LiteRT with its XNNPACK delegate; `no-xnnpack`, LiteRT without; or `tflm`, see `open_micro`.
        tf32: no matter here.

    Raises:
        ProviderError: ai-edge-litert is not installed; see `open_micro`.
        UsageError: the interpreter refuses the file, or it has neither a signature `step` nor `serving_default`.
    """
    if provider == TFLM:
        with open_micro(path) as micro:
            yield micro
        return
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ModuleNotFoundError as error:
        raise ProviderError(
            "ai-edge-litert is not installed", "LiteRT, to run a TFLite file", "pip install 'rnnexport[cpu]'"
        ) from error
    try:
        delegates = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if provider == PLAIN else OpResolverType.AUTO
        opened = partial(Interpreter, model_path=str(path), experimental_op_resolver_type=delegates)
        runner = TFLiteRunner(opened, main_signature(opened()), holds_state=holds_state(path))
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"LiteRT refuses {path.name}: {error}", "a whole TFLite file", "export it again") from error
    yield runner


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
    _require_fixed(path)
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said.txt"
        with _kept(said), ForeignCode(partial(_refused, path, said)):
            interpreter = runtime.Interpreter.from_bytes(path.read_bytes())
        yield MicroRunner(path, interpreter, said)


def _require_fixed(path: Path) -> None:
    model, _ = parse(path)
    graph = model.Subgraphs(0)
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
def _kept(file: Path) -> Iterator[None]:
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


def _described(name: str, detail: Mapping[str, Any]) -> RuntimeTensor:
    return RuntimeTensor(name, np.dtype(detail["dtype"]).name, tuple(map(int, detail["shape"])))


def main_signature(interpreter: Any) -> str:
    """The name of the function that the artifact is there for."""
    return STEP if STEP in interpreter.get_signature_list() else SIGNATURE


def _runtime_tensor(name: str, detail: Mapping[str, Any]) -> RuntimeTensor:
    shape = tuple(None if size < 0 else int(size) for size in detail["shape_signature"])
    return RuntimeTensor(name, np.dtype(detail["dtype"]).name, shape)
