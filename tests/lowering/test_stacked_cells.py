"""Cells made of cells: each is an operator of its own, behind the one that it reads."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import rnnexport
from rnnexport.targets.registry import target


@pytest.fixture(scope="module")
def stacks(tmp_path_factory):
    """Two cells behind a mask that has holes, and three that are read backwards, their last states outputs, too."""
    layers = keras.layers
    x = keras.Input((None, 3), name="x")
    masked = layers.RNN([layers.GRUCell(4), layers.LSTMCell(2)], return_sequences=True, name="masked")
    cells = [layers.LSTMCell(4), layers.LSTMCell(5), layers.SimpleRNNCell(6, activation="relu")]
    last, *states = layers.RNN(cells, go_backwards=True, return_state=True, name="backwards")(x)
    model = keras.Model(x, [masked(layers.Masking()(x)), last, *keras.tree.flatten(states)])
    rng = np.random.default_rng(5)
    model.set_weights([rng.uniform(-0.7, 0.7, weight.shape) for weight in model.get_weights()])
    exported = rnnexport.export(model, tmp_path_factory.mktemp("stacks") / "m.onnx")
    return model, exported


def test_each_cell_is_an_operator(stacks):
    _, exported = stacks
    found = {one.name.rpartition("/")[2]: one for one in exported.lowering}
    assert {name: one.chosen for name, one in found.items()} == {"masked": "native", "backwards": "native"}
    assert found["masked"].what.startswith("GRU, reset after, masked, then LSTM, masked; 3 states")
    assert found["backwards"].what.startswith("LSTM, then LSTM, then ")
    assert not any(one.fault for one in found.values())
    operators = target("onnx").operators(exported.path)
    assert [operators[name] for name in ("GRU", "LSTM", "RNN")] == [1, 3, 1]
    assert not {"Loop", "Scan"} & set(operators)


def test_it_computes_what_keras_computes(stacks):
    model, exported = stacks
    x_BTI = np.random.default_rng(8).standard_normal((5, 7, 3)).astype("float32")
    for row, steps in enumerate(([3], [0, 1], [5, 6], range(7))):
        x_BTI[row, steps] = 0
    wanted = [np.asarray(one) for one in model(x_BTI)]
    found = rnnexport.run(exported.path, {"x": x_BTI}).outputs
    for spec, array in zip(exported.signature.outputs, wanted, strict=True):
        np.testing.assert_allclose(found[spec.name], array, rtol=1e-5, atol=2e-6, err_msg=spec.name)


@pytest.mark.parametrize("width", [4, 3])
def test_cells_that_read_each_other_stay_together(width, tmp_path):
    """Each reads what the other had before: no order of theirs would do. A state of another width is no cell state."""

    class Crossed(keras.layers.Layer):
        state_size = (4, width)
        output_size = width

        def build(self, shape):
            self.one = self.add_weight(shape=(shape[-1] + width, 4), name="one", initializer="random_normal")
            self.other = self.add_weight(shape=(width + 4, width), name="other", initializer="random_normal")

        def call(self, x, states):
            a, b = states
            a_next = keras.ops.concatenate([x, b], -1) @ self.one
            b_next = keras.ops.tanh(keras.ops.concatenate([a, b], -1) @ self.other)
            return b_next, [a_next, b_next]

        def get_initial_state(self, batch_size=None):
            return [keras.ops.zeros((batch_size, size)) for size in self.state_size]

    x = keras.Input((None, 3), name="x")
    exported = rnnexport.export(keras.Model(x, keras.layers.RNN(Crossed())(x)), tmp_path / "m.onnx")
    (found,) = exported.lowering
    assert "then" not in found.what
    assert "native" not in found.proven
