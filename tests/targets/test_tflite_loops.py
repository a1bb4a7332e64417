"""Loops in a model's own code, whose lists LiteRT has no form for where the batch is open, are written out."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from keras import ops

import rnnexport
from rnnexport.source.files import identify
from rnnexport.targets.registry import target

GROUP = pytest.mark.xdist_group("tflite_loops")
STEPS = 6


def step(x, h):
    return tf.tanh(x + 0.5 * tf.roll(h, 1, -1))


def by_backend(rnn):
    """A recurrence that user code asks `backend.rnn` for, backwards, behind a mask."""

    def call(x):
        def one(inputs, states):
            h = step(inputs, states[0])
            return h, [h]

        mask = tf.reduce_sum(x, -1) > -1.0
        return rnn(one, x, [tf.zeros_like(x[:, 0])], mask=mask, go_backwards=True)[1]

    return call


def by_array(x):
    steps = tf.shape(x)[1]
    array = tf.TensorArray(tf.float32, size=steps)

    def body(t, h, a):
        h = step(x[:, t], h)
        return t + 1, h, a.write(t, h)

    found = tf.while_loop(lambda t, *_: t < steps, body, (0, tf.zeros_like(x[:, 0]), array))[2]
    return tf.transpose(found.stack(), (1, 0, 2))


def by_scan(x):
    def one(carry, element):
        h = ops.fori_loop(0, 2, lambda n, h: step(element, h) + 0.1, carry)
        return h, h

    return ops.swapaxes(ops.scan(one, ops.zeros_like(x[:, 0]), ops.swapaxes(x, 0, 1))[1], 0, 1)


def by_map(x):
    return ops.swapaxes(ops.map(lambda element: ops.cumsum(element, -1), ops.swapaxes(x, 0, 1)), 0, 1)


def by_values(x):
    """A loop that the values end: it stays one."""
    return tf.while_loop(lambda v: tf.reduce_max(tf.abs(v)) > 0.5, lambda v: (0.7 * tf.roll(v, 1, 1),), (x,))[0]


def by_choice(x):
    which = tf.cast(tf.reduce_sum(x) > 0.0, tf.int32)
    return tf.switch_case(which, [lambda: x - 1.0, lambda: 2.0 * x, lambda: tf.tanh(x)])


def with_weights(model):
    rng = np.random.default_rng(3)
    model.set_weights([rng.uniform(-0.8, 0.8, array.shape).astype(array.dtype) for array in model.get_weights()])
    return model


def model_of(api, function, steps):
    layers = api.layers

    class Looping(layers.Layer):
        def call(self, x):
            return function(x)

    x = api.Input((steps, 3), name="x")
    y = Looping(name="looping")(layers.Dense(4)(x))
    return with_weights(api.Model(x, layers.Dense(2, name="y")(y), name="loops"))


@GROUP
@pytest.mark.parametrize(
    ("api", "function", "steps"),
    [
        (tf_keras, by_backend(tf_keras.backend.rnn), None),
        (tf_keras, by_array, STEPS),
        (keras, by_array, None),
        (keras, by_scan, None),
        (keras, by_map, STEPS),
        (keras, by_values, None),
        (tf_keras, by_choice, STEPS),
    ],
    ids=["backend-rnn", "array-2", "array-3", "scan", "map", "values", "choice"],
)
def test_it_computes_what_keras_computes(api, function, steps, tmp_path):
    model = model_of(api, function, steps)
    path = tmp_path / "m.tflite"
    exported = rnnexport.export(model, "tflite", path, timesteps=None if steps else STEPS)
    assert exported.report.status == "passed"
    x = np.random.default_rng(9).standard_normal((3, STEPS, 3)).astype(np.float32)
    with target("tflite").runner(path, "cpu") as runner:
        (found,) = runner.run({"x": x}).values()
    np.testing.assert_allclose(found, np.asarray(model(x)), rtol=1e-4, atol=1e-5)


@GROUP
@pytest.mark.parametrize(
    ("api", "batch"), [pytest.param(keras, 2, marks=pytest.mark.long), (tf_keras, None)], ids=["keras", "tf_keras"]
)
def test_a_program_of_an_open_length_is_fixed_to_one(api, batch, tmp_path):
    layers = api.layers
    model = with_weights(
        api.Sequential([api.Input((None, 3)), layers.GRU(5, return_sequences=True), layers.LSTM(4)], name="program")
    )
    model.export(str(tmp_path / "program"))
    assert identify(tmp_path / "program").path.is_dir()
    path = tmp_path / "m.tflite"
    exported = rnnexport.export(tmp_path / "program", "tflite", path, timesteps=STEPS, batch=batch)
    assert exported.report.status == "passed"
    x = np.random.default_rng(9).standard_normal((batch or 3, STEPS, 3)).astype(np.float32)
    with target("tflite").runner(path, "cpu") as runner:
        (found,) = runner.run({exported.report.provenance.signature.inputs[0].name: x}).values()
    np.testing.assert_allclose(found, np.asarray(model(x)), rtol=1e-4, atol=1e-5)
