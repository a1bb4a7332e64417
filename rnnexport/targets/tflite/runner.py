"""A TFLite file in the LiteRT interpreter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from rnnexport.errors import ProviderError, UsageError
from rnnexport.signature import argument_name
from rnnexport.targets.base import SIGNATURE, STEP, RuntimeTensor


class TFLiteRunner:
    """See `Runner`. The interpreter, which all signatures share, is resized to the shapes of each feed."""

    ordered = False
    settings: Mapping[str, str] = MappingProxyType({})

    def __init__(self, interpreter: Any, entry: str) -> None:
        self._interpreter = interpreter
        self._runner = runner = interpreter.get_signature_runner(entry)
        self.entries = tuple(interpreter.get_signature_list())
        self.inputs = tuple(_runtime_tensor(n, d) for n, d in runner.get_input_details().items())
        self.outputs = tuple(_runtime_tensor(n, d) for n, d in runner.get_output_details().items())

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = self._runner(**{argument_name(name): array for name, array in feed.items()})
        # The interpreter returns views of its own memory, which the next call overwrites.
        return {name: np.array(array) for name, array in outputs.items()}

    def at(self, entry: str) -> TFLiteRunner:
        if entry not in self.entries:
            raise KeyError(entry)
        return TFLiteRunner(self._interpreter, entry)

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
        interpreter = Interpreter(model_path=str(path))
        runner = TFLiteRunner(interpreter, main_signature(interpreter))
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"LiteRT refuses {path.name}: {error}", "a whole TFLite file", "export it again") from error
    yield runner


def main_signature(interpreter: Any) -> str:
    """The name of the function that the artifact is there for."""
    return STEP if STEP in interpreter.get_signature_list() else SIGNATURE


def _runtime_tensor(name: str, detail: Mapping[str, Any]) -> RuntimeTensor:
    shape = tuple(None if size < 0 else int(size) for size in detail["shape_signature"])
    return RuntimeTensor(name, np.dtype(detail["dtype"]).name, shape)
