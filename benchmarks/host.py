"""What the figures of a benchmark depend on, besides the code: the host, the versions, the threads, the floor."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
from onnx import helper, numpy_helper

from rnnexport.core.versions import installed

GEMM = 1024
GEMM_OPERATIONS = 2 * GEMM**3
_PACKAGES = (
    "rnnexport",
    "keras",
    "tf_keras",
    "tensorflow",
    "tf2onnx",
    "onnxruntime",
    "ai-edge-litert",
    "torch",
    "numpy",
)
_QUIET = 3
_BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def one_tensorflow_thread() -> None:
    """Hold TensorFlow to one thread, and to the CPU. Only possible before it runs its first op."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.set_visible_devices([], "GPU")


def one_blas_thread() -> None:
    """Hold the matrix products of NumPy to one thread: this process begins anew where they are not.

    They read the number when NumPy is imported, which has been done by then.
    """
    wanted = dict.fromkeys(_BLAS_THREADS, "1")
    if any(os.environ.get(name) != "1" for name in wanted):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | wanted)


def one_thread_session(model: Path | bytes) -> onnxruntime.InferenceSession:
    """A session of ONNX Runtime on one thread of the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def gemm() -> Callable[[], Any]:
    """A product of two 1024 x 1024 float32 matrices, the second a constant as weights are."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, GEMM, GEMM)).astype("float32")
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])],
        "gemm",
        [helper.make_tensor_value_info("a", kind, [GEMM, GEMM])],
        [helper.make_tensor_value_info("c", kind, [GEMM, GEMM])],
        [numpy_helper.from_array(b, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = one_thread_session(model.SerializeToString())
    return lambda: session.run(None, {"a": a})


def describe_host() -> dict[str, Any]:
    """The processor, how much of it there is, how busy it is, and the versions."""
    return {
        "cpu": _cpu_name(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": installed(*_PACKAGES),
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
