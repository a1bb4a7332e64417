"""A layer that is called twice: each call is an operator of its own, with the same weights."""

from __future__ import annotations

import keras
import numpy as np

import rnnexport
from rnnexport.targets.registry import target


def test_both_calls_of_a_bidirectional_layer_are_right(tmp_path):
    layers = keras.layers
    a, b = (keras.Input((None,), dtype="int32", name=name) for name in "ab")
    table, shared = layers.Embedding(9, 3, mask_zero=True), layers.Bidirectional(layers.LSTM(4), name="shared")
    model = keras.Model([a, b], layers.Subtract(name="apart")([shared(table(a)), shared(table(b))]))
    rng = np.random.default_rng(6)
    model.set_weights([rng.uniform(-0.8, 0.8, weight.shape) for weight in model.get_weights()])
    path = rnnexport.export(model, tmp_path / "m.onnx").path
    assert target("onnx").operators(path)["LSTM"] == 2
    feed = {name: rng.integers(0, 9, (2, steps)).astype("int32") for name, steps in (("a", 5), ("b", 7))}
    found = rnnexport.run(path, feed).outputs["apart"]
    np.testing.assert_allclose(found, model([feed["a"], feed["b"]]), rtol=1e-5, atol=2e-6)
