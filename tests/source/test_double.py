"""The float64 truth: right to float64 rounding, and honest where it can't be had."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import tensorflow as tf

from rnnexport.errors import ConversionError
from rnnexport.signature import Signature
from rnnexport.source.double import NoOracle, oracle
from rnnexport.source.reference import reference
from rnnexport.source.trace import TracedModel
from rnnexport.verification.feeds import feeds
from samples.catalog import SAMPLES_BY_NAME
from tests.source.doubles import IMAGE, batch_norm, described, normal, opened, run, traced_function, with_random_weights

GROUP = pytest.mark.xdist_group("double")
EPS32 = 2.0**-24


# --- against the source -----------------------------------------------------------------------------------------------


@GROUP
@pytest.mark.parametrize(
    "name",
    ["conv3d_gru", "stateful_gru", "my_layers", "multi_output_gru"],
)
def test_a_sample_differs_from_its_float64_truth_by_float32_rounding(name):
    source, signature, traced = described(SAMPLES_BY_NAME[name].build())
    largest = 0.0
    with opened(traced) as double:
        for feed in islice(feeds(signature), 4):
            expected, truth = reference(source, signature, feed.arrays), double.run(feed.arrays)
            assert list(truth) == [spec.name for spec in signature.all_outputs]
            for key, array in expected.items():
                assert truth[key].dtype == np.float64
                assert truth[key].shape == array.shape
                apart = np.abs(array - truth[key]).max()
                assert apart <= 16 * EPS32 * np.abs(truth[key]).max()
                largest = max(largest, apart)
    assert largest > 0  # the same number to the last bit would have been rounded alike


@GROUP
def test_a_saved_model_with_padding_and_both_directions(tmp_path):
    import keras

    layers = keras.layers
    x = keras.Input((None,), dtype="int32")
    y = layers.Embedding(12, 4, mask_zero=True)(x)
    y = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(y)
    model = with_random_weights(keras.Model(x, layers.GRU(4)(y)))
    model.export(tmp_path / "program", verbose=False)
    source, signature, traced = described(tmp_path / "program")
    ids = np.array([[3, 1, 0, 0, 0], [2, 0, 5, 11, 0], [0, 0, 0, 0, 0]], "int32")
    with opened(traced) as double:
        (truth,) = double.run({signature.inputs[0].name: ids}).values()
    (expected,) = reference(source, signature, {signature.inputs[0].name: ids}).values()
    assert 0 < np.abs(truth - expected).max() < 16 * EPS32


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
    with opened(traced) as double:
        (truth,) = double.run({signature.inputs[0].name: x_BTI}).values()
    weights = [array.astype("float64") for array in model.get_weights()]
    expected = equations(x_BTI.astype("float64"), *weights)
    np.testing.assert_allclose(truth, expected, rtol=0, atol=2e-15)
    assert np.abs(truth - expected.astype("float32")).max() > 1e-9  # the bound tells float64 from float32


def twin(keras, dtype: str):
    """No constant in it is a fraction that float32 rounds, so that the float64 model has the same numbers."""
    layers, kind = keras.layers, {"dtype": dtype}
    x = keras.Input((None, 4), **kind)
    y = layers.Bidirectional(layers.LSTM(4, return_sequences=True, **kind), **kind)(x)
    y = layers.BatchNormalization(epsilon=2.0**-10, **kind)(y)
    y = layers.MultiHeadAttention(2, 4, **kind)(y, y)
    y = layers.LayerNormalization(epsilon=2.0**-8, **kind)(y)
    y = layers.Conv1D(6, 3, padding="causal", activation="softplus", **kind)(y)
    y = layers.GRU(3, reset_after=False, go_backwards=True, return_sequences=True, **kind)(y)
    return keras.Model(x, layers.RNN(layers.SimpleRNNCell(5, **kind), **kind)(y))


@GROUP
@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_a_model_rebuilt_in_float64_gives_the_same_to_float64_rounding(package):
    keras = pytest.importorskip(package)
    narrow, wide = twin(keras, "float32"), twin(keras, "float64")
    rng = np.random.default_rng(5)
    # A variance must be above 0.
    weights = [rng.uniform(0.05, 0.4, weight.shape).astype("float32") for weight in narrow.get_weights()]
    narrow.set_weights(weights)
    wide.set_weights([weight.astype("float64") for weight in weights])
    x = normal(2, 7, 4)
    # A model that computes in float64 already has its own numbers for truth.
    for model in (wide, narrow) if package == "keras" else (narrow,):
        _, signature, traced = described(model)
        with opened(traced) as double:
            array = x.astype(signature.inputs[0].dtype)
            (truth,) = double.run({signature.inputs[0].name: array}).values()
        np.testing.assert_allclose(truth, np.asarray(wide(x.astype("float64"))), rtol=0, atol=1e-13)
    assert np.abs(truth - np.asarray(narrow(x))).max() > 1e-9


@GROUP
def test_a_model_of_mixed_precision_is_not_rounded_to_16_bits():
    import keras

    x = keras.Input((4,))
    model = with_random_weights(keras.Model(x, keras.layers.Dense(3, dtype="mixed_float16")(x)))
    _, signature, traced = described(model)
    array, (kernel, bias) = normal(2, 4), model.get_weights()
    with opened(traced) as double:
        (truth,) = double.run({signature.inputs[0].name: array}).values()
    exact = array.astype("float64") @ kernel.astype("float64") + bias.astype("float64")
    np.testing.assert_allclose(truth, exact, rtol=0, atol=1e-15)
    assert truth.dtype == np.float64


def test_a_constant_is_the_number_that_float32_holds():
    one = np.ones(1, "float32")
    assert run(lambda x: x * 0.2, x=one) == np.float64(np.float32(0.2))
    assert run(lambda x: tf.cast(tf.cast(x, tf.float16) * 0.1, tf.float32), x=one) == np.float64(np.float16(0.1))
    assert run(lambda x: tf.cast(tf.cast(x / 3, tf.bfloat16), tf.float32), x=one) == 1 / 3


# --- where there is none ----------------------------------------------------------------------------------------------

REFUSED = {
    "ResizeBicubic": (lambda x: tf.raw_ops.ResizeBicubic(images=x, size=[3, 3]), "works in float32 alone"),
    "FakeQuantWithMinMaxArgs": (lambda x: tf.quantization.fake_quant_with_min_max_args(x), "works in float32 alone"),
    "AdjustContrastv2": (lambda x: tf.image.adjust_contrast(x, 0.3), "works in float32 alone"),
    "FusedBatchNormV3": (lambda x: batch_norm(x, exponential_avg_factor=0.5), "has no float64 form"),
    "Bitcast": (lambda x: tf.bitcast(x, tf.int32), "bits"),
    "StatelessRandomUniformV2": (lambda x: x + tf.random.stateless_uniform(tf.shape(x), [1, 2]), "draws"),
    "PyFunc": (lambda x: tf.numpy_function(np.tanh, [x], tf.float32), "Python"),
}


@pytest.mark.parametrize("op", REFUSED)
@pytest.mark.parametrize("inside", [False, True])
def test_an_operator_without_a_float64_form_is_named(op, inside):
    function, why = REFUSED[op]
    within = (lambda x: tf.cond(x[0, 0, 0, 0] > 0, lambda: function(x), lambda: function(x))) if inside else function
    found = oracle(traced_function(within, x=IMAGE))
    assert isinstance(found, NoOracle)
    assert found.reason.startswith(f"operator {op} ")
    assert why in found.reason


def test_an_operator_that_nothing_reads_is_no_obstacle():
    def half(x):
        tf.raw_ops.ResizeBicubic(images=x, size=[3, 3])
        tf.cond(x[0, 0, 0, 0] > 0, lambda: tf.image.adjust_contrast(x, 0.3), lambda: x)
        return x * 0.5

    np.testing.assert_array_equal(run(half, x=IMAGE), IMAGE.astype("float64") * 0.5)


def rounded_mask(x, value):
    return tf.where(tf.cast(x, tf.float16) == value, 0.0, x)


def test_a_mask_that_rounding_makes_equal_is_refused():
    x = np.array([0.1, -1.0, 2.0], "float32")
    found = oracle(traced_function(lambda x: rounded_mask(x, 0.1), x=x))
    assert isinstance(found, NoOracle)
    assert "rounded" in found.reason
    np.testing.assert_array_equal(run(lambda x: rounded_mask(x, -1.0), x=x)[1:], [0, 2])
    np.testing.assert_array_equal(run(lambda x: tf.where(x == 0.1, 0.0, x), x=x), [0, -1, 2])


def test_more_weights_than_a_graph_can_hold_are_refused():
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


def test_a_feed_that_the_graph_does_not_take_is_a_clear_error():
    with (
        opened(traced_function(lambda x: tf.reshape(x, [2, -1]), x=normal(4))) as double,
        pytest.raises(ConversionError, match="the float64 run of program raises InvalidArgumentError"),
    ):
        double.run({"x": normal(5)})
