"""Why recurrences in float16 keep their Loop: a process that loads what comes out of one may end."""

from __future__ import annotations

import subprocess
import sys

import onnxruntime
import pytest

# What is hoisted out of a loop in Keras' order: the sequence with its steps in front, times a matrix.
HOISTED = """
import numpy as np, onnx, onnxruntime
model = onnx.parser.parse_model('''<ir_version: 8, opset_import: ["": 17]>
m (DTYPE[B, T, 3] x, DTYPE[3, 4] unused) => (DTYPE[T, B, 4] y)
{ steps = Transpose <perm = [1, 0, 2]> (x) y = MatMul (steps, W) }''')
weights = np.ones((3, 4), "DTYPE" if "DTYPE" != "float" else "float32")
model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "W"))
onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
"""


@pytest.mark.skipif(not onnxruntime.__version__.startswith("1.31."), reason="seen with ONNX Runtime 1.31")
@pytest.mark.parametrize(("dtype", "ends"), [("float", False), ("float16", True)])
def test_a_product_of_float16_behind_a_transpose_ends_the_process_that_loads_it(dtype, ends):
    """Where this fails, a float16 recurrence can be lowered: see `_HALF` in `candidates`."""
    code = HOISTED.replace("DTYPE", dtype)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode < 0) is ends, done.stderr
