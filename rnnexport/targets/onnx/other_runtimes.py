"""An ONNX file in other runtimes than ONNX Runtime: tract, and OpenVINO where this ONNX Runtime does not have it.

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
from rnnexport.targets.onnx.metadata import lean

Call = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]


class OtherRunner:
    """See `Runner`.

    Args:
        call: takes the inputs and gives the outputs, in the order of the file.
        boundary: of the file.
        settings: see `Runner`.
    """

    ordered = True
    entries: tuple[str, ...] = ()

    def __init__(self, call: Call, boundary: onnx.GraphProto, settings: Mapping[str, str]) -> None:
        self._call = call
        self.settings = settings
        self.inputs = tuple(map(_tensor, boundary.input))
        self.outputs = tuple(map(_tensor, boundary.output))

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        arrays = [np.ascontiguousarray(feed[tensor.name]) for tensor in self.inputs]
        return dict(zip((tensor.name for tensor in self.outputs), self._call(arrays), strict=True))

    def at(self, entry: str) -> OtherRunner:
        raise KeyError(entry)

    def placement(self) -> Placement | None:
        return None


@contextmanager
def open_other(path: Path, provider: str) -> Iterator[OtherRunner]:
    """Load `path` in the runtime of that name, a key of `OTHERS`.

    Raises:
        ProviderError: the runtime is not here, or does not take the file.
    """
    try:
        module = import_module(provider)
    except ModuleNotFoundError as error:
        raise ProviderError(
            f"{provider} is not installed", f"the runtime {provider}", "pip install 'rnnexport[portable]'"
        ) from error
    with ForeignCode(partial(_refused, path, provider)):
        call = OTHERS[provider](module, path)
    yield OtherRunner(call, lean(path).graph, {"runtime": f"{provider} {version(provider)}"})


def _tract(tract: ModuleType, path: Path) -> Call:
    runnable = tract.onnx().load(str(path)).into_model().into_runnable()
    return lambda arrays: [found.to_numpy() for found in runnable.run(list(arrays))]


def _openvino(openvino: ModuleType, path: Path) -> Call:
    # Left to itself it computes in bfloat16 where the processor can.
    model = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda arrays: list(model(list(arrays)).to_tuple())


OTHERS: Mapping[str, Callable[[ModuleType, Path], Call]] = {"tract": _tract, "openvino": _openvino}


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
