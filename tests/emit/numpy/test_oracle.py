"""The float64 truth: right to float64 rounding, and honest where it can't be had."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

import rnnexport
from rnnexport.core.errors import ConversionError
from rnnexport.core.signature import Boundary, Signature
from rnnexport.emit.numpy.oracle import NoOracle, oracle
from rnnexport.emit.numpy.program import write_module
from rnnexport.reference.describe import describe_with_truth
from rnnexport.report.html import to_html
from rnnexport.report.json_view import to_json
from rnnexport.report.junit import to_junit
from rnnexport.report.text import report_table
from rnnexport.source.double import NoDouble
from rnnexport.source.eager import reference
from rnnexport.source.load import load_source
from rnnexport.source.trace import TracedModel, trace
from tests.emit.numpy.double_keras import twins
from tests.emit.numpy.doubles import (
    IMAGE,
    described,
    normal,
    opened,
    run,
    traced_function,
    with_random_weights,
)

GROUP = pytest.mark.xdist_group("oracle")
EPS32 = 2.0**-24


# --- against other float64 computations -------------------------------------------------------------------------------


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def numpy_lstm(x_BTI, W, R, bias):
    h = c = np.zeros((len(x_BTI), len(R)))
    for t in range(x_BTI.shape[1]):
        i, f, g, o = np.split(x_BTI[:, t] @ W + h @ R + bias, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    return h


def numpy_gru(x_BTI, W, R, biases):
    """The form of Keras with the reset after the product."""
    h = np.zeros((len(x_BTI), len(R)))
    for t in range(x_BTI.shape[1]):
        x_z, x_r, x_h = np.split(x_BTI[:, t] @ W + biases[0], 3, axis=-1)
        h_z, h_r, h_h = np.split(h @ R + biases[1], 3, axis=-1)
        z, r = sigmoid(x_z + h_z), sigmoid(x_r + h_r)
        h = z * h + (1 - z) * np.tanh(x_h + r * h_h)
    return h


@GROUP
@pytest.mark.parametrize(("layer", "equations"), [("LSTM", numpy_lstm), ("GRU", numpy_gru)])
@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_the_equations_in_numpy_give_the_same_to_float64_rounding(package, layer, equations):
    keras = pytest.importorskip(package)
    model = keras.Sequential([keras.Input((None, 4)), getattr(keras.layers, layer)(5)])
    with_random_weights(model)
    _, signature, traced = described(model)
    x_BTI = normal(3, 17, 4)
    (truth,) = opened(traced).run({signature.inputs[0].name: x_BTI}).values()
    weights = [array.astype("float64") for array in model.get_weights()]
    expected = equations(x_BTI.astype("float64"), *weights)
    np.testing.assert_allclose(truth, expected, rtol=0, atol=2e-15)
    assert np.abs(truth - expected.astype("float32")).max() > 1e-9  # the bound tells float64 from float32


def many_layers(keras):
    """Constants that are no binary fractions, which float32 rounds: epsilons, a slope, the 0.2 of a sigmoid."""
    layers = keras.layers
    x = keras.Input((None, 4))
    y = layers.GRU(4, return_sequences=True, recurrent_activation="hard_sigmoid", reset_after=False)(x)
    y = layers.BatchNormalization()(y)
    y = layers.MultiHeadAttention(2, 4)(y, y)
    y = layers.LayerNormalization(epsilon=0.007)(y)
    model = keras.Model(x, layers.LeakyReLU(0.1)(layers.Conv1D(6, 3, padding="causal", activation="softplus")(y) - 1))
    rng = np.random.default_rng(5)
    # A variance must be above 0.
    model.set_weights([rng.uniform(0.05, 0.4, weight.shape) for weight in model.get_weights()])
    return model


@GROUP
@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_keras_in_float64_gives_the_same_to_float64_rounding(package):
    keras = pytest.importorskip(package)
    made = twins(lambda: many_layers(keras))
    feed = {made.signature.inputs[0].name: normal(2, 7, 4)}
    (wanted,), (rounded,) = made.truth(feed).values(), reference(made.narrow, made.signature, feed).values()
    (truth,) = opened(trace(made.narrow, made.signature, unroll=False)).run(feed).values()
    np.testing.assert_allclose(truth, wanted, rtol=0, atol=1e-13)
    assert np.abs(truth - rounded).max() > 1e-9


@GROUP
def test_a_saved_model_of_padded_sequences(tmp_path):
    """What the program does not know for a weight is none the less not computed with in float32."""
    import keras

    x = keras.Input((None,), dtype="int32")
    y = keras.layers.Embedding(12, 4, mask_zero=True)(x)
    y = keras.layers.GRU(3, return_sequences=True)(keras.layers.BatchNormalization()(y))
    model = with_random_weights(keras.Model(x, y), low=0.05)
    model.export(tmp_path / "program", verbose=False)
    source, signature, traced = described(tmp_path / "program")
    ids = np.array([[3, 1, 0, 0, 0], [2, 0, 5, 11, 0], [0, 0, 0, 0, 0]], "int32")
    (truth,) = opened(traced).run({signature.inputs[0].name: ids}).values()
    (expected,) = reference(source, signature, {signature.inputs[0].name: ids}).values()
    assert 0 < np.abs(truth - expected).max() < 16 * EPS32
    _, of_layers, graph = described(model)
    (wanted,) = opened(graph).run({of_layers.inputs[0].name: ids}).values()
    np.testing.assert_allclose(truth, wanted, rtol=0, atol=1e-14)


@GROUP
def test_a_model_of_mixed_precision_is_not_rounded_to_16_bits():
    import keras

    x = keras.Input((4,))
    model = with_random_weights(keras.Model(x, keras.layers.Dense(3, dtype="mixed_float16")(x)))
    _, signature, traced = described(model)
    array, (kernel, bias) = normal(2, 4), model.get_weights()
    (truth,) = opened(traced).run({signature.inputs[0].name: array}).values()
    exact = array.astype("float64") @ kernel.astype("float64") + bias.astype("float64")
    np.testing.assert_allclose(truth, exact, rtol=0, atol=1e-15)
    assert truth.dtype == np.float64


def test_a_constant_is_the_number_that_the_source_says():
    one = np.ones(1, "float32")
    assert run(lambda x: x * 0.2, x=one) == 0.2
    assert run(lambda x: tf.cast(tf.cast(x, tf.float16) * 0.1, tf.float32), x=one) == 0.1
    assert run(lambda x: tf.cast(tf.cast(x / 3, tf.float16), tf.float32), x=one) == 1 / 3


def test_what_is_no_real_number_stays_as_it_is():
    x = normal(4, 3)
    assert run(lambda x: x > 0.1, x=x).dtype == bool
    found = run(lambda x: tf.argmax(x, -1, output_type=tf.int32), x=x)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, x.argmax(-1))
    np.testing.assert_array_equal(run(lambda x: x * 2, x=np.array([3, 2**40])), [6, 2**41])


# --- where there is none ----------------------------------------------------------------------------------------------

REFUSED = {
    "Bitcast": lambda x: tf.cast(tf.bitcast(x, tf.int32), tf.float32),
    "StatelessRandomUniformV2": lambda x: x + tf.random.stateless_uniform(tf.shape(x), [1, 2]),
    "RandomUniform": lambda x: x + 0 * tf.random.uniform(tf.shape(x)),
    "PyFunc": lambda x: tf.numpy_function(np.tanh, [x], tf.float32),
    "QuantizeLinear": lambda x: tf.quantization.fake_quant_with_min_max_args(x),
}


@pytest.mark.parametrize("op", REFUSED)
@pytest.mark.parametrize("inside", [False, True])
def test_an_operator_that_the_program_has_not_is_named(op, inside):
    function = REFUSED[op]
    within = (lambda x: tf.cond(x[0, 0, 0, 0] > 0, lambda: function(x), lambda: function(x))) if inside else function
    found = oracle(traced_function(within, x=IMAGE))
    assert isinstance(found, NoOracle)
    assert op in found.reason or (op == "PyFunc" and inside)  # which tf2onnx can't name there


def small_model():
    import keras

    x = keras.Input((None, 3))
    return with_random_weights(keras.Model(x, keras.layers.Dense(2, activation="tanh")(x), name="m"))


@GROUP
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda w: w * 1.01, "the float64 run is .* times the tolerance from eager Keras"),
        (lambda w: w * np.nan, "the float64 run gives no number where eager Keras gives one"),
    ],
)
def test_a_program_that_is_not_its_source_is_no_truth(change, why, monkeypatch):
    """The converter that it is made by is trusted as little as for an artifact, where no other reading speaks."""
    monkeypatch.setattr("rnnexport.source.double.double", lambda traced: NoDouble("operator X has no float64 form"))
    source = load_source(small_model())
    assert all(golden.truth for golden in describe_with_truth(source, Boundary()).goldens)

    def wrong(program, name):
        module = write_module(program, name)
        return replace(module, arrays={key: change(array) for key, array in module.arrays.items()})

    monkeypatch.setattr("rnnexport.emit.numpy.oracle.write_module", wrong)
    found = describe_with_truth(source, Boundary())
    assert re.fullmatch(why, found.no_truth)
    assert found.no_witness == "operator X has no float64 form"
    assert not any(golden.truth for golden in found.goldens)


@GROUP
def test_a_program_that_is_no_python_is_no_truth(monkeypatch):
    """The graph in float64 is, then."""

    def broken(program, name):
        return replace(write_module(program, name), text="class")

    monkeypatch.setattr("rnnexport.emit.numpy.oracle.write_module", broken)
    found = describe_with_truth(load_source(small_model()), Boundary())
    assert found.no_witness.startswith("writing the program failed with SyntaxError")
    assert not found.no_truth
    assert all(golden.truth for golden in found.goldens)


@GROUP
def test_reports_say_why_there_is_no_truth(tmp_path):
    """A model that was trained for 8 bits: its values are rounded in float64 as well, elsewhere."""
    import keras

    class Rounded(keras.layers.Layer):
        def call(self, x):
            return tf.quantization.fake_quant_with_min_max_args(x, -2.0, 2.0)

    x = keras.Input((None, 3))
    y = Rounded(name="rounded")(keras.layers.Dense(3, activation="tanh")(keras.layers.GRU(4)(x)))
    rnnexport.export(with_random_weights(keras.Model(x, y, name="m")), "onnx", tmp_path / "model.onnx")
    report = rnnexport.verify(tmp_path / "model.onnx")
    assert report.passed
    why = "no NumPy form of QuantizeLinear in m_1/"
    printed = io.StringIO()
    Console(file=printed, width=200).print(report_table(report))
    assert f"no float64 truth for model.onnx (cpu): {why}" in printed.getvalue()
    assert json.loads(to_json(report))["artifacts"][0]["no_truth"].startswith(why)
    assert f"No float64 truth: {why}" in to_html(report)
    assert f'<property name="no float64 truth" value="{why}' in to_junit(report)


def rounded_mask(x, value):
    return tf.where(tf.cast(x, tf.float16) == value, 0.0, x)


def test_a_mask_that_rounding_makes_equal_is_refused():
    x = np.array([0.1, -1.0, 2.0], "float32")
    found = oracle(traced_function(lambda x: rounded_mask(x, 0.1), x=x))
    assert isinstance(found, NoOracle)
    assert "rounded" in found.reason
    np.testing.assert_array_equal(run(lambda x: rounded_mask(x, -1.0), x=x)[1:], [0, 2])


@pytest.mark.parametrize("value", [0.1, -999.9, 2.0**24 + 2, 3.4028235e38])
def test_a_mask_is_the_number_that_the_input_has(value):
    """In float64, 0.1 is another number than what a float32 has of it, and an input has that."""
    x = np.array([value, -1.0, 2.0], "float32")
    np.testing.assert_array_equal(run(lambda x: tf.where(x == value, 0.0, x), x=x), [0, -1, 2])
    np.testing.assert_array_equal(run(lambda x: tf.where(tf.not_equal(x, value), x, 0.0), x=x), [0, -1, 2])


def test_more_weights_than_memory_should_hold_are_refused():
    graph_def = tf.compat.v1.GraphDef()
    for index in range(3):
        node = graph_def.node.add(name=f"w{index}", op="Const")
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.float32(0.5), shape=[2**27]))
        node.attr["dtype"].type = tf.float32.as_datatype_enum
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
        total = tf.add_n([graph.get_tensor_by_name(f"w{index}:0")[0] for index in range(3)])
    function = type("Function", (), {"graph": graph, "structured_outputs": {"y": total}})
    found = oracle(TracedModel("large", Signature((), ()), function, (), (total.name,)))
    assert found == NoOracle("the weights take more than 2 GiB in float64")


def test_a_feed_that_the_program_does_not_take_is_a_clear_error():
    program = opened(traced_function(lambda x: tf.reshape(x, [2, -1]), x=normal(4)))
    with pytest.raises(ConversionError, match="the float64 program of program raises ValueError"):
        program.run({"x": normal(5)})
