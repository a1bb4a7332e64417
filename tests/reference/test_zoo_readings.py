"""Both float64 readings of right models agree: layers and activations of both Kerases, tame inputs and large ones."""

from __future__ import annotations

from importlib import import_module
from itertools import islice

import numpy as np
import pytest

from rnnexport.reference.float64 import Float64Run
from rnnexport.source.eager import reference
from rnnexport.verification.feeds import feeds
from tests.emit.numpy.doubles import described, with_random_weights

ACTIVATIONS = (
    *("tanh", "sigmoid", "relu", "softplus", "softsign", "selu", "elu", "exponential", "gelu", "swish"),
    *("hard_sigmoid", "softmax", "mish", "leaky_relu", "relu6"),
)
SCALES = (1e-6, 1.0, 30.0, 1e3)


def stacked(keras, *layers, shape=(None, 4), **kind):
    x = y = keras.Input(shape, **kind)
    for layer in layers:
        y = layer(y)
    return keras.Model(x, y)


def activations(keras):
    """Each behind a layer of its own, and each but the explosive ones in a cell."""
    layers = keras.layers
    for name in ACTIVATIONS:
        if hasattr(keras.activations, name):
            yield stacked(keras, layers.Dense(6, activation=name))
            if name not in ("softmax", "exponential"):
                yield stacked(keras, layers.LSTM(5, activation=name, recurrent_activation="hard_sigmoid"))


def recurrences(keras):
    layers = keras.layers
    for layer in (layers.SimpleRNN, layers.LSTM, layers.GRU):
        yield stacked(keras, layer(5, return_sequences=True, go_backwards=True, use_bias=False))
    yield stacked(keras, layers.GRU(5, reset_after=False, return_sequences=True))
    yield stacked(keras, layers.Bidirectional(layers.LSTM(3, return_sequences=True)), layers.GRU(4))
    yield stacked(keras, layers.RNN([layers.LSTMCell(3), layers.GRUCell(4)], return_sequences=True))
    yield stacked(keras, layers.ConvLSTM2D(3, 2, padding="same", return_sequences=True), shape=(None, 5, 4, 3))
    yield stacked(keras, layers.Embedding(12, 4, mask_zero=True), layers.LSTM(5), shape=(None,), dtype="int32")
    yield stacked(keras, layers.Masking(0.1), layers.GRU(5, return_sequences=True))
    yield stacked(keras, *(layers.GRU(6, return_sequences=True) for _ in range(5)))


def others(keras):
    """Layers around a recurrence, many with constants that float32 rounds."""
    layers = keras.layers
    sequences = [
        layers.BatchNormalization(),
        layers.LayerNormalization(epsilon=0.007),
        layers.UnitNormalization(),
        layers.Conv1D(6, 3, padding="causal", dilation_rate=2),
        layers.MaxPooling1D(2, padding="same"),
        layers.AveragePooling1D(2, padding="same"),
        layers.ReLU(max_value=0.7, negative_slope=0.1, threshold=0.2),
        layers.ELU(0.7),
        layers.Softmax(axis=1),
        layers.Rescaling(0.1, 0.3),
        layers.Normalization(mean=0.3, variance=0.7),
        layers.TimeDistributed(layers.Dense(3, activation="tanh")),
        layers.UpSampling1D(2),
    ]
    for layer in sequences:
        yield stacked(keras, layer, layers.LSTM(3))
    x = keras.Input((None, 4))
    states = layers.GRU(4, return_sequences=True)(x)
    yield keras.Model(x, layers.MultiHeadAttention(2, 4)(x, states))
    yield keras.Model(x, layers.AdditiveAttention()([x, states]))
    yield keras.Model(x, layers.Dot((2, 2), normalize=True)([x, states]))


@pytest.mark.long
@pytest.mark.xdist_group("witness")
@pytest.mark.parametrize("package", ["keras", "tf_keras"])
@pytest.mark.parametrize("models", [activations, recurrences, others])
def test_the_two_readings_of_a_right_model_agree(models, package):
    keras = import_module(package)
    for number, model in enumerate(models(keras)):
        source, signature, traced = described(with_random_weights(model, seed=number, low=0.05))
        run = Float64Run(traced)
        for feed in islice(feeds(signature), 2):
            for scale in SCALES:
                arrays = {name: _times(array, scale) for name, array in feed.arrays.items()}
                run.run(arrays, reference(source, signature, arrays))
        assert (run.fault, run.no_truth) == ("", ""), [layer.name for layer in model.layers]


def _times(array, scale):
    return array * np.float32(scale) if array.dtype.kind == "f" else array
