"""ONNX graphs in memory, run and timed on the CPU by ONNX Runtime: what the lowering checks its work with."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from rnnexport.core.errors import ForeignCode, one_line
from rnnexport.core.lowering import CannotRun
from rnnexport.targets.onnx.outside import with_arrays
from rnnexport.targets.onnx.providers import PROVIDERS, onnxruntime_module

if TYPE_CHECKING:
    import onnxruntime

Feed = Mapping[str, np.ndarray]
_SILENT = 4
# A median is trusted after so many rounds; short calls get more of them, as long as the time lasts.
_LEAST_ROUNDS, _MOST_ROUNDS, _SECONDS = 5, 200, 1.0


def run(model: ir.Model, feeds: Sequence[Feed]) -> list[dict[str, np.ndarray]]:
    """The outputs of `model` by name, for each feed.

    Raises:
        CannotRun: ONNX Runtime refuses to load it, or to run it.
        ProviderError: ONNX Runtime is not installed.
    """
    session = _session(model)
    return [_call(session, feed) for feed in feeds]


def measure(models: Sequence[ir.Model], feed: Feed) -> list[float]:
    """Seconds that one call of each model takes on `feed` in one thread: the median.

    The models take turns, so that what slows the host down slows all of them alike.

    Raises:
        CannotRun, ProviderError: see `run`.
    """
    sessions = [_session(model) for model in models]
    for session in sessions:
        _call(session, feed)  # the first call plans memory
    rounds: list[list[float]] = []
    end = time.perf_counter() + _SECONDS * len(sessions)
    while len(rounds) < _LEAST_ROUNDS or (len(rounds) < _MOST_ROUNDS and time.perf_counter() < end):
        rounds.append([_seconds(session, feed) for session in sessions])
    return [median(times) for times in zip(*rounds, strict=True)]


def _seconds(session: onnxruntime.InferenceSession, feed: Feed) -> float:
    start = time.perf_counter()
    _call(session, feed)
    return time.perf_counter() - start


def _session(model: ir.Model) -> onnxruntime.InferenceSession:
    ort = onnxruntime_module(
        "ONNX Runtime, to check the lowering of recurrences", "pip install 'rnnexport[cpu]', or give --lowering loop"
    )
    options = ort.SessionOptions()
    options.log_severity_level = _SILENT
    options.intra_op_num_threads = 1
    with ForeignCode(_refused):
        proto, arrays = with_arrays(model)
        held = [ort.OrtValue.ortvalue_from_numpy(array) for array in arrays.values()]
        options.add_external_initializers(list(arrays), held)
        return ort.InferenceSession(proto.SerializeToString(), options, providers=[PROVIDERS["cpu"]])


def _call(session: onnxruntime.InferenceSession, feed: Feed) -> dict[str, np.ndarray]:
    names = [output.name for output in session.get_outputs()]
    with ForeignCode(_refused):
        # A tensor without axes is a NumPy scalar to ONNX Runtime where it comes out, and refused where it goes in.
        outputs = session.run(names, {name: np.asarray(array) for name, array in feed.items()})
    return {name: np.asarray(array) for name, array in zip(names, outputs, strict=True)}


def _refused(error: BaseException) -> CannotRun:
    return CannotRun(one_line(f"{type(error).__name__}: {error}"))
