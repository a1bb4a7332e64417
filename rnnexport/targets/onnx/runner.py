"""An ONNX file in ONNX Runtime, on one execution provider."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnexport.errors import ForeignCode, ProviderError, RnnExportError, UsageError
from rnnexport.targets.base import RuntimeTensor
from rnnexport.targets.onnx.providers import PROVIDERS, node_placement, onnxruntime_module

if TYPE_CHECKING:
    import onnxruntime

_QUIET = 3
# TF32 rounds the inputs of a float32 product to 10 bits of mantissa: fast, and not what was verified.
_PROVIDER_OPTIONS = {"CUDAExecutionProvider": {"use_tf32": "0"}}


class OnnxRunner:
    """See `Runner`."""

    ordered = True

    def __init__(self, session: onnxruntime.InferenceSession, profiled: bool) -> None:
        self._session = session
        self._profiled = profiled
        self.inputs = tuple(map(_runtime_tensor, session.get_inputs()))
        self.outputs = tuple(map(_runtime_tensor, session.get_outputs()))

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = [tensor.name for tensor in self.outputs]
        return dict(zip(names, self._session.run(names, dict(feed)), strict=True))

    def placement(self) -> Mapping[str, int]:
        return node_placement(Path(self._session.end_profiling())) if self._profiled else {}


@contextmanager
def open_runner(path: Path, provider: str) -> Iterator[OnnxRunner]:
    """Load `path` on `provider` (and on the CPU what that provider leaves).

    Raises:
        ProviderError: ONNX Runtime or the provider is not here, or the provider can't start.
        UsageError: ONNX Runtime refuses the file.
    """
    ort = onnxruntime_module("ONNX Runtime", "pip install 'rnnexport[cpu]' or 'rnnexport[cuda]'")
    wanted = PROVIDERS[provider]
    if provider != "cpu":
        ort.preload_dlls()  # CUDA and cuDNN from wheels, where there are any
    if wanted not in ort.get_available_providers():
        raise _missing(provider, f"this onnxruntime has {', '.join(ort.get_available_providers())}")
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.log_severity_level = _QUIET
        # Only a provider that shares the work with the CPU needs to be asked where nodes ran.
        options.enable_profiling = provider != "cpu"
        options.profile_file_prefix = str(Path(folder) / "profile")
        chain: list[Any] = [(wanted, _PROVIDER_OPTIONS.get(wanted, {}))]
        with ForeignCode(partial(_refused, path, provider)):
            # Without the fallback a provider that fails is an error, not a banner and a run on the CPU.
            session = ort.InferenceSession(path, options, providers=chain, enable_fallback=0)
        if wanted not in session.get_providers():
            raise _missing(provider, f"ONNX Runtime fell back to {', '.join(session.get_providers())}")
        yield OnnxRunner(session, options.enable_profiling)


def _refused(path: Path, provider: str, error: BaseException) -> RnnExportError:
    if provider != "cpu":
        return _missing(provider, str(error))
    return UsageError(f"ONNX Runtime refuses {path.name}: {error}", "a file it loads", "export it again")


def _missing(provider: str, why: str) -> ProviderError:
    return ProviderError(
        f"no execution provider {provider} on this host ({why})", f"a working {PROVIDERS[provider]}", "install it"
    )


def _runtime_tensor(argument: onnxruntime.NodeArg) -> RuntimeTensor:
    kind = argument.type.removeprefix("tensor(").removesuffix(")")
    dtype = {"float": "float32", "double": "float64"}.get(kind, kind)
    return RuntimeTensor(argument.name, dtype, tuple(argument.shape))
