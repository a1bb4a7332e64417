"""The float64 truth: right to float64 rounding, and honest where it can't be had."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rnnexport.codegen.oracle import NoOracle, oracle
from rnnexport.errors import ConversionError
from rnnexport.signature import Boundary, Signature
from rnnexport.source.describe import describe
from rnnexport.source.load import load_source
from rnnexport.source.reference import reference
from rnnexport.source.trace import TracedModel
from rnnexport.truth import describe_with_truth
from tests.codegen.double_keras import twins
from tests.codegen.doubles import (
    IMAGE,
    batch_norm,
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
    """Constants that are no binary fractions, which float32 rounds: epsilons, slopes, the 0.2 of hard_sigmoid."""
    layers = keras.layers
    x = keras.Input((None, 4))
    y = layers.Bidirectional(layers.LSTM(4, return_sequences=True, recurrent_activation="hard_sigmoid"))(x)
    y = layers.BatchNormalization()(y)
    y = layers.MultiHeadAttention(2, 4)(y, y)
    y = layers.LayerNormalization(epsilon=0.007)(y)
    y = layers.LeakyReLU(0.1)(layers.Conv1D(6, 3, padding="causal", activation="softplus")(y))
    y = layers.GRU(3, reset_after=False, go_backwards=True, return_sequences=True)(y)
    model = keras.Model(x, layers.RNN(layers.SimpleRNNCell(5))(y))
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
    for source in (made.narrow, made.wide):  # a model that computes in float64 is its own truth
        _, signature, traced = described(source.model)
        array = next(iter(feed.values())).astype(signature.inputs[0].dtype)
        (truth,) = opened(traced).run({signature.inputs[0].name: array}).values()
        np.testing.assert_allclose(truth, wanted, rtol=0, atol=1e-13)
    assert np.abs(truth - rounded).max() > 1e-9


@GROUP
def test_a_saved_model_with_padding_and_both_directions(tmp_path):
    """What the program does not know for a weight is none the less not computed with in float32."""
    import keras

    layers = keras.layers
    x = keras.Input((None,), dtype="int32")
    y = layers.Embedding(12, 4, mask_zero=True)(x)
    y = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(y)
    y = layers.BatchNormalization()(y)
    model = with_random_weights(keras.Model(x, layers.GRU(4)(y)), low=0.05)
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
    "ResizeBicubic": lambda x: tf.raw_ops.ResizeBicubic(images=x, size=[3, 3]),
}


@pytest.mark.parametrize("op", REFUSED)
@pytest.mark.parametrize("inside", [False, True])
def test_an_operator_that_the_program_has_not_is_named(op, inside):
    function = REFUSED[op]
    within = (lambda x: tf.cond(x[0, 0, 0, 0] > 0, lambda: function(x), lambda: function(x))) if inside else function
    found = oracle(traced_function(within, x=IMAGE))
    assert isinstance(found, NoOracle)
    assert op in found.reason


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
    for comparison in (tf.greater_equal, tf.less_equal):
        assert run(lambda x, holds=comparison: holds(x, value), x=x)[0]


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
