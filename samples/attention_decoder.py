"""An attention decoder after Bahdanau, Cho and Bengio (arXiv:1409.0473), Appendix 2, in Keras 2 (tf_keras).

The original subclasses `Recurrent` of Keras 2.0, which no Keras has any more. Here the step is a cell, and the
encoded sequence, on which it attends, reaches it by `constants`, which Keras 3 has not. Put right on the way:

- `recurrent_regularizer` and `recurrent_constraint` were taken from the kernel's; they are dropped with the others.
- With `return_probabilities` the output was declared `(B, T, T)` and was `(B, T, T, 1)`.
- The length was a Python number read in `build`; it is the length of each call now.

One step, with y and s the last output and state, X the encoded sequence, and T, B, I, U, O for time, batch, input,
units, output:

    e_T = tanh(s W_a + X U_a + b_a) V_a;  a_T = softmax(e_T);  context c_I = sum over T of a X
    r = sigmoid(y W_r + s U_r + c C_r + b_r)
    z = sigmoid(y W_z + s U_z + c C_z + b_z)
    p = tanh(y W_p + (r * s) U_p + c C_p + b_p)
    s' = (1 - z) * s + z * p
    y' = softmax(y W_o + s U_o + c C_o + b_o)           of the state before the step, as in the original

The first state is tanh(X_0 W_s), the first output 0.

Run it to save its models:  python samples/attention_decoder.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras

GATES = "rzp"


class AttentionCell(tf_keras.layers.AbstractRNNCell):
    """One step: `(x, [y_BO, s_BU], constants=[X_BTI, X U_a + b_a])`; the input of the step itself is not used."""

    def __init__(self, units, output_dim, return_probabilities=False, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.output_dim = output_dim
        self.return_probabilities = return_probabilities

    @property
    def state_size(self):
        return [self.output_dim, self.units]

    @property
    def output_size(self):
        return tf.TensorShape([None]) if self.return_probabilities else self.output_dim

    def build(self, input_shape):
        inputs = input_shape[0][-1] if isinstance(input_shape, list) else input_shape[-1]
        self.W_a = self.add_weight("W_a", (self.units, self.units))
        self.V_a = self.add_weight("V_a", (self.units,))
        widths = dict.fromkeys(GATES, self.units) | {"o": self.output_dim}
        for gate, width in widths.items():
            setattr(self, f"C_{gate}", self.add_weight(f"C_{gate}", (inputs, width)))
            setattr(self, f"U_{gate}", self.add_weight(f"U_{gate}", (self.units, width)))
            setattr(self, f"W_{gate}", self.add_weight(f"W_{gate}", (self.output_dim, width)))
            setattr(self, f"b_{gate}", self.add_weight(f"b_{gate}", (width,)))
        self.built = True

    def call(self, inputs, states, constants):
        y, s = states
        encoded, projected = constants
        energy = tf.tensordot(tf.tanh(tf.expand_dims(s @ self.W_a, 1) + projected), self.V_a, axes=1)
        attention = tf.nn.softmax(energy, axis=1)
        context = tf.reduce_sum(tf.expand_dims(attention, -1) * encoded, axis=1)
        r = tf.sigmoid(y @ self.W_r + s @ self.U_r + context @ self.C_r + self.b_r)
        z = tf.sigmoid(y @ self.W_z + s @ self.U_z + context @ self.C_z + self.b_z)
        p = tf.tanh(y @ self.W_p + (r * s) @ self.U_p + context @ self.C_p + self.b_p)
        s_next = (1 - z) * s + z * p
        y_next = tf.nn.softmax(y @ self.W_o + s @ self.U_o + context @ self.C_o + self.b_o)
        return attention if self.return_probabilities else y_next, [y_next, s_next]

    def get_config(self):
        return super().get_config() | {
            "units": self.units,
            "output_dim": self.output_dim,
            "return_probabilities": self.return_probabilities,
        }


class AttentionDecoder(tf_keras.layers.Layer):
    """`X_BTI -> y_BTO`, or the attention `a_BTT` with `return_probabilities`."""

    def __init__(self, units, output_dim, return_probabilities=False, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.output_dim = output_dim
        self.return_probabilities = return_probabilities
        cell = AttentionCell(units, output_dim, return_probabilities, name="cell")
        self.decoder = tf_keras.layers.RNN(cell, return_sequences=True, name="decoder")

    def build(self, input_shape):
        self.U_a = self.add_weight("U_a", (input_shape[-1], self.units))
        self.b_a = self.add_weight("b_a", (self.units,))
        self.W_s = self.add_weight("W_s", (input_shape[-1], self.units))
        super().build(input_shape)

    def call(self, x):
        # What does not depend on the state is computed once for the whole sequence.
        projected = tf.tensordot(x, self.U_a, axes=1) + self.b_a
        s_first = tf.tanh(x[:, 0] @ self.W_s)
        y_first = tf.zeros((tf.shape(x)[0], self.output_dim), x.dtype)
        return self.decoder(x, initial_state=[y_first, s_first], constants=[x, projected])

    def get_config(self):
        return super().get_config() | {
            "units": self.units,
            "output_dim": self.output_dim,
            "return_probabilities": self.return_probabilities,
        }


def with_random_weights(model, seed):
    """Distinct weights and non-zero biases, as a trained model has them."""
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(-0.7, 0.7, weight.shape) for weight in model.get_weights()])
    return model


def attention_decoder(return_probabilities):
    """Sequences of 5 features, decoded with 7 units to 4 labels, or to the attention."""
    x = tf_keras.Input((None, 5), name="encoded")
    y = AttentionDecoder(7, 4, return_probabilities, name="decoded")(x)
    return with_random_weights(tf_keras.Model(x, y), seed=7)


MODELS = {
    "attention_decoder": lambda: attention_decoder(False),
    "attention_probabilities": lambda: attention_decoder(True),
}

if __name__ == "__main__":
    for name, build in MODELS.items():
        build().save(Path(*sys.argv[1:]) / f"{name}.keras")
