"""Each part of both Kerases without a public name does what it is used for."""

from __future__ import annotations

import keras
import numpy as np
import tf_keras

from rnnexport.compat import keras2, keras3
from rnnexport.compat.supported import inner_layers


class Held3(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.parts = [keras.Sequential([keras.layers.Dense(2)])]


class Held2(tf_keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.parts = [tf_keras.Sequential([tf_keras.layers.Dense(2)])]


def test_layers_in_lists_are_found():
    for layer in (Held3(), Held2()):
        assert [type(one).__name__ for one in inner_layers(layer, recursive=False)] == ["Sequential"]
        assert {type(one).__name__ for one in inner_layers(layer)} >= {"Sequential", "Dense"}


def test_loops_are_looked_up_where_they_are_replaced():
    """Each module is the one whose functions the layers call."""
    for backend, layers in ((keras3.backend, keras.layers), (keras2.backend, tf_keras.layers)):
        called = []
        original = backend.rnn

        def counted(*args, called=called, original=original, **kwargs):
            called.append(True)
            return original(*args, **kwargs)

        backend.rnn = counted
        try:
            layers.RNN(layers.SimpleRNNCell(2))(np.zeros((1, 3, 4), np.float32))
        finally:
            backend.rnn = original
        assert called
    assert callable(keras3.backend.core.scan)


def test_names_classes_and_safety():
    assert keras3.to_snake_case("LSTMCell") == "lstm_cell"
    assert issubclass(tf_keras.layers.Conv2D, keras2.Conv)
    with keras2.SafeModeScope(safe_mode=True):
        pass
