"""Cells that compute with what `build()` made of their weights, as many published ones do, for either Keras."""

from __future__ import annotations

import functools

import h5py
import numpy as np
import tensorflow as tf

UNITS, FEATURES = 5, 3


def slices(cell, shape):
    cell.left = cell.kernel[:, :UNITS] * 1.0
    return lambda x: tf.matmul(x, cell.left)


def seeded(cell, shape):
    """Its kernel starts from the same values in each load."""
    return slices(cell, shape)


def parts(cell, shape):
    cell.parts = [cell.kernel[:, :UNITS] * 1.0, cell.kernel[:, UNITS:] * 1.0]
    return lambda x: tf.matmul(x, cell.parts[0])


def closure(cell, shape):
    left = tf.convert_to_tensor(cell.kernel)[:, :UNITS]
    return lambda x: tf.matmul(x, left)


def array(cell, shape):
    cell.left = np.asarray(cell.kernel)[:, :UNITS]
    return lambda x: tf.matmul(x, cell.left)


def drawn(cell, shape):
    cell.left = np.random.default_rng().standard_normal((shape[-1], UNITS)).astype("float32")
    return lambda x: tf.matmul(x, cell.left)


def variable(cell, shape):
    cell.left = [tf.Variable(tf.random.normal((shape[-1], UNITS)))]
    return lambda x: tf.matmul(x, cell.left[0])


def unused(cell, shape):
    cell.drawn = tf.random.normal((UNITS,))
    return in_call(cell, shape)


def in_call(cell, shape):
    return lambda x: tf.matmul(x, tf.convert_to_tensor(cell.kernel)[:, :UNITS])


KINDS = {made.__name__: made for made in (slices, seeded, parts, closure, array, drawn, variable, unused, in_call)}


@functools.cache
def split_cell(k):
    """`y = tanh(x left + (h recurrent) gain)`: what `left` is, each of the kinds says."""

    class SplitCell(k.layers.Layer):
        def __init__(self, kind="slices", **options):
            super().__init__(**options)
            self.kind = kind
            self.state_size = self.output_size = UNITS

        def build(self, shape):
            drawn = k.initializers.GlorotUniform(seed=11 if self.kind == "seeded" else None)
            self.kernel = self.add_weight(shape=(shape[-1], 2 * UNITS), name="kernel", initializer=drawn)
            self.recurrent = self.add_weight(shape=(UNITS, UNITS), name="recurrent", initializer="orthogonal")
            self.gain = tf.constant(np.linspace(0.5, 1.5, UNITS), tf.float32)
            self.product = KINDS[self.kind](self, shape)
            self.built = True

        def call(self, x, states):
            y = tf.tanh(self.product(x) + tf.matmul(states[0], tf.convert_to_tensor(self.recurrent)) * self.gain)
            return y, [y]

        def get_config(self):
            return {**super().get_config(), "kind": self.kind}

    return SplitCell


def frozen(k, kind):
    """A model of that cell, its weights trained after it was built."""
    x = k.Input((None, FEATURES), name="x")
    y = k.layers.RNN(split_cell(k)(kind, name="cell"), return_sequences=True, name="rnn")(x)
    model = k.Model(x, y, name="frozen")
    rng = np.random.default_rng(7)
    model.set_weights([rng.uniform(-0.8, 0.8, weight.shape) for weight in model.get_weights()])
    return model


def recorded_as(path, version, backend="tensorflow"):
    """Let an `.h5` say that another Keras wrote it: the layout is that of Keras 2 since 2.0."""
    with h5py.File(path, "r+") as file:
        file.attrs["keras_version"], file.attrs["backend"] = version, backend
    return path


def expected(kernel, recurrent, x_BTI):
    """What the equation gives with the weights of the file, in float64."""
    h_BH, found = np.zeros((len(x_BTI), UNITS)), []
    for t in range(x_BTI.shape[1]):
        h_BH = np.tanh(x_BTI[:, t] @ kernel[:, :UNITS] + (h_BH @ recurrent) * np.linspace(0.5, 1.5, UNITS))
        found.append(h_BH)
    return np.stack(found, 1)
