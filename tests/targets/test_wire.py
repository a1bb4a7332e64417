"""ONNX files written and read without a message that holds their weights: the bytes are those of the whole message."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from rnnexport.targets.onnx import session
from rnnexport.targets.onnx.metadata import lean
from rnnexport.targets.onnx.opset import at_opset
from rnnexport.targets.onnx.outside import with_arrays, without_arrays
from rnnexport.targets.onnx.wire import LARGE, fields, skeleton, write_model, write_properties

WIDTH, UNITS = 130, 170  # WIDTH * UNITS float32 are large


def value(name, shape, dtype=ir.DataType.FLOAT):
    return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(dtype))


def initializer(name, array):
    held = value(name, array.shape, ir.DataType.from_numpy(array.dtype))
    held.const_value = ir.Tensor(array, name=name)
    return held


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(5)
    return {
        "kernel": rng.standard_normal((WIDTH, UNITS)).astype(np.float32),
        "bias": rng.standard_normal(UNITS).astype(np.float32),
        "turned": rng.standard_normal((UNITS, WIDTH)).astype(np.float32).T,
    }


@pytest.fixture
def model(weights):
    """y = x @ kernel + bias + x @ turned, with all that may stand before and behind initializers."""
    x, held = value("x", ["batch", WIDTH]), {name: initializer(name, array) for name, array in weights.items()}
    nodes = [
        ir.Node("", "MatMul", [x, held["kernel"]], name="first"),
        ir.Node("", "MatMul", [x, held["turned"]], name="second"),
    ]
    nodes.append(ir.Node("", "Add", [nodes[0].outputs[0], held["bias"]], name="third"))
    nodes.append(ir.Node("", "Add", [nodes[2].outputs[0], nodes[1].outputs[0]], name="last"))
    for node in nodes:
        made = node.outputs[0]
        made.name, made.shape, made.type = f"{node.name}:0", ir.Shape(["batch", UNITS]), x.type
    graph = ir.Graph(
        [x], nodes[-1].outputs, nodes=nodes, initializers=held.values(), opset_imports={"": 17}, name="graph"
    )
    graph.doc_string = "behind the initializers"
    found = ir.Model(graph, ir_version=8, producer_name="rnnexport")
    found.metadata_props["key"] = "value"
    return found


def test_the_file_has_the_bytes_of_the_whole_message(model, tmp_path):
    write_model(tmp_path / "m.onnx", *with_arrays(model))
    assert (tmp_path / "m.onnx").read_bytes() == ir.to_proto(model).SerializeToString(deterministic=True)


def test_messages_hold_no_large_weight_and_share_the_arrays(model, weights):
    proto, arrays = with_arrays(model)
    assert proto.ByteSize() < LARGE
    assert set(arrays) == {"kernel", "turned"}
    assert np.shares_memory(arrays["kernel"], weights["kernel"])
    assert without_arrays(model, lambda proto: [one.name for one in proto.graph.input]) == ["x", "kernel", "turned"]
    assert [one.name for one in model.graph.inputs] == ["x"]
    assert set(model.graph.initializers) == set(weights)


def test_a_model_runs_with_its_weights_outside(model, weights):
    x = np.random.default_rng(6).standard_normal((3, WIDTH)).astype(np.float32)
    (found,) = session.run(model, [{"x": x}])
    wanted = x @ weights["kernel"] + weights["bias"] + x @ weights["turned"]
    np.testing.assert_allclose(found["last:0"], wanted, rtol=0, atol=1e-4)


def test_another_opset_keeps_the_weights(model, weights):
    newer = at_opset(model, 21)
    assert newer.opset_imports[""] == 21
    assert [one.name for one in newer.graph.inputs] == ["x"]
    held = {name: one.const_value.numpy() for name, one in newer.graph.initializers.items()}
    assert all(np.array_equal(held[name], array) for name, array in weights.items())
    assert np.shares_memory(held["kernel"], weights["kernel"])


def test_a_skeleton_is_the_model_without_large_numbers(model, weights, tmp_path):
    path = tmp_path / "m.onnx"
    write_model(path, *with_arrays(model))
    data = path.read_bytes()
    found, whole = (onnx.ModelProto.FromString(part) for part in (skeleton(data), data))
    assert found.ByteSize() < LARGE
    for tensor in whole.graph.initializer:
        if tensor.name != "bias":
            tensor.ClearField("raw_data")
    assert found == whole


def test_weights_are_read_from_the_file_itself(model, weights, tmp_path):
    path = tmp_path / "m.onnx"
    write_model(path, *with_arrays(model))
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(tmp_path))
    run = onnxruntime.InferenceSession(lean(path).SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(7).standard_normal((2, WIDTH)).astype(np.float32)
    wanted = x @ weights["kernel"] + weights["bias"] + x @ weights["turned"]
    np.testing.assert_allclose(run.run(None, {"x": x})[0], wanted, rtol=0, atol=1e-4)


def test_properties_are_put_in_the_place_of_others(model, tmp_path):
    path = tmp_path / "m.onnx"
    write_model(path, *with_arrays(model))
    before = onnx.load(path)
    properties = onnx.ModelProto()
    properties.metadata_props.add(key="other", value="one")
    for _ in range(2):  # to a file that has some, which goes
        write_properties(path, path.read_bytes(), properties.SerializeToString())
        found = onnx.load(path)
        assert [(one.key, one.value) for one in found.metadata_props] == [("other", "one")]
        assert found.graph == before.graph


@pytest.mark.parametrize("cut", [1, 7, 40, 1000])
def test_a_file_that_is_cut_short_is_told(model, cut):
    data = ir.to_proto(model).SerializeToString()[:-cut]
    with pytest.raises(ValueError, match="cut short"):
        list(fields(data, 0, len(data)))
