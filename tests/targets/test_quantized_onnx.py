"""Each rewritten operator against its integers by hand, in graphs and in bodies of loops; ranges of what they see."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from rnnexport.quantization.calibration import ObservedRange
from rnnexport.quantization.weights import per_channel
from rnnexport.targets.onnx.quantized import rewrite
from rnnexport.targets.onnx.quantized_ranges import outside, ranges
from tests.lowering.runtime import run

RNG = np.random.default_rng(8)
W = RNG.standard_normal((6, 4)).astype("f")
RECURRENT = (RNG.standard_normal((4, 4)) / 2).astype("f")
BIAS = RNG.standard_normal(4).astype("f")
X = RNG.standard_normal((3, 5, 6)).astype("f")  # T, B, I
SEEN = ObservedRange(np.full(6, -2.0), np.full(6, 2.5))

DENSE = """<ir_version: 8, opset_import: ["": 17]>
m (float[T, B, 6] x) => (float[T, B, 4] y) { product = MatMul (x, W)  y = Add (product, bias) }"""
GEMM = """<ir_version: 8, opset_import: ["": 17]>
m (float[B, 6] x) => (float[B, 4] y) { y = Gemm <alpha = 0.5, beta = 2.0, transB = 1> (x, WT, bias) }"""
FUSED = """<ir_version: 8, opset_import: ["": 17]>
m (float[B, 6] x) => (float[B, 4] y) { y = Gemm (x, W, bias) }"""
SCAN = """<ir_version: 8, opset_import: ["": 17]>
m (float[T, B, 6] x, float[B, 4] start) => (float[B, 4] last, float[T, B, 4] y)
{ last, y = Scan <num_scan_inputs = 1,
  body = step (float[B, 4] h, float[B, 6] x_t) => (float[B, 4] after, float[B, 4] each)
  { a = MatMul (x_t, W)  b = MatMul (h, R)  c = Add (a, b)  after = Tanh (c)  each = Identity (after) }> (start, x) }"""
OTHERS = """<ir_version: 8, opset_import: ["": 17]>
m (float[B, 6] x, int64[B] ids) => (float[B, 4] y, float[4, B] left)
{ row = Gather (table, ids)  product = MatMul (x, W)  y = Mul (row, product)
  turned = Transpose (x)  left = MatMul (WL, turned) }"""


def model(text, **weights):
    made = onnx.parser.parse_model(text)
    made.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
    return ir.from_proto(onnx.shape_inference.infer_shapes(made))


def rewritten(made, form, found=None, **options):
    """(the model, what became of its weights)."""
    copy = made.clone()
    parts = rewrite(copy, form, found or {}, **options)
    onnx.checker.check_model(ir.to_proto(copy))
    return copy, parts


def by_integers(x, w, one=None):
    """x W of rounded numbers, summed as integers, by the range of x or the one given."""
    low, high = (min(x.min(), 0.0), max(x.max(), 0.0)) if one is None else (one.low.min(), one.high.max())
    step = np.float32((high - low) / 255)
    zero = np.clip(np.rint(-low / step), 0, 255)
    rounded = np.clip(np.rint(x / step) + zero, 0, 255)
    q, scale = per_channel(w, 1, along=0)
    return ((rounded - zero) @ q.astype(np.float64)) * step * scale


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize(("form", "known"), [("dynamic", None), ("int8", SEEN)])
def test_a_product_is_one_of_integers(form, known, portable):
    copy, (part,) = rewritten(model(DENSE, W=W, bias=BIAS), form, known and {"x": known}, portable=portable)
    (found,) = run(copy, [{"x": X}])
    np.testing.assert_allclose(found["y"], by_integers(X, W, known) + BIAS, atol=2e-5)
    assert "int8 products" in part.how
    assert (part.before, part.after) == (W.nbytes, W.size)
    domains = {node.domain for node in copy.graph.all_nodes()}
    assert ("com.microsoft" in domains) is not portable


def test_a_range_that_is_too_small_cuts_off():
    narrow = ObservedRange(np.full(6, -0.1), np.full(6, 0.1))
    made = model(DENSE, W=W, bias=BIAS)
    wide, bad = (run(rewritten(made, "int8", {"x": one})[0], [{"x": X}])[0]["y"] for one in (SEEN, narrow))
    truth = X @ W + BIAS
    np.testing.assert_allclose(bad, by_integers(X, W, narrow) + BIAS, atol=2e-5)
    assert np.abs(bad - truth).max() > 10 * np.abs(wide - truth).max()


@pytest.mark.parametrize("form", ["dynamic", "int8"])
def test_channels_of_different_sizes_are_made_even(form):
    sizes = np.array([100.0, 1.0, 0.5, 1.0, 0.0, 1.0], "f")
    feed, weights = {"x": X * sizes}, W / np.maximum(sizes, 0.1)[:, None]
    made = model(DENSE, W=weights, bias=BIAS)
    truth = feed["x"].astype(float) @ weights + BIAS
    found = ranges(made, [feed])
    plain, even = (
        {"x": ObservedRange(*(np.full(6, end) for end in (found["x"].low.min(), found["x"].high.max())))},
        found,
    )
    errors = [np.abs(run(rewritten(made, form, one)[0], [feed])[0]["y"] - truth).max() for one in (plain, even)]
    assert errors[1] < errors[0] / 5
    assert errors[1] < 0.03 * np.ptp(truth)


@pytest.mark.parametrize("portable", [False, True])
def test_a_gemm_keeps_its_factors_and_its_bias(portable):
    copy, _ = rewritten(model(GEMM, WT=np.ascontiguousarray(W.T), bias=BIAS), "dynamic", portable=portable)
    (found,) = run(copy, [{"x": X[0]}])
    np.testing.assert_allclose(found["y"], by_integers(X[0], 0.5 * W) + 2 * BIAS, atol=2e-5)
    copy, _ = rewritten(model(FUSED, W=W, bias=BIAS), "dynamic", portable=portable)
    (found,) = run(copy, [{"x": X[0]}])
    np.testing.assert_allclose(found["y"], by_integers(X[0], W) + BIAS, atol=2e-5)


@pytest.mark.parametrize("form", ["dynamic", "int8"])
def test_products_in_the_step_of_a_scan(form):
    made, start = model(SCAN, W=W, R=RECURRENT), RNG.standard_normal((5, 4)).astype("f")
    found = ranges(made, [{"x": X, "start": start}])
    copy, parts = rewritten(made, form, found)
    (got,) = run(copy, [{"x": X, "start": start}])
    h = start
    for step in range(len(X)):
        known = {name: found[name] if form == "int8" else None for name in ("x_t", "h")}
        h = np.tanh(by_integers(X[step], W, known["x_t"]) + by_integers(h, RECURRENT, known["h"])).astype("f")
        np.testing.assert_allclose(got["y"][step], h, atol=1e-4)
    assert len(parts) == 2


def test_ranges_are_those_of_all_steps_by_channel():
    made, start = model(SCAN, W=W, R=RECURRENT), 3 * RNG.standard_normal((5, 4)).astype("f")
    feeds = [{"x": X, "start": start}, {"x": 2 * X[:2], "start": np.zeros_like(start)}]
    found = ranges(made, feeds)
    states = []
    for feed in feeds:
        (got,) = run(made, [feed])
        states += [feed["start"], *got["y"][:-1]]  # what each step begins with: not what the last ends with
    every = np.concatenate(states)
    np.testing.assert_allclose(found["h"].low, every.min(axis=0), atol=1e-6)
    np.testing.assert_allclose(found["h"].high, every.max(axis=0), atol=1e-6)
    rows = np.concatenate([feed["x"].reshape(-1, 6) for feed in feeds])
    np.testing.assert_allclose(found["x_t"].high, rows.max(axis=0), atol=1e-6)
    beyond = outside(made, found, [{"x": 3 * X, "start": start}])
    low, high = found["x_t"].low.min(), found["x_t"].high.max()
    tripled = 3 * X
    assert beyond.count["x_t"] == np.count_nonzero((tripled < low) | (tripled > high)) > 0
    assert beyond.of["x_t"] == X.size


def test_an_lstm_becomes_that_of_integers():
    text = """<ir_version: 8, opset_import: ["": 17]>
    m (float[T, B, 6] x) => (float[T, 1, B, 4] y) { y = LSTM <hidden_size = 4> (x, WL, RL, BL) }"""
    weights = {"WL": RNG.standard_normal((1, 16, 6)), "RL": RNG.standard_normal((1, 16, 4)), "BL": RNG.random((1, 32))}
    made = model(text, **{name: array.astype("f") for name, array in weights.items()})
    copy, (part,) = rewritten(made, "dynamic")
    (wanted,), (found,) = run(made, [{"x": X}]), run(copy, [{"x": X}])
    assert [node.op_type for node in copy.graph.all_nodes()] == ["DynamicQuantizeLSTM"]
    error = np.abs(found["y"] - wanted["y"]).max()
    assert 0 < error < 0.05
    assert "int8 products" in part.how
    copy, (part,) = rewritten(made, "dynamic", portable=True)
    assert "own" in part.why
    assert np.abs(run(copy, [{"x": X}])[0]["y"] - wanted["y"]).max() < 0.05


@pytest.mark.parametrize(("form", "most"), [("weights", 1 / 127), ("float16", 2.0**-11)])
def test_other_weights_are_stored_narrow_and_computed_wide(form, most):
    table, left = RNG.standard_normal((7, 4)).astype("f"), RNG.standard_normal((4, 6)).astype("f")
    made = model(OTHERS, W=W, table=table, WL=left)
    copy, parts = rewritten(made, form)
    feed = {"x": X[0], "ids": np.array([0, 6, 3, 3, 1])}
    (wanted,), (found,) = run(made, [feed]), run(copy, [feed])
    for name, array in wanted.items():
        assert 0 < np.abs(found[name] - array).max() < 8 * most * np.abs(array).max()
    assert {part.operator for part in parts} == {"Gather", "MatMul"}
    kept = [value for value in copy.graph.initializers.values() if value.const_value.dtype == ir.DataType.FLOAT]
    assert all(value.const_value.size <= 7 for value in kept)  # scales alone


def test_a_matrix_on_the_left_is_told():
    made = model(OTHERS, W=W, table=np.ones((7, 4), "f"), WL=np.ones((4, 6), "f"))
    whys = {(part.operator, part.why) for part in rewritten(made, "dynamic")[1]}
    assert ("MatMul", "its matrix is not on the right") in whys
    assert ("Gather", "ONNX Runtime has no Gather of integers") in whys


def test_weights_that_no_number_of_a_few_bits_holds_stay():
    huge = W.copy()
    huge[0, 0] = 1e6
    made = model(DENSE, W=huge, bias=BIAS)
    assert not rewritten(made, "float16")[1][0].how
    assert rewritten(made, "dynamic")[1][0].how
    huge[0, 0] = np.inf
    made = model(DENSE, W=huge, bias=BIAS)
    copy, (part,) = rewritten(made, "dynamic")
    assert (part.how, part.why) == ("", "a weight is not finite")
    np.testing.assert_array_equal(run(copy, [{"x": X}])[0]["y"], run(made, [{"x": X}])[0]["y"])


def test_one_operator_alone():
    made, start = model(SCAN, W=W, R=RECURRENT), np.zeros((5, 4), "f")
    names = [node.name for node in made.graph.all_nodes() if node.op_type == "MatMul"]
    if not all(names):
        for at, node in enumerate(node for node in made.graph.all_nodes() if node.op_type == "MatMul"):
            node.name = f"product_{at}"
    copy, (part,) = rewritten(made, "dynamic", only=frozenset(("product_1",)))
    assert part.name == "product_1"
    assert sum(node.op_type == "MatMul" for node in copy.graph.all_nodes()) == 1
    run(copy, [{"x": X, "start": start}])


def test_steps_that_are_written_out_share_a_matrix():
    text = """<ir_version: 8, opset_import: ["": 17]>
    m (float[B, 4] h) => (float[B, 4] y) { a = MatMul (h, R)  b = Tanh (a)  y = MatMul (b, R) }"""
    copy, parts = rewritten(model(text, R=RECURRENT), "dynamic")
    assert len(parts) == 2
    assert sum(value.const_value.dtype == ir.DataType.INT8 for value in copy.graph.initializers.values()) == 1


@pytest.mark.parametrize(("op", "weights"), [("Tanh", 0), ("MatMul", 1), ("GRU", 2), ("LSTM", 2)])
def test_onnx_runtime_computes_no_float16_on_a_cpu(op, weights, tmp_path):
    """Why `float16` is a form of weights alone: a change here is a reason to compute in it."""
    gates = {"GRU": 3, "LSTM": 4}.get(op, 1)
    shape = (5, 2, 4) if weights == 2 else (2, 4)
    shapes = [(1, 4 * gates, 4)] * 2 if weights == 2 else [(4, 4)] * weights
    held = [onnx.numpy_helper.from_array(np.ones(one, np.float16), f"w{at}") for at, one in enumerate(shapes)]
    node = onnx.helper.make_node(op, ["x", *(one.name for one in held)], ["y"])
    if weights == 2:
        node.attribute.append(onnx.helper.make_attribute("hidden_size", 4))
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT16, None) for name in ("x", "y")]
    ends[0] = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT16, shape)
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], held)
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "seen.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "seen.onnx").graph.node]
    assert sorted(kinds) == sorted([op, *["Cast"] * (2 + weights)])
