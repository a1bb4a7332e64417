"""An ONNX file in ONNX Runtime, on one execution provider.

Loading a file in a process of its own first, for a provider that may end the process it runs in.

A provider that crashes takes with it the verdicts on all other artifacts, and a release job sees no report at all.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rnnexport.core.errors import ForeignCode, ProviderError, RnnExportError, UsageError
from rnnexport.core.placement import Placement
from rnnexport.core.signature import TEXT
from rnnexport.targets.base import Runner, RuntimeTensor
from rnnexport.targets.onnx.other_runtimes import OTHERS, OtherRunner, open_other
from rnnexport.targets.onnx.profiling import parts, read_placement
from rnnexport.targets.onnx.providers import execution_chain, full_name, has_provider, prepared, settings, short_name
from rnnexport.targets.onnx.repeated import RepeatedRunner

if TYPE_CHECKING:
    import onnxruntime

_SILENT = 4  # what it would log it raises too
# What ONNX Runtime raises where it is the file that is wrong, whatever the provider.
_BAD_FILE = ("InvalidProtobuf", "InvalidGraph", "NoSuchFile")
# The reason of a provider is at the end of what it raises, behind the names of its functions and source files.
_GIST = 240
# Seen: onnxruntime-openvino 1.24.1 ends with SIGSEGV while it loads a Loop.
FRAGILE = ("openvino",)
_CODE = """
import json, sys
import onnxruntime
path, chain = json.loads(sys.argv[1])
options = onnxruntime.SessionOptions()
options.log_severity_level = 4
onnxruntime.InferenceSession(path, options, providers=[tuple(item) for item in chain], enable_fallback=0)
"""
# What Python ends with: without an error, and with one, which the session in this process will raise too.
_TOLD = (0, 1)


class OnnxRunner:
    """See `Runner`. Where nodes run is settled when the file is loaded, so the first call alone is observed."""

    ordered = True
    entries: tuple[str, ...] = ()

    def __init__(self, session: onnxruntime.InferenceSession, said: Mapping[str, str], profiled: bool) -> None:
        self._session = session
        self._profiling = profiled
        self._profile: Path | None = None
        self.settings = said
        self.inputs = tuple(map(_runtime_tensor, session.get_inputs()))
        self.outputs = tuple(map(_runtime_tensor, session.get_outputs()))

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = [tensor.name for tensor in self.outputs]
        try:
            return dict(zip(names, self._session.run(names, dict(feed)), strict=True))
        finally:
            if self._profiling:
                self._profiling = False
                self._profile = Path(self._session.end_profiling())

    def at(self, entry: str) -> OnnxRunner:
        raise KeyError(entry)

    def repeated(self) -> Runner:
        """The same for many calls of the same shapes, where the CPU computes."""
        return self if self._session.get_providers() != [full_name("cpu")] else RepeatedRunner(self, self._session)

    def placement(self) -> Placement | None:
        return None if self._profile is None else read_placement(self._profile, parts(self._session))


@contextmanager
def open_runner(path: Path, provider: str, tf32: bool = False) -> Iterator[OnnxRunner | OtherRunner]:
    """Load `path` on `provider` (and on the CPU what that provider leaves), or in the runtime of that name.

    Args:
        path: the file.
        provider: a key of `PROVIDERS`.
        tf32: whether float32 products may be computed in TF32, where the provider can.

    Raises:
        ProviderError: ONNX Runtime or the provider is not here, or the provider can't start on this file.
        UsageError: ONNX Runtime refuses the file, or knows no such provider; or TF32 is wanted and forbidden.
    """
    if provider in OTHERS and not has_provider(provider):
        with open_other(path, provider) as other:
            yield other
        return
    ort = prepared(provider, tf32=tf32)
    chain = execution_chain(provider, tf32=tf32)
    if provider in FRAGILE and (end := crash(path, chain)):
        raise _cannot_start(path, provider, f"its process ended with {end}")
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.log_severity_level = _SILENT
        # Only a provider that shares the work with the CPU needs to be asked where nodes ran.
        options.enable_profiling = provider != "cpu"
        options.profile_file_prefix = str(Path(folder) / "profile")
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        with ForeignCode(partial(_refused, path, provider)):
            # Without the fallback a provider that fails is an error, not a banner and a run on the CPU.
            session = ort.InferenceSession(path, options, providers=chain, enable_fallback=0)
        # A provider that fails to start may be left out with a line in the log.
        if full_name(provider) not in session.get_providers():
            there = ", ".join(map(short_name, session.get_providers()))
            raise _cannot_start(path, provider, f"ONNX Runtime left it out and took {there}")
        yield OnnxRunner(session, settings(provider, tf32=tf32), options.enable_profiling)


def _refused(path: Path, provider: str, error: BaseException) -> RnnExportError:
    if provider == "cpu" or type(error).__name__ in _BAD_FILE:
        return UsageError(f"ONNX Runtime refuses {path.name}: {error}", "a file it loads", "export it again")
    text = " ".join(str(error).split())
    return _cannot_start(path, provider, text if len(text) <= _GIST else "..." + text[-_GIST:])


def _cannot_start(path: Path, provider: str, why: str) -> ProviderError:
    return ProviderError(
        f"the execution provider {provider} can't start on {path.name}: {why}",
        f"a working {full_name(provider)}",
        "verify on another provider, or export with another --lowering",
    )


def _runtime_tensor(argument: onnxruntime.NodeArg) -> RuntimeTensor:
    kind = argument.type.removeprefix("tensor(").removesuffix(")")
    dtype = {"float": "float32", "double": "float64", "string": TEXT}.get(kind, kind)
    return RuntimeTensor(argument.name, dtype, tuple(argument.shape))


def crash(path: Path, chain: Sequence[tuple[str, Mapping[str, str]]]) -> str | None:
    """How the process that loads `path` ended, such as `SIGSEGV`; None where it did not crash.

    Args:
        path: the file.
        chain: the argument `providers` of the session.
    """
    argument = json.dumps([str(path), [(name, dict(options)) for name, options in chain]])
    done = subprocess.run(
        [sys.executable, "-P", "-c", _CODE, argument],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode in _TOLD:
        return None
    return signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit code {done.returncode:#x}"
