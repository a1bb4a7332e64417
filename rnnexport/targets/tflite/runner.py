"""A TFLite file in the LiteRT interpreter; `micro` has the other one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from rnnexport.core.errors import MismatchError, ProviderError, UsageError
from rnnexport.core.signature import argument_name
from rnnexport.targets.base import SIGNATURE, STEP, Runner, RuntimeTensor
from rnnexport.targets.tflite.metadata import holds_state, operators
from rnnexport.targets.tflite.micro import open_micro

PLAIN = "no-xnnpack"
TFLM = "tflm"
Open = Callable[[], Any]  # an interpreter of the file, new
Shapes = tuple[tuple[int, ...], ...]
_FAILED: Shapes = ((-1,),)


class TFLiteRunner:
    """See `Runner`. Each call of other shapes than the one before has a new interpreter.

    One that is resized more than once is wrong now and then: the memory of its XNNPACK delegate is that of a smaller
    batch. Of some files with an open batch every call but the first is wrong (both seen with ai-edge-litert 2.3.0, see
    docs/runtimes.md). So the first call of an interpreter is made once more behind one of other values: both have to
    give the same.

    A file that holds states, as its fused operators do, begins anew in every call: they are reset before it.
    """

    ordered = False
    settings: Mapping[str, str] = MappingProxyType({})

    def __init__(self, opened: Open, entry: str, *, holds_state: bool, has_loops: Callable[[], bool] = bool) -> None:
        self._opened, self._entry, self._holds_state, self._has_loops = opened, entry, holds_state, has_loops
        self._shapes: Shapes | None = None
        self._used = False
        self._interpreter = interpreter = opened()
        self._runner = runner = interpreter.get_signature_runner(entry)
        self.entries = tuple(interpreter.get_signature_list())
        self.inputs = tuple(_runtime_tensor(n, d) for n, d in runner.get_input_details().items())
        self.outputs = tuple(_runtime_tensor(n, d) for n, d in runner.get_output_details().items())

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        arguments = {argument_name(name): array for name, array in feed.items()}
        shapes = tuple(arguments[name].shape for name in sorted(arguments))
        first = self._shapes != shapes
        if first and self._shapes is not None:
            self._interpreter, self._used = self._opened(), False
            self._runner = self._interpreter.get_signature_runner(self._entry)
        self._shapes = _FAILED  # until it comes back
        found = self._called(arguments)
        if first:
            self._called({name: np.flip(array) for name, array in arguments.items()})
            self._require_same(found, self._called(arguments))
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
        reset, cure = ", after a reset of all variables", "--form rolled has no state that could be left"
        if not self._holds_state:
            cure = "--form unroll and --timesteps" if self._has_loops() else "--batch N, one size,"
            reset, cure = "", f"{cure} has not been seen to do that"
        if not all(np.array_equal(array, second[name], equal_nan=True) for name, array in first.items()):
            raise MismatchError(
                f"a later call of the same inputs gives something else{reset} ({cure})",
                "the same each time",
                "export it again; see docs/runtimes.md",
            )

    def at(self, entry: str) -> TFLiteRunner:
        if entry not in self.entries:
            raise KeyError(entry)
        return TFLiteRunner(self._opened, entry, holds_state=self._holds_state, has_loops=self._has_loops)

    def placement(self) -> None:
        return None


@contextmanager
def open_runner(path: Path, provider: str, tf32: bool = False) -> Iterator[Runner]:
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
        loops = partial(_has_loops, path)
        runner = TFLiteRunner(opened, main_signature(opened()), holds_state=holds_state(path), has_loops=loops)
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"LiteRT refuses {path.name}: {error}", "a whole TFLite file", "export it again") from error
    yield runner


def main_signature(interpreter: Any) -> str:
    """The name of the function that the artifact is there for."""
    return STEP if STEP in interpreter.get_signature_list() else SIGNATURE


def _has_loops(path: Path) -> bool:
    return "WHILE" in operators(path)


def _runtime_tensor(name: str, detail: Mapping[str, Any]) -> RuntimeTensor:
    shape = tuple(None if size < 0 else int(size) for size in detail["shape_signature"])
    return RuntimeTensor(name, np.dtype(detail["dtype"]).name, shape)
