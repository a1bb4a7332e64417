"""A cell with two outputs at each timestep, a constant and an initial state given as an input (Keras 2, tf_keras).

Nested outputs and `constants` exist in Keras 2 alone. The answer it comes from finds that `output_size` may be a
list.

Run it to save its model:  python samples/multi_output_gru.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras


class CustomMultiTimeStepGRUCell(tf_keras.layers.Layer):
    """One step: `(x_BI, [h_BU], constants=[z_BL]) -> ([h_BU, a_BA], h_BU)`.

    The state is joined with the constant and projected before the GRU reads it; `a` is a dense layer on the input.
    """

    def __init__(self, units, arbitrary_units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.arbitrary_units = arbitrary_units
        self.gru = tf_keras.layers.GRUCell(units)
        self.concatenate = tf_keras.layers.Concatenate()
        self.dense_proj = tf_keras.layers.Dense(units)
        self.other_output = tf_keras.layers.Dense(arbitrary_units)
        self.state_size = tf.TensorShape([units])
        self.output_size = [tf.TensorShape([units]), tf.TensorShape([arbitrary_units])]

    def call(self, inputs, states, constants):
        joined = self.concatenate([states[0], constants[0]])
        h, next_states = self.gru(inputs, self.dense_proj(joined))
        return [h, self.other_output(inputs)], next_states

    def get_config(self):
        return super().get_config() | {"units": self.units, "arbitrary_units": self.arbitrary_units}


def with_random_weights(model, seed):
    """Distinct weights and non-zero biases, as a trained model has them."""
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(-0.5, 0.5, weight.shape) for weight in model.get_weights()])
    return model


def multi_output_gru():
    """Outputs (B, T, 10), (B, T, 15) and the last state (B, 10)."""
    x = tf_keras.Input((None, 12), name="inputs")
    h = tf_keras.Input((10,), name="initial_state")
    z = tf_keras.Input((8,), name="z_enc")
    rnn = tf_keras.layers.RNN(
        CustomMultiTimeStepGRUCell(10, 15), return_sequences=True, return_state=True, name="multistep"
    )
    return with_random_weights(tf_keras.Model([x, h, z], rnn(x, initial_state=h, constants=z)), seed=8)


MODELS = {"multi_output_gru": multi_output_gru}

if __name__ == "__main__":
    for name, build in MODELS.items():
        build().save(Path(*sys.argv[1:]) / f"{name}.keras")
