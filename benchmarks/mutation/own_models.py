"""Models beside the samples that bring what the samples lack: masks, both directions, norms, slopes, pairs of outputs.

All sizes of one model differ, unless a fault needs them to be equal: only a square kernel can be transposed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tf_keras

from benchmarks.custom_cells import LayerNormLSTMCell, PeepholeLSTMCell


def _random(model: Any, seed: int) -> Any:
    """Distinct weights and non-zero biases, as a trained model has them; variances above 0."""
    rng = np.random.default_rng(seed)
    weights = []
    for weight in model.weights:
        low = 0.3 if "variance" in str(getattr(weight, "path", weight.name)) else -0.6
        weights.append(rng.uniform(low, 0.7, weight.shape))
    model.set_weights(weights)
    return model


def _sequence(api: Any, features: int, layers: list[Any], seed: int) -> Any:
    """`layers` one after the other on `x_BTI`."""
    x = y = api.Input((None, features), name="x")
    for layer in layers:
        y = layer(y)
    return _random(api.Model(x, y), seed)


def masked_ids() -> Any:
    """Ids, of which 0 is padding, through an LSTM in both directions to a GRU (Keras 3)."""
    ids = keras.Input((None,), dtype="int32", name="ids")
    y = keras.layers.Embedding(30, 3, mask_zero=True, name="embedding")(ids)
    y = keras.layers.Bidirectional(keras.layers.LSTM(4, return_sequences=True), name="both")(y)
    return _random(keras.Model(ids, keras.layers.GRU(5, name="gru")(y)), 31)


def masked_hard_gru() -> Any:
    """Padded rows of features through a GRU of Keras 2 with its hard_sigmoid, read backwards too (tf_keras)."""
    options = {"return_sequences": True, "recurrent_activation": "hard_sigmoid", "reset_after": False}
    return _sequence(
        tf_keras,
        3,
        [
            tf_keras.layers.Masking(name="masking"),
            tf_keras.layers.GRU(4, name="forwards", **options),
            tf_keras.layers.GRU(2, name="backwards", go_backwards=True, **options),
        ],
        32,
    )


def hard_lstm() -> Any:
    """An LSTM with the hard_sigmoid of Keras 3, then one that gives its states: three outputs, two of one shape."""
    x = keras.Input((None, 3), name="x")
    y = keras.layers.LSTM(5, recurrent_activation="hard_sigmoid", return_sequences=True, name="first")(x)
    return _random(keras.Model(x, keras.layers.LSTM(4, return_state=True, name="last")(y)), 33)


def hard_lstm_keras2() -> Any:
    """The same with the hard_sigmoid of Keras 2 (tf_keras)."""
    layer = tf_keras.layers.LSTM(5, recurrent_activation="hard_sigmoid", return_sequences=True, name="lstm")
    return _sequence(tf_keras, 3, [layer], 34)


def norms() -> Any:
    """Layer and batch normalisation around a GRU, with epsilons of their own."""
    return _sequence(
        keras,
        6,
        [
            keras.layers.LayerNormalization(epsilon=1e-3, name="layer_norm"),
            keras.layers.GRU(5, return_sequences=True, name="gru"),
            keras.layers.BatchNormalization(epsilon=1e-2, name="batch_norm"),
            keras.layers.Dense(3, name="readout"),
        ],
        35,
    )


def norm_lstm() -> Any:
    """An LSTM cell with layer normalisation inside the step."""
    return _sequence(keras, 3, [keras.layers.RNN(LayerNormLSTMCell(4), return_sequences=True, name="rnn")], 36)


def peepholes() -> Any:
    """An LSTM cell with peepholes."""
    return _sequence(keras, 3, [keras.layers.RNN(PeepholeLSTMCell(4), return_sequences=True, name="rnn")], 37)


def slopes() -> Any:
    """LeakyReLU and ELU with slopes of their own, in and around recurrences."""
    return _sequence(
        keras,
        4,
        [
            keras.layers.Dense(6, name="dense"),
            keras.layers.LeakyReLU(negative_slope=0.3, name="leaky"),
            keras.layers.SimpleRNN(5, activation=keras.layers.ELU(alpha=0.7), return_sequences=True, name="rnn"),
            keras.layers.GRU(3, activation="elu", return_sequences=True, name="gru"),
            keras.layers.ELU(alpha=0.4, name="elu"),
        ],
        38,
    )


def pair() -> Any:
    """Two outputs of one shape, one of them read backwards, and two inputs of one shape."""
    a, b = keras.Input((None, 3), name="a"), keras.Input((None, 3), name="b")
    y = keras.layers.Subtract(name="difference")([a, b])
    forwards = keras.layers.GRU(4, return_sequences=True, name="forwards")(y)
    backwards = keras.layers.SimpleRNN(4, return_sequences=True, go_backwards=True, name="backwards")(y)
    return _random(keras.Model([a, b], [forwards, backwards]), 39)


def both_ways() -> Any:
    """Bidirectional GRU and SimpleRNN, joined and added up."""
    return _sequence(
        keras,
        3,
        [
            keras.layers.Bidirectional(keras.layers.GRU(4, return_sequences=True), name="joined"),
            keras.layers.Bidirectional(
                keras.layers.SimpleRNN(5, return_sequences=True), merge_mode="sum", name="added"
            ),
        ],
        40,
    )


def stateful() -> Any:
    """Stateful LSTM and SimpleRNN: the states are inputs and outputs, h and c of one shape."""
    x = keras.Input(batch_shape=(2, None, 3), name="x")
    y = keras.layers.LSTM(4, stateful=True, return_sequences=True, name="lstm")(x)
    y = keras.layers.SimpleRNN(5, stateful=True, return_sequences=True, name="rnn")(y)
    return _random(keras.Model(x, y), 41)


def stacked_cells() -> Any:
    """Two cells stacked in one layer."""
    cells = [keras.layers.GRUCell(4), keras.layers.LSTMCell(3)]
    return _sequence(keras, 5, [keras.layers.RNN(cells, return_sequences=True, name="rnn")], 42)


def square() -> Any:
    """A GRU of either reset and an LSTM whose input is as wide as their state: every kernel is made of squares."""
    return _sequence(
        keras,
        5,
        [
            keras.layers.GRU(5, reset_after=False, return_sequences=True, name="before"),
            keras.layers.GRU(5, reset_after=True, return_sequences=True, name="after"),
            keras.layers.LSTM(5, return_sequences=True, name="lstm"),
        ],
        43,
    )


def two_lengths() -> Any:
    """An encoder whose last state starts a decoder of another length."""
    e, d = keras.Input((None, 3), name="encoder"), keras.Input((None, 2), name="decoder")
    _, h, c = keras.layers.LSTM(4, return_state=True, name="encoder_lstm")(e)
    y = keras.layers.LSTM(4, return_sequences=True, name="decoder_lstm")(d, initial_state=[h, c])
    return _random(keras.Model([e, d], y), 44)


def conv_lstm() -> Any:
    """A convolutional LSTM on small frames."""
    x = keras.Input((None, 5, 4, 2), name="frames")
    y = keras.layers.ConvLSTM2D(3, 3, padding="same", return_sequences=True, name="conv_lstm")(x)
    return _random(keras.Model(x, y), 45)


def classifier() -> Any:
    """As wide as such models are: a long way from a weight to a probability (tf_keras)."""
    ids = tf_keras.Input((None,), dtype="int32", name="ids")
    y = tf_keras.layers.Embedding(50, 16, name="embedding")(ids)
    y = tf_keras.layers.Bidirectional(tf_keras.layers.LSTM(24, return_sequences=True), name="both")(y)
    y = tf_keras.layers.GlobalAveragePooling1D(name="mean")(y)
    y = tf_keras.layers.Dense(10, activation="relu", name="hidden")(y)
    model = tf_keras.Model(ids, tf_keras.layers.Dense(4, activation="softmax", name="classes")(y))
    rng = np.random.default_rng(46)
    model.set_weights([rng.uniform(-0.2, 0.25, weight.shape) for weight in model.get_weights()])
    return model


def branches() -> Any:
    """Functions of several branches around a GRU: guarded ones that people write, bounds, and slopes."""
    ops = keras.ops

    class Softened(keras.layers.Layer):
        """`log(1 + e^x)`, guarded as code on the web guards it."""

        def call(self, x: Any) -> Any:
            return ops.where(x > 6.0, x, ops.log1p(ops.exp(ops.minimum(x, 6.0))))

    class Bent(keras.layers.Layer):
        """The Huber function of its inputs, between bounds."""

        def call(self, x: Any) -> Any:
            size = ops.abs(x)
            return ops.clip(ops.where(size < 1.5, 0.5 * x * x, 1.5 * (size - 0.75)), 0.0, 4.0)

    return _sequence(
        keras,
        4,
        [
            keras.layers.Dense(6, name="dense"),
            Softened(name="softened"),
            keras.layers.Dense(4, name="spread"),
            Bent(name="bent"),
            keras.layers.GRU(5, return_sequences=True, name="gru"),
            keras.layers.Dense(3, name="readout"),
            keras.layers.ReLU(max_value=0.6, negative_slope=0.2, threshold=0.1, name="relu"),
        ],
        47,
    )


def chaotic() -> Any:
    """Recurrences with such weights that rounding decides single values early on, and all of them in the end."""
    rnn = keras.layers.SimpleRNN(16, return_sequences=True, name="rnn")
    model = _sequence(keras, 4, [rnn, keras.layers.LSTM(5, return_sequences=True, name="lstm")], 53)
    rng = np.random.default_rng(53)
    model.set_weights([rng.uniform(-3, 3, weight.shape) for weight in model.get_weights()])
    return model


MODELS: dict[str, Callable[[], Any]] = {
    build.__name__: build
    for build in (
        masked_ids,
        masked_hard_gru,
        hard_lstm,
        hard_lstm_keras2,
        norms,
        norm_lstm,
        peepholes,
        slopes,
        pair,
        both_ways,
        stateful,
        stacked_cells,
        square,
        two_lengths,
        conv_lstm,
        classifier,
        branches,
        chaotic,
    )
}
