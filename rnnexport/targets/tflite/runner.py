"""A TFLite file in the LiteRT interpreter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from rnnexport.core.errors import ProviderError, UsageError
from rnnexport.core.signature import argument_name
from rnnexport.targets.base import SIGNATURE, STEP, RuntimeTensor

Open = Callable[[], Any]  # an interpreter of the file, new
Shapes = tuple[tuple[int, ...], ...]


class TFLiteRunner:
    """See `Runner`. Each call of other shapes than the one before has a new interpreter.

    One that is resized more than once is wrong now and then: the memory of its XNNPACK delegate is that of a smaller
    batch (seen with ai-edge-litert 2.3.0, see docs/runtimes.md).
    """

    ordered = False
    settings: Mapping[str, str] = MappingProxyType({})

    def __init__(self, opened: Open, entry: str) -> None:
        self._opened, self._entry = opened, entry
        self._shapes: Shapes | None = None
        interpreter = opened()
        self._runner = runner = interpreter.get_signature_runner(entry)
        self.entries = tuple(interpreter.get_signature_list())
        self.inputs = tuple(_runtime_tensor(n, d) for n, d in runner.get_input_details().items())
        self.outputs = tuple(_runtime_tensor(n, d) for n, d in runner.get_output_details().items())

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        arguments = {argument_name(name): array for name, array in feed.items()}
        shapes = tuple(arguments[name].shape for name in sorted(arguments))
        if self._shapes not in (None, shapes):
            self._runner = self._opened().get_signature_runner(self._entry)
        self._shapes = shapes
        outputs = self._runner(**arguments)
        # The interpreter returns views of its own memory, which the next call overwrites.
        return {name: np.array(array) for name, array in outputs.items()}

    def at(self, entry: str) -> TFLiteRunner:
        if entry not in self.entries:
            raise KeyError(entry)
        return TFLiteRunner(self._opened, entry)

    def placement(self) -> None:
        return None


@contextmanager
def open_runner(path: Path, provider: str, tf32: bool = False) -> Iterator[TFLiteRunner]:
    """Load the file. The interpreter runs on the CPU, the one `provider` of this target, which has no TF32.

    Raises:
        ProviderError: ai-edge-litert is not installed.
        UsageError: the interpreter refuses the file, or it has neither a signature `step` nor `serving_default`.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ModuleNotFoundError as error:
        raise ProviderError(
            "ai-edge-litert is not installed", "LiteRT, to run a TFLite file", "pip install 'rnnexport[cpu]'"
        ) from error
    try:
        opened = partial(Interpreter, model_path=str(path))
        runner = TFLiteRunner(opened, main_signature(opened()))
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"LiteRT refuses {path.name}: {error}", "a whole TFLite file", "export it again") from error
    yield runner


def main_signature(interpreter: Any) -> str:
    """The name of the function that the artifact is there for."""
    return STEP if STEP in interpreter.get_signature_list() else SIGNATURE


def _runtime_tensor(name: str, detail: Mapping[str, Any]) -> RuntimeTensor:
    shape = tuple(None if size < 0 else int(size) for size in detail["shape_signature"])
    return RuntimeTensor(name, np.dtype(detail["dtype"]).name, shape)
