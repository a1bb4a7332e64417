"""The values inside artifacts: they are those that lead to the outputs, and they are all there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rnnexport.core.errors import UsageError
from rnnexport.targets.numpy import values as numpy_values
from rnnexport.targets.onnx import values as onnx_values
from rnnexport.targets.registry import TARGET_NAMES, target
from rnnexport.targets.saved_model import values as saved_model_values
from rnnexport.targets.tflite import values as tflite_values

SAMPLE = "cgru_fused_reset_after"
INNER = {
    "onnx": onnx_values.inner_values,
    "tflite": tflite_values.inner_values,
    "saved-model": saved_model_values.inner_values,
    "numpy": numpy_values.inner_values,
}


def info(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def saved_graph(folder, nodes, inputs, outputs, constants):
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = folder / "graph.onnx"
    onnx.save(model, path)
    return path


def named(inner):
    return {value.name: value for value in inner.values}


@pytest.mark.xdist_group(SAMPLE)
@pytest.mark.parametrize("to", INNER)
def test_the_outputs_are_among_the_values_and_so_is_what_they_come_from(to, exported):
    path = exported(SAMPLE)[to].path
    golden = target(to).read_proof(path).goldens[0]
    with target(to).runner(path, "cpu") as runner:
        (output,) = runner.run(golden.feed).values()
    inner = INNER[to](path, golden.feed)
    assert not inner.left_out
    assert len(named(inner)) == len(inner.values) > 5
    same = [v for v in inner.values if v.array.shape == output.shape and np.allclose(v.array, output, atol=1e-6)]
    assert same
    # The readout is the last to be computed: the recurrence, 7 wide, comes before it.
    widths = [value.array.shape[-1] for value in inner.values if value.array.ndim]
    assert widths.index(7) < max(index for index, width in enumerate(widths) if width == 3)


@pytest.mark.xdist_group(SAMPLE)
@pytest.mark.parametrize("to", INNER)
def test_a_feed_that_does_not_fit_is_an_error_in_one_line(to, exported):
    with pytest.raises(UsageError, match="can't run"):
        INNER[to](exported(SAMPLE)[to].path, {"features": np.ones((2, 3, 99), np.float32)})


def test_a_c_program_shows_none_and_every_other_format_does():
    assert set(TARGET_NAMES) - set(INNER) == {"c"}
    assert target("c").inner_values(Path("any.c"), {}).values == ()


def scan(body_outputs=("next", "y")):
    nodes = [
        helper.make_node("Add", ["state", "x"], ["next"]),
        helper.make_node("Mul", ["next", "next"], ["square"]),
        helper.make_node("Neg", ["square"], ["y"]),
    ]
    inputs = [info("state", [2]), info("x", [2])]
    return helper.make_graph(nodes, "body", inputs, [info(name, [2]) for name in body_outputs])


def test_a_scan_shows_every_step_of_every_value_in_its_body(tmp_path):
    node = helper.make_node(
        "Scan", ["start", "xs"], ["", "ys"], "running", body=scan(), num_scan_inputs=1, scan_output_directions=[1]
    )
    path = saved_graph(tmp_path, [node], [info("xs", [4, 2])], [info("ys", [4, 2])], {"start": np.ones(2, "float32")})
    xs = np.arange(8, dtype=np.float32).reshape(4, 2)
    values = named(onnx_values.inner_values(path, {"xs": xs}))
    sums = 1 + np.cumsum(xs, axis=0)
    np.testing.assert_array_equal(values["running/body/next"].array, sums)
    np.testing.assert_array_equal(values["running/body/square"].array, sums**2)
    np.testing.assert_array_equal(values["ys"].array, -(sums**2)[::-1])
    assert {value.recurrence for value in values.values()} == {"running"}
    assert list(values).index("running/body/square") < list(values).index("ys")


def loop(tmp_path, body_nodes, carried_shape):
    inputs = [info("i", [], TensorProto.INT64), info("go", [], TensorProto.BOOL), info("state", carried_shape)]
    outputs = [info("still", [], TensorProto.BOOL), info("next", carried_shape)]
    nodes = [helper.make_node("Identity", ["go"], ["still"]), *body_nodes]
    body = helper.make_graph(nodes, "body", inputs, outputs)
    node = helper.make_node("Loop", ["count", "true", "x"], ["last"], "counted", body=body)
    constants = {"count": np.array(3, np.int64), "true": np.array(True)}
    return saved_graph(tmp_path, [node], [info("x", [2])], [info("last", carried_shape)], constants)


def test_a_loop_shows_what_it_carries_at_each_step(tmp_path):
    doubling = [helper.make_node("Add", ["state", "state"], ["next"])]
    path = loop(tmp_path, doubling, [2])
    values = named(onnx_values.inner_values(path, {"x": np.array([1, 3], np.float32)}))
    np.testing.assert_array_equal(values["counted/body/next"].array, [[2, 6], [4, 12], [8, 24]])
    np.testing.assert_array_equal(values["last"].array, [8, 24])


def test_a_body_whose_values_change_their_shape_is_not_looked_into(tmp_path):
    growing = [helper.make_node("Concat", ["state", "state"], ["next"], axis=0)]
    path = loop(tmp_path, growing, [None])
    values = named(onnx_values.inner_values(path, {"x": np.array([1, 3], np.float32)}))
    assert list(values) == ["last"]
    assert values["last"].array.shape == (16,)


def test_a_native_operator_shows_its_whole_sequence_for_each_direction(tmp_path):
    rng = np.random.default_rng(0)
    constants = {
        name: rng.uniform(-1, 1, shape).astype("float32")
        for name, shape in (("w", (2, 12, 2)), ("r", (2, 12, 3)), ("b", (2, 24)))
    }
    node = helper.make_node(
        "LSTM", ["x", "w", "r", "b"], ["", "last"], "lstm", hidden_size=3, direction="bidirectional"
    )
    path = saved_graph(tmp_path, [node], [info("x", [5, 4, 2])], [info("last", [2, 4, 3])], constants)
    inner = onnx_values.inner_values(path, {"x": rng.standard_normal((5, 4, 2)).astype("float32")})
    values = named(inner)
    assert [value.array.shape for value in inner.values] == [(5, 4, 3), (5, 4, 3), (5, 2, 4, 3), (2, 4, 3), (2, 4, 3)]
    assert inner.values[1].recurrence == "lstm, backward"
    np.testing.assert_array_equal(values["lstm/Y[forward]"].array[-1], values["last"].array[0])
    np.testing.assert_array_equal(values["lstm/Y[backward]"].array[0], values["last"].array[1])


@pytest.mark.parametrize(
    ("to", "module"),
    [
        ("onnx", onnx_values),
        ("tflite", tflite_values),
        ("saved-model", saved_model_values),
        ("numpy", numpy_values),
    ],
)
@pytest.mark.xdist_group(SAMPLE)
def test_what_is_too_large_is_left_out_and_told(to, module, exported, monkeypatch):
    path = exported(SAMPLE)[to].path
    feed = target(to).read_proof(path).goldens[0].feed
    whole = module.inner_values(path, feed)
    monkeypatch.setattr(module, "LARGEST", 40)
    some = module.inner_values(path, feed)
    large = {value.name for value in whole.values if value.array.size > 40}
    assert large == set(some.left_out)
    assert {value.name for value in some.values} == set(named(whole)) - large
