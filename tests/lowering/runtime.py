"""What the lowering asks of a runtime, by ONNX Runtime on one thread of the CPU."""

from __future__ import annotations

from contextlib import contextmanager
from statistics import median
from time import perf_counter

import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as states

from rnnexport.core.lowering import CannotRun

REFUSALS = tuple(
    getattr(states, name) for name in ("Fail", "InvalidArgument", "InvalidGraph", "NotImplemented", "RuntimeException")
)


@contextmanager
def refusals():
    """What ORT refuses, as the lowering wants it told."""
    try:
        yield
    except REFUSALS as error:
        raise CannotRun(f"{type(error).__name__}: {error}") from error


def session(model, optimized=True):
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    proto = model if isinstance(model, onnx.ModelProto) else ir.to_proto(model)
    with refusals():
        return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(model, feeds, optimized=True):
    """The outputs of a model for each feed, by name."""
    opened = session(model, optimized)
    names = [output.name for output in opened.get_outputs()]
    with refusals():
        return [dict(zip(names, opened.run(None, dict(feed)), strict=True)) for feed in feeds]


def measure(models, feed, rounds=5):
    """Seconds a call of each model, interleaved; the median."""
    opened = [session(model) for model in models]
    times = [[] for _ in opened]
    for _ in range(rounds):
        for one, taken in zip(opened, times, strict=True):
            begun = perf_counter()
            one.run(None, dict(feed))
            taken.append(perf_counter() - begun)
    return [median(taken) for taken in times]
