"""Portable ONNX: what is written instead of what runtimes read differently, and that it computes the same."""

from __future__ import annotations

import sys

import keras
import numpy as np
import onnx
import onnx_ir as ir
import pytest

import rnnexport
from rnnexport.core.errors import ProviderError
from rnnexport.core.lowering import LoweringRequest
from rnnexport.lowering.portable import make_portable
from rnnexport.targets.onnx.metadata import load
from rnnexport.targets.registry import target
from tests.lowering.runtime import run

GROUP = pytest.mark.xdist_group("portable")
RUNTIMES = ("tract", "openvino")
TURNED = """<ir_version: 8, opset_import: ["": 17]>
m (float[T, B, 3] x, float[2, 4] kept) => (float[T, 1, B, 2] y, float[1, B, 2] last, float[T, B, 3] z)
<int64[1] first = {0}, int64 none = {0}, int64 one = {1}>
{
  y, last = LSTM <hidden_size = 2, direction = "reverse"> (x, W, R, b)
  shape = Shape (x)
  steps = Gather <axis = 0> (shape, none)
  rows = Gather <axis = 0> (shape, one)
  count = Unsqueeze (rows, first)
  lengths = Expand (steps, count)
  z = ReverseSequence <batch_axis = 1, time_axis = 0> (x, lengths)
}"""
CAPTURED = """<ir_version: 8, opset_import: ["": 17]>
m (float[T] x, float[2] given) => (float[2] h)
<float[2] start = {0.5, -0.25}, float scale = {0.75}, int64[1] first = {0}, int64 none = {0}, int64 one = {1}>
{
  outside = Tanh (given)
  shape = Shape (x)
  length = Squeeze (shape, first)
  numbers = Range (none, length, one)
  h = Scan <num_scan_inputs = 1, body = step (float[2] before, int64 at) => (float[2] after)
    { small = Mul (before, scale) after = Add (small, outside) }> (start, numbers)
}"""


def parsed(text, weights=()):
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights)
    for node in model.graph.node:
        node.name = node.output[0]
    return ir.from_proto(onnx.shape_inference.infer_shapes(model))


def nodes(model):
    return {node.op_type: node for node in model.graph.all_nodes()}


@pytest.mark.parametrize("steps", [1, 5])
def test_what_is_read_backwards_is_turned_round_and_starts_from_zeros_that_are_given(steps):
    rng = np.random.default_rng(2)
    shapes = {"W": (1, 8, 3), "R": (1, 8, 2), "b": (1, 16)}
    model = parsed(TURNED, [(name, rng.standard_normal(shape).astype("f")) for name, shape in shapes.items()])
    x_TBI = rng.standard_normal((steps, 4, 3)).astype("f")
    given = {"x": x_TBI, "kept": np.zeros((2, 4), "f")}
    (wanted,) = run(model, [given])
    make_portable(model)
    found = nodes(model)
    assert "direction" not in found["LSTM"].attributes
    assert all(found["LSTM"].inputs[at] is not None for at in (5, 6))
    assert "ReverseSequence" not in found
    (got,) = run(model, [given])
    for name, array in wanted.items():
        np.testing.assert_allclose(got[name], array, atol=1e-7, err_msg=name)
    np.testing.assert_array_equal(got["z"], x_TBI[::-1])


def test_the_body_of_a_scan_reads_nothing_around_it_and_reads_its_sequence():
    model = parsed(CAPTURED)
    given = {"x": np.zeros(6, "f"), "given": np.float32([0.3, -1.1])}
    (wanted,) = run(model, [given])
    make_portable(model)
    scan = nodes(model)["Scan"]
    body = scan.attributes["body"].as_graph()
    own = {*body.inputs, *(value for node in body for value in node.outputs)}
    assert {value for node in body for value in node.inputs} <= own
    assert len(body.inputs) == 3  # the state, what it captured, and the number of the step
    assert body.inputs[2].uses()
    (got,) = run(model, [given])
    np.testing.assert_allclose(got["h"], wanted["h"], atol=1e-7)


def random_weights(model):
    rng = np.random.default_rng(5)
    model.set_weights([rng.uniform(-0.7, 0.7, weight.shape) for weight in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Portable files: both directions under a mask, and without; an activation that is not the default."""
    layers, folder = keras.layers, tmp_path_factory.mktemp("portable")
    ids, x = keras.Input((None,), dtype="int32"), keras.Input((None, 3))
    both = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    y = layers.Dense(2)(layers.GRU(5, activation="softsign", return_sequences=True)(both))
    models = {
        "masked": keras.Model(ids, layers.Bidirectional(layers.LSTM(4))(layers.Embedding(9, 3, mask_zero=True)(ids))),
        "stacked": keras.Model(x, y),
    }
    request = LoweringRequest(portable=True)
    return {
        name: rnnexport.export(random_weights(model), "onnx", folder / f"{name}.onnx", lowering=request)
        for name, model in models.items()
    }


@GROUP
def test_a_form_that_some_runtime_lacks_is_not_chosen(files):
    for exported in files.values():
        assert exported.report.status == "passed"
        assert dict(target("onnx").read_proof(exported.path).provenance.options)["portable"] == "yes"
        for node in load(exported.path).graph.node:
            names = {attribute.name for attribute in node.attribute}
            if node.op_type in ("LSTM", "GRU", "RNN"):
                assert not names & {"direction", "layout", "activations", "input_forget"}
                assert node.input[4] == ""
                assert all(node.input[5:])
    assert [one.chosen for one in files["masked"].lowering] == ["scan", "scan"]
    assert "its mask needs sequence_lens" in files["masked"].lowering[0].refused["native"]
    assert [one.chosen for one in files["stacked"].lowering] == ["native", "native", "scan"]
    assert "activations are not the defaults" in files["stacked"].lowering[2].refused["native"]


@GROUP
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", ["masked", "stacked"])
def test_other_runtimes_compute_it(name, runtime, files):
    pytest.importorskip(runtime)
    (report,) = rnnexport.verify(files[name].path, providers=[runtime]).artifacts
    assert report.status == "passed", report.problems
    assert report.settings["runtime"].startswith(f"{runtime} ")


@GROUP
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_file_that_a_runtime_refuses_is_not_run_and_why_is_told(runtime, tmp_path):
    pytest.importorskip(runtime)
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> m (float[2] x) => (float[2] y) { y = Nothing (x) }'
    )
    onnx.save(model, tmp_path / "m.onnx")
    with (
        pytest.raises(ProviderError, match=f"{runtime} does not take m.onnx: .*expected .*--portable"),
        target("onnx").runner(tmp_path / "m.onnx", runtime),
    ):
        pass


def test_a_runtime_that_is_not_installed_is_told(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tract", None)
    with (
        pytest.raises(ProviderError, match=r"tract is not installed.*pip install .*\[portable\]"),
        target("onnx").runner(tmp_path / "m.onnx", "tract"),
    ):
        pass
