"""The simplified LSTM of Wu and King 2016 as a cell of one's own, and the same started from h = 1 (tf_keras).

`AbstractRNNCell` exists in Keras 2 alone, and the weights were trained with its hard_sigmoid, clip(0.2 x + 0.5, 0, 1).

    f = recurrent_activation(x W_f + h R_f + b_f)
    c' = f * c + (1 - f) * activation(x W_c + h R_c + b_c)
    h' = activation(c')

The article's options for initializers, regularizers and constraints, which do not bear on what is exported, are left
out. One unit, activation linear. For the input 0.5 at each of 30 steps the article prints the predictions that
`PRINTED` holds; every artifact gives them to 4 units of the last place of a float32. It prints predictions for h = 1
too, but of a model trained anew whose weights it does not print, so that these can't be computed again.

Run it to save its models:  python samples/s_lstm.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras import activations


class SLSTMCell(tf_keras.layers.AbstractRNNCell):
    """One step: `(x_BI, [h_BU, c_BU]) -> (h_BU, [h_BU, c_BU])`, gates in the order f, c."""

    def __init__(self, units, activation="tanh", recurrent_activation="hard_sigmoid", use_bias=True, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.activation = activations.get(activation)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.use_bias = use_bias

    @property
    def state_size(self):
        return [self.units, self.units]

    def build(self, input_shape):
        self.kernel = self.add_weight("kernel", (input_shape[-1], self.units * 2))
        self.recurrent_kernel = self.add_weight("recurrent_kernel", (self.units, self.units * 2))
        self.bias = self.add_weight("bias", (self.units * 2,), initializer="zeros") if self.use_bias else None
        self.built = True

    def call(self, inputs, states):
        h, c = states
        x_f, x_c = tf.split(inputs @ self.kernel, 2, axis=1)
        if self.use_bias:
            b_f, b_c = tf.split(self.bias, 2)
            x_f, x_c = x_f + b_f, x_c + b_c
        f = self.recurrent_activation(x_f + h @ self.recurrent_kernel[:, : self.units])
        c_next = f * c + (1 - f) * self.activation(x_c + h @ self.recurrent_kernel[:, self.units :])
        h_next = self.activation(c_next)
        return h_next, [h_next, c_next]

    def get_config(self):
        return super().get_config() | {
            "units": self.units,
            "activation": activations.serialize(self.activation),
            "recurrent_activation": activations.serialize(self.recurrent_activation),
            "use_bias": self.use_bias,
        }


class SLSTMCellFromOne(SLSTMCell):
    """The same cell, started from h = 1 and c = 0."""

    def get_initial_state(self, inputs=None, batch_size=None, dtype=None):
        if inputs is not None:
            batch_size, dtype = tf.shape(inputs)[0], inputs.dtype
        return [tf.ones([batch_size, self.units], dtype), tf.zeros([batch_size, self.units], dtype)]


def partial_sums(cell):
    """`x_BT1 -> y_BT1` with the article's weights."""
    x = tf_keras.Input((None, 1), name="x")
    model = tf_keras.Model(x, tf_keras.layers.RNN(cell, return_sequences=True, name="partial_sum")(x))
    weights = ([[-0.79614836, 0.03041089]], [[0.08143749, 1.0668359]], [0.6330045, 1.0431471])
    model.set_weights([np.array(weight, "float32") for weight in weights])
    return model


MODELS = {
    "s_lstm": lambda: partial_sums(SLSTMCell(1, activation=None)),
    "s_lstm_from_one": lambda: partial_sums(SLSTMCellFromOne(1, activation=None)),
}

# The article's predictions, as it prints them.
PRINTED = {
    "s_lstm": """
        0.47944844,  0.96489847,  1.4559155 ,  1.9520411 ,  2.4527955 ,
        2.9576783 ,  3.466171  ,  3.9777386 ,  4.4918313 ,  5.007888  ,
        5.5253367 ,  6.0435996 ,  6.5620937 ,  7.0802336 ,  7.597435  ,
        8.113117  ,  8.626705  ,  9.13763   ,  9.645338  , 10.149284  ,
       10.648943  , 11.143805  , 11.633378  , 12.117197  , 12.594816  ,
       13.065814  , 13.529797  , 13.986397  , 14.435274  , 14.876117""",
}

if __name__ == "__main__":
    for name, build in MODELS.items():
        build().save(Path(*sys.argv[1:]) / f"{name}.keras")
