"""Products with matrices of int8 in C: whole numbers, which are the same however they are compiled."""

from __future__ import annotations

import shutil

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from rnnexport.core.forms import CForm
from rnnexport.emit.c.integers import levels, paired
from rnnexport.quantization.weights import per_channel
from tests.emit.cprograms import QUICK, opened

RNG = np.random.default_rng(21)
INT8 = CForm(int8=True, deterministic=True)
# (depth, columns): even and odd, one column, and columns that take blocks of 4, 2 and 1 vectors of each width.
SIZES = ((6, 75), (7, 21), (33, 1), (1, 4))
WEIGHTS = [RNG.normal(size=size).astype("f") * RNG.uniform(0.1, 3, size[1]).astype("f") for size in SIZES]
BUILDS = {
    "vectors": QUICK,
    "optimised": ["-O2", *QUICK],
    "plain C": [*QUICK, "-DGENERATED_NO_VECTORS"],
    "SSE2": [*QUICK, "-DGENERATED_NO_DISPATCH"],
}


def model():
    """y_n = x_n @ W_n, the last of them a Gemm with a bias, its matrix turned."""
    nodes, inputs, outputs, held = [], [], [], []
    for at, weight in enumerate(WEIGHTS):
        depth, columns = weight.shape
        last = at == len(WEIGHTS) - 1
        held.append(numpy_helper.from_array(np.ascontiguousarray(weight.T) if last else weight, f"w{at}"))
        inputs.append(helper.make_tensor_value_info(f"x{at}", onnx.TensorProto.FLOAT, (3, depth)))
        outputs.append(helper.make_tensor_value_info(f"y{at}", onnx.TensorProto.FLOAT, (3, columns)))
        if last:
            held.append(numpy_helper.from_array(np.arange(columns, dtype="f"), "bias"))
            nodes.append(helper.make_node("Gemm", [f"x{at}", f"w{at}", "bias"], [f"y{at}"], transB=1))
        else:
            nodes.append(helper.make_node("MatMul", [f"x{at}", f"w{at}"], [f"y{at}"]))
    graph = helper.make_graph(nodes, "products", inputs, outputs, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def wanted(x_RI, w_IJ):
    """The same in NumPy: rows rounded to whole numbers, whole sums, then scales, each in float32."""
    q, scale = per_channel(w_IJ, axis=1)
    most = np.float32(levels(len(w_IJ)))
    size = np.abs(x_RI).max(axis=1, keepdims=True)
    rounded = np.rint(x_RI * np.where(size > 0, most / np.where(size > 0, size, 1), 0).astype("f")).astype(np.int64)
    return (rounded @ q.astype(np.int64)).astype("f") * (scale * (size / most))


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_every_build_gives_the_bits_of_whole_sums(tmp_path):
    feed = {f"x{at}": RNG.normal(size=(3, len(weight))).astype("f") for at, weight in enumerate(WEIGHTS)}
    feed["x0"][1] = 0
    feed["x1"][2] *= 1e-12
    for name, flags in BUILDS.items():
        (tmp_path / name).mkdir()
        found = opened(model(), tmp_path / name, flags=flags, form=INT8).run(feed)
        for at, weight in enumerate(WEIGHTS):
            right = wanted(feed[f"x{at}"], weight)
            right = right + np.arange(weight.shape[1], dtype="f") if at == len(WEIGHTS) - 1 else right
            np.testing.assert_array_equal(found[f"y{at}"], right, name)
            exact = feed[f"x{at}"].astype(float) @ weight.astype(float)
            exact = exact + np.arange(weight.shape[1]) if at == len(WEIGHTS) - 1 else exact
            most = np.abs(feed[f"x{at}"]).sum(axis=1, keepdims=True) * np.abs(weight).max(axis=0) / 127
            assert (np.abs(found[f"y{at}"] - exact) <= 0.51 * most + 1e-6).all()
    for wrong in (np.nan, np.inf, -np.inf):
        feed["x0"][1, 2] = wrong
        found = opened(model(), tmp_path, flags=BUILDS["vectors"], form=INT8).run(feed)["y0"]
        assert np.isnan(found[1]).all()
        assert np.isfinite(found[[0, 2]]).all()


def test_two_rows_lie_in_one_another():
    q = np.arange(1, 7, dtype=np.int8).reshape(3, 2)
    assert paired(q)[:8].tolist() == [1, 3, 2, 4, 5, 0, 6, 0]
    assert not paired(q)[8:].any()


@pytest.mark.parametrize("depth", [1, 64, 515, 516, 4096, 100_000])
def test_no_sum_leaves_32_bits(depth):
    assert (depth + 1) * levels(depth) * 127 <= 2**31 - 1
    assert levels(depth) == 32767 or (depth + 1) * (levels(depth) + 1) * 127 > 2**31 - 1
