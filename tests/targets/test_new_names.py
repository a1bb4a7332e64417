"""Names in artifacts: those that the user gives inputs and outputs, and what is left of a trace's."""

from __future__ import annotations

import re

import keras
import numpy as np
import onnx
import onnx_ir as ir
import pytest

import rnnexport
from rnnexport.core.errors import UsageError
from rnnexport.core.names import LayerName, SourceNames
from rnnexport.targets.onnx.export import plain_names
from rnnexport.version import __version__

TARGETS = ("onnx", "tflite", "saved-model", "numpy", "c")


@pytest.fixture(scope="module")
def model():
    """Two inputs, two outputs, a layer that is called twice, a stateful one, a model inside the model."""
    keras.utils.set_random_seed(5)
    x, scale = keras.Input((6, 3), batch_size=2, name="x"), keras.Input((3,), batch_size=2, name="scale")
    twice = keras.layers.Dense(3, name="twice", bias_initializer="uniform")
    h = twice(keras.layers.Multiply(name="scaled")([twice(x), keras.layers.Reshape((1, 3))(scale)]))
    h = keras.layers.GRU(4, return_sequences=True, stateful=True, name="gru", bias_initializer="uniform")(h)
    head = keras.Sequential([keras.layers.Dense(5, name="inner", bias_initializer="uniform")], name="head")
    return keras.Model([x, scale], [head(h), keras.layers.Dense(2, name="side")(h)])


NEW = {"input_names": {"x": "audio"}, "output_names": {"head": "tags"}}


@pytest.fixture(scope="module")
def named(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("named")
    model.save(folder / "m.keras")
    return rnnexport.export_all(folder / "m.keras", TARGETS, folder / "out", **NEW)


def test_every_artifact_has_the_new_names_and_is_verified_by_them(model, named):
    for done in named:
        signature = done.signature
        assert [spec.name for spec in signature.inputs] == ["audio", "scale"]
        assert [spec.name for spec in signature.outputs] == ["tags", "side"]
        assert [state.input.name for state in signature.states] == ["state_gru_00"]
        assert done.report.status == "passed"
    proto = onnx.load(named[0].path)
    assert [value.name for value in proto.graph.input] == ["audio", "scale", "state_gru_00"]
    assert [value.name for value in proto.graph.output] == ["tags", "side", "next_state_gru_00"]
    rng = np.random.default_rng(3)
    x_BTI, scale_BI = rng.standard_normal((2, 6, 3), "float32"), rng.standard_normal((2, 3), "float32")
    wanted = [np.asarray(value) for value in model([x_BTI, scale_BI])]
    for layer in model.layers:
        if getattr(layer, "stateful", False):
            layer.reset_states()
    for done in named:
        found = rnnexport.run(done.path, {"audio": x_BTI, "scale": scale_BI}).outputs
        np.testing.assert_allclose(found["tags"], wanted[0], atol=2e-6)
        np.testing.assert_allclose(found["side"], wanted[1], atol=2e-6)


@pytest.mark.long
def test_the_source_is_compared_under_the_new_names(named):
    path, model = named[0].path, named[0].path.parents[1] / "m.keras"
    assert rnnexport.verify(path, source=model).passed
    rng = np.random.default_rng(4)
    x_BTI, scale_BI = rng.standard_normal((2, 6, 3), "float32"), rng.standard_normal((2, 3), "float32")
    ran = rnnexport.run(path, {"audio": x_BTI, "scale": scale_BI}, source=model)
    assert ran.passed
    assert [one.name for one in ran.compared] == ["tags", "side"]
    with rnnexport.runtime.open(path) as stream:
        assert set(stream.step({"audio": x_BTI, "scale": scale_BI})) == {"tags", "side"}
    assert "input_names x=audio" in rnnexport.inspect(path).facts["options"]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"input_names": {"y": "z"}}, "input_names={'y': 'z'}, and no y; expected one of x, scale"),
        ({"input_names": {"scal": "z"}}, "did you mean scale"),
        ({"input_names": "z"}, "input_names='z' for x, scale; expected OLD=NEW; give input_names={'x': 'z'}"),
        ({"input_names": {"x": "my input"}}, "input_names= 'my input'; expected letters"),
        ({"input_names": {"x": "scale"}}, "input_names: two tensors called scale"),
        ({"input_names": {"x": "head"}}, "input_names: two tensors called head"),
        ({"input_names": {"x": "next_state_gru_00"}}, "input_names='next_state_gru_00', as a state may be called"),
        ({"output_names": {"head": "x"}}, "output_names: two tensors called x"),
        ({"output_names": {"head": "next_state_gru_00"}}, "output_names='next_state_gru_00', as a state may be"),
        ({"output_names": {"state_gru_00": "h"}}, "and no state_gru_00; expected one of head, side"),
    ],
)
def test_names_that_can_not_be_given_are_refused(keywords, message, model, tmp_path):
    with pytest.raises(UsageError, match=re.escape(message)):
        rnnexport.export(model, tmp_path / "m.onnx", verify=False, **keywords)
    assert not list(tmp_path.iterdir())


def names_in(graph):
    """Of all nodes and values, those of bodies too."""
    for node in graph.node:
        yield from (node.name, *node.output)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from names_in(attribute.g)
    yield from (tensor.name for tensor in graph.initializer)


def test_an_onnx_file_has_the_names_of_layers_and_weights_and_none_of_a_trace(named):
    proto = onnx.load(named[0].path)
    assert (proto.producer_name, proto.producer_version) == ("rnnexport", __version__)
    names = list(names_in(proto.graph))
    assert not [name for name in names if re.search(r"functional|__inference|(gru|head|twice|side)_1_?1?/.*_1/", name)]
    assert {"side/MatMul", "head/inner/MatMul", "twice/MatMul", "twice_1/MatMul"} <= {
        name.replace("Tensordot/", "") for name in names
    }
    assert {"twice/kernel", "twice/bias", "side/kernel", "head/inner/bias"} <= set(names)


def test_values_keep_apart_and_the_boundary_keeps_its_names():
    """Two scopes that become one name, and a value that would take the name of an output."""
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([2]))
    value = x
    nodes = []
    for name in ("m_1/a_1/Relu", "m_1/a_1_1/Relu", "m_1/a_1/y", "__inference_body_7_m_1/a_1/Relu", "elsewhere/Relu"):
        nodes.append(ir.Node("", "Relu", [value], name=name, outputs=[ir.Value(name=name)]))
        value = nodes[-1].outputs[0]
    value.name = "a/y"
    model = ir.Model(ir.Graph([x], [value], nodes=nodes, opset_imports={"": 17}), ir_version=8)
    plain_names(model, SourceNames(layers=(LayerName("m_1/a_1", "a", "A"), LayerName("m_1/a_1_1", "a", "A"))))
    found = [node.outputs[0].name for node in nodes]
    assert found == ["a/Relu", "a_1/Relu", "a/y_1", "a/Relu_1", "a/y"]
    assert [node.name for node in nodes] == ["a/Relu", "a_1/Relu", "a/y", "a/Relu", "elsewhere/Relu"]
