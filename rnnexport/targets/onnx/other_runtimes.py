"""An ONNX file in other runtimes than ONNX Runtime for Python: tract, those of JavaScript, and OpenVINO where this ONNX
Runtime does not have it.

Each reads the file by itself. tract ends the process on some of the files that it can't run: `--portable`
writes others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx

from rnnexport.core.errors import ForeignCode, ProviderError, one_line, reason
from rnnexport.core.placement import Placement
from rnnexport.targets.base import RuntimeTensor
from rnnexport.targets.onnx.javascript import PACKAGES, node
from rnnexport.targets.onnx.metadata import external_files, lean

Call = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
InOrder = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]


class OtherRunner:
    """See `Runner`.

    Args:
        call: takes the inputs and gives the outputs, by name.
        boundary: of the file.
        runtime: what runs it, with versions.
    """

    ordered = True
    entries: tuple[str, ...] = ()

    def __init__(self, call: Call, boundary: onnx.GraphProto, runtime: str) -> None:
        self._call = call
        self.settings: Mapping[str, str] = {"runtime": runtime}
        self.inputs = tuple(map(_tensor, boundary.input))
        self.outputs = tuple(map(_tensor, boundary.output))

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = self._call({tensor.name: np.ascontiguousarray(feed[tensor.name]) for tensor in self.inputs})
        return {tensor.name: found[tensor.name] for tensor in self.outputs}

    def at(self, entry: str) -> OtherRunner:
        raise KeyError(entry)

    def placement(self) -> Placement | None:
        return None


@contextmanager
def open_other(path: Path, provider: str) -> Iterator[OtherRunner]:
    """Load `path` in the runtime of that name, one of `OTHERS`.

    Raises:
        ProviderError: the runtime is not here, or does not take the file.
        CrashError: it ended its process.
    """
    if provider in PACKAGES:
        with node(path, provider, external_files(path)) as (loaded, runtime):
            yield OtherRunner(loaded.call, lean(path).graph, runtime)
        return
    try:
        module = import_module(provider)
    except ModuleNotFoundError as error:
        raise ProviderError(
            f"{provider} is not installed", f"the runtime {provider}", "pip install 'rnnexport[portable]'"
        ) from error
    with ForeignCode(partial(_refused, path, provider)):
        call = _MODULES[provider](module, path)
    boundary = lean(path).graph
    yield OtherRunner(_by_name(call, boundary), boundary, f"{provider} {version(provider)}")


def _by_name(call: InOrder, boundary: onnx.GraphProto) -> Call:
    names = [value.name for value in boundary.output]
    return lambda feed: dict(zip(names, call(list(feed.values())), strict=True))


def _tract(tract: ModuleType, path: Path) -> InOrder:
    runnable = tract.onnx().load(str(path)).into_model().into_runnable()
    return lambda arrays: [found.to_numpy() for found in runnable.run(list(arrays))]


def _openvino(openvino: ModuleType, path: Path) -> InOrder:
    # Left to itself it computes in bfloat16 where the processor can.
    model = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda arrays: list(model(list(arrays)).to_tuple())


_MODULES: Mapping[str, Callable[[ModuleType, Path], InOrder]] = {"tract": _tract, "openvino": _openvino}
OTHERS = (*_MODULES, *PACKAGES)


def _refused(path: Path, provider: str, error: BaseException) -> ProviderError:
    return ProviderError(
        f"{provider} does not take {path.name}: {one_line(reason(error).partition('Stack backtrace:')[0])}",
        "a file it loads",
        "export with --portable, or verify on another provider",
    )


def _tensor(value: onnx.ValueInfoProto) -> RuntimeTensor:
    kind = value.type.tensor_type
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)).name
    return RuntimeTensor(value.name, dtype, tuple(dim.dim_param or dim.dim_value for dim in kind.shape.dim))
