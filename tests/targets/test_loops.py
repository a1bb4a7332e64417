"""Recurrences that are no Keras layer: `keras.ops.scan`, `tf.while_loop`, loops inside cells. Verified on export."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import rnnexport
from rnnexport.targets.registry import target

FEATURES = 4


class Weighted(keras.layers.Layer):
    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], shape[-1]), name="kernel")
        self.built = True


class Scan(Weighted):
    def __init__(self, reverse):
        super().__init__(name="scanned")
        self.reverse = reverse

    def call(self, x_BTF):
        def step(h_BF, x_BF):
            h_BF = ops.tanh(x_BF + h_BF @ self.kernel)
            return h_BF, 2 * h_BF

        x_TBF = ops.transpose(x_BTF, [1, 0, 2])
        last, every = ops.scan(step, ops.zeros_like(x_TBF[0]), x_TBF, reverse=self.reverse)
        return ops.transpose(every, [1, 0, 2]), last


class Counted(Weighted):
    """Carries two values of a dictionary, over no sequence."""

    def call(self, x_BTF):
        def step(carry, _):
            h_BF = ops.tanh(carry["h"] @ self.kernel)
            return {"h": h_BF, "n": carry["n"] + 1.0}, {"h": h_BF, "n": carry["n"]}

        x_BF = x_BTF[:, 0]
        last, every = ops.scan(step, {"h": x_BF, "n": ops.zeros_like(x_BF)}, length=7)
        return last["h"], last["n"], every["h"]


class While(Weighted):
    def call(self, x_BTF):
        x_TBF = tf.transpose(x_BTF, [1, 0, 2])
        steps = tf.shape(x_TBF)[0]
        kept = tf.TensorArray(tf.float32, steps)

        def step(at, h_BF, kept):
            h_BF = tf.tanh(tf.gather(x_TBF, at) + h_BF @ self.kernel)
            return at + 1, h_BF, kept.write(at, h_BF)

        _, _, kept = tf.while_loop(lambda at, *_: at < steps, step, (0, tf.zeros_like(x_TBF[0]), kept))
        return tf.transpose(kept.stack(), [1, 0, 2])


class Solver(keras.layers.Layer):
    """A cell that takes three steps of an ODE solver a step."""

    units = state_size = 5

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1] + self.units, self.units), name="kernel")
        self.built = True

    def call(self, x_BF, states):
        def step(at, h_BH):
            return at + 1, h_BH + 0.2 * (tf.tanh(tf.concat([x_BF, h_BH], -1) @ self.kernel) - h_BH)

        h_BH = tf.while_loop(lambda at, h: at < 3, step, (0, states[0]))[1]
        return h_BH, [h_BH]


class Halving(Solver):
    """A cell that halves its state until it is small: a Loop in the step that captures nothing."""

    def call(self, x_BF, states):
        def large(h_BH):
            return tf.reduce_max(tf.abs(h_BH)) > 1.0

        start_BH = tf.concat([x_BF, states[0]], -1) @ self.kernel
        h_BH = tf.while_loop(large, lambda h: [0.5 * h], [start_BH])[0]
        return h_BH, [h_BH]


class Until(keras.layers.Layer):
    def call(self, x_BTF):
        def small(h):
            return tf.reduce_max(tf.abs(h)) < 3.0

        return tf.while_loop(small, lambda h: [1.3 * h + 0.1], [x_BTF])[0]


def exported(layer, folder, timesteps=None):
    x_BTF = keras.Input((timesteps, FEATURES), name="x")
    model = keras.Model(x_BTF, layer(x_BTF), name="loops")
    rng = np.random.default_rng(5)
    model.set_weights([rng.normal(0, 0.5, weight.shape) for weight in model.get_weights()])
    return rnnexport.export(model, "onnx", folder / "loops.onnx")


@pytest.mark.parametrize("timesteps", [None, 6])
@pytest.mark.parametrize("reverse", [False, True])
def test_scan_of_keras_is_found_to_be_an_rnn(reverse, timesteps, tmp_path):
    done = exported(Scan(reverse), tmp_path, timesteps)
    assert done.report.status == "passed"
    assert "native" in done.lowering[0].proven


def test_scan_of_several_values_without_a_sequence(tmp_path):
    done = exported(Counted(), tmp_path)
    assert done.report.status == "passed"
    assert "scan" in done.lowering[0].proven


def test_while_loop_over_a_sequence_is_found_to_be_an_rnn(tmp_path):
    done = exported(While(), tmp_path)
    assert done.report.status == "passed"
    assert "native" in done.lowering[0].proven


def test_a_loop_inside_a_cell_is_read_as_its_steps(tmp_path):
    done = exported(keras.layers.RNN(Solver(), return_sequences=True), tmp_path)
    assert done.report.status == "passed"
    (lowered,) = done.lowering
    assert lowered.chosen == "scan"
    operators = target("onnx").operators(done.path)
    assert (operators["Scan"], operators["Loop"], operators["Tanh"]) == (1, 0, 3)


def test_a_loop_inside_a_cell_that_its_data_stops_stays_in_the_step(tmp_path):
    done = exported(keras.layers.RNN(Halving(), return_sequences=True), tmp_path)
    assert done.report.status == "passed"
    assert [item.chosen for item in done.lowering] == ["scan"]
    operators = target("onnx").operators(done.path)
    assert (operators["Scan"], operators["Loop"]) == (1, 1)


def test_a_loop_that_its_data_stops_stays_one(tmp_path):
    done = exported(Until(), tmp_path)
    assert done.report.status == "passed"
    (lowered,) = done.lowering
    assert (lowered.chosen, lowered.proven) == ("loop", ("loop",))
    assert set(lowered.refused.values()) == {"the data decides when it stops"}
