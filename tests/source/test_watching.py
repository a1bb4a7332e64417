"""What the layers of a source give: names, order, steps; and nothing of the watching is left behind."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tf_keras

from rnnexport.api.export import load
from rnnexport.core.errors import ConversionError
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.signature import Boundary
from rnnexport.source.describe import describe
from rnnexport.source.eager import layer_values, reference
from samples.catalog import SAMPLES_BY_NAME

STEPS, UNITS = 5, 3


def small():
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = keras.layers.Embedding(11, 4, mask_zero=True, name="words")(ids)
    x = keras.layers.Bidirectional(keras.layers.LSTM(UNITS, return_sequences=True, name="lstm"), name="both")(x)
    x = keras.layers.RNN(keras.layers.GRUCell(UNITS, name="cell"), name="last")(x)
    model = keras.Model(ids, keras.layers.Dense(2, name="readout")(x) * 2.0)
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(rng.uniform(-0.6, 0.6, weight.shape))
    return model


def watched(model, feed):
    source = load(model, LoadOptions())
    signature = describe(source, Boundary())
    return source, signature, layer_values(source, signature, feed)


@pytest.fixture(scope="module")
def run():
    feed = {"ids": np.array([[3, 5, 1, 2, 9], [4, 4, 8, 0, 0]], np.int32)}
    source, signature, values = watched(small(), feed)
    return source, signature, feed, values


def test_every_layer_is_named_in_the_order_of_computation(run):
    *_, values = run
    named = [(value.layer, value.class_name, value.output, value.loop) for value in values]
    lstm = [("output", "LSTMCell"), ("state 0", "LSTMCell"), ("state 1", "LSTMCell")]
    last = values[-1].layer  # counted over all that the process made
    assert last.startswith("multiply")
    wanted = [("words", "Embedding", "output", "")]
    for side in ("both/forward_lstm", "both/backward_lstm"):
        wanted += [(f"{side}/lstm_cell", kind, output, side) for output, kind in lstm]
        wanted.append((side, "LSTM", "output", ""))
    wanted.append(("both", "Bidirectional", "output", ""))
    wanted += [("last/cell", "GRUCell", output, "last") for output in ("output", "state 0")]
    wanted += [
        ("last", "RNN", "output", ""),
        ("readout", "Dense", "output", ""),
        (last, "Multiply", "output", ""),
    ]
    assert named == wanted


def test_the_last_value_is_what_the_model_gives_and_steps_are_those_of_the_layer(run):
    source, signature, feed, values = run
    by_name = {(value.layer, value.output): value for value in values}
    (output,) = reference(source, signature, feed).values()
    np.testing.assert_array_equal(values[-1].array, output)
    cell, layer = by_name["both/forward_lstm/lstm_cell", "output"], by_name["both/forward_lstm", "output"]
    assert cell.array.shape == (2, STEPS, UNITS)
    np.testing.assert_array_equal(cell.array[0], layer.array[0])
    # Row 1 is padded: there the layer repeats an output that the cell does not give.
    assert not np.array_equal(cell.array[1], layer.array[1])
    backward = by_name["both/backward_lstm/lstm_cell", "output"].array
    np.testing.assert_array_equal(backward[0, ::-1], by_name["both", "output"].array[0, :, UNITS:])
    np.testing.assert_array_equal(by_name["last/cell", "output"].array[0, -1], by_name["last", "output"].array[0])


def test_time_is_where_a_recurrent_layer_has_it_and_inputs_are_followed(run):
    *_, values = run
    axes = {value.layer: value.time_axis for value in values}
    assert (axes["words"], axes["both"], axes["last/cell"]) == (1, 1, 1)
    assert axes["last"] is axes["readout"] is None
    readout = next(value for value in values if value.layer == "readout")
    assert [values[index].layer for index in readout.inputs] == ["last"]


def test_nothing_is_left_behind_even_by_a_call_that_raises():
    before = [keras.layers.Layer.__call__, keras.Operation.__call__, tf_keras.layers.Layer.__call__]
    model = SAMPLES_BY_NAME["stateful_gru"].build()
    source = load(model, LoadOptions())
    signature = describe(source, Boundary())
    feed = {spec.name: np.ones(spec.shape, spec.dtype) for spec in signature.all_inputs}
    states = [state.variable.numpy() for state in source.api.states(source.model)]
    values = layer_values(source, signature, feed)
    assert [value.layer for value in values if not value.loop][-1] == "output_node"
    np.testing.assert_array_equal([state.variable.numpy() for state in source.api.states(source.model)], states)
    with pytest.raises(ConversionError, match="calling"):
        layer_values(source, signature, feed | {"input_node": np.ones((1, 1, 9), np.float32)})
    after = [keras.layers.Layer.__call__, keras.Operation.__call__, tf_keras.layers.Layer.__call__]
    assert all(one is other for one, other in zip(before, after, strict=True))


def test_tf_keras_cells_are_seen_and_what_runs_in_a_graph_is_left_out():
    x = tf_keras.Input((None, 2), name="x")
    y = tf_keras.layers.RNN(tf_keras.layers.SimpleRNNCell(UNITS, name="cell"), return_sequences=True, name="rnn")(x)
    y = tf_keras.layers.LSTM(UNITS, name="lstm")(y)
    feed = {"x": np.random.default_rng(0).standard_normal((2, STEPS, 2)).astype(np.float32)}
    _, _, values = watched(tf_keras.Model(x, y), feed)
    assert [value.layer for value in values] == ["rnn/cell", "rnn/cell", "rnn", "lstm"]
    np.testing.assert_array_equal(values[0].array, values[2].array)
