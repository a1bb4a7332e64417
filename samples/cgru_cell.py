"""A GRU cell written by hand, with the options of the built-in one (Keras 3).

The question this comes from asks whether its code is right. It was not:

1. `implementation=1` multiplied the state by the transposed input kernel, and the input by the recurrent kernel:
   `K.dot(h_tm1_z, K.transpose(self.kernel_z))`. That runs only where inputs and units are as many, and computes
   another cell than `implementation=2`. Here: input times kernel, state times recurrent kernel, in both.
2. `build` cut the kernels into gates and kept the pieces. In graph mode these were views; run eagerly, as Keras 3
   does, they are copies: training and loading weights change the kernel and leave the pieces as they were. Here the
   kernels are cut in `call`.
3. The dropout masks came from `_generate_dropout_mask`, a private function of another file, and were kept in the cell,
   so that run eagerly all batches share the first one's. Here one mask for all gates is drawn in each step of training;
   the original meant one for the whole sequence, and three of them for `implementation=1`.
4. With `recurrent_dropout`, `implementation=2` mixed the dropped state into the next one; here the whole state is.
5. The bias was flattened for a backend that is gone, `_uses_learning_phase` set for a Keras that is, and the identity
   initializer tiled for three gates, which is left out.

Equations (Chung et al. 2014, arXiv:1412.3555, with `z` the share of the new state), gates in the order z, r, h:

    z = recurrent_activation(x W_z + b_z + h U_z + c_z)
    r = recurrent_activation(x W_r + b_r + h U_r + c_r)
    n = activation(x W_h + b_h + (r * h) U_h)               reset_after=False, and no biases c
    n = activation(x W_h + b_h + r * (h U_h + c_h))         reset_after=True
    h' = (1 - z) * h + z * n

Run it to save its models:  python samples/cgru_cell.py FOLDER
"""

import sys
from pathlib import Path

import keras
import numpy as np
from keras import activations, constraints, initializers, ops, regularizers


class CGRUCell(keras.layers.Layer):
    """One step of the GRU above: `(x_BI, [h_BH]) -> (h_BH, [h_BH])`."""

    def __init__(
        self,
        units,
        activation="tanh",
        recurrent_activation="sigmoid",
        use_bias=True,
        kernel_initializer="glorot_uniform",
        recurrent_initializer="orthogonal",
        bias_initializer="zeros",
        kernel_regularizer=None,
        recurrent_regularizer=None,
        bias_regularizer=None,
        kernel_constraint=None,
        recurrent_constraint=None,
        bias_constraint=None,
        dropout=0.0,
        recurrent_dropout=0.0,
        implementation=2,
        reset_after=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units = units
        self.activation = activations.get(activation)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.recurrent_initializer = initializers.get(recurrent_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = regularizers.get(recurrent_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.recurrent_constraint = constraints.get(recurrent_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.dropout = min(1.0, max(0.0, dropout))
        self.recurrent_dropout = min(1.0, max(0.0, recurrent_dropout))
        self.implementation = implementation
        self.reset_after = reset_after
        self.state_size = units
        self.output_size = units
        self.seed_generator = keras.random.SeedGenerator()

    def build(self, input_shape):
        width = 3 * self.units
        self.kernel = self.add_weight(
            shape=(input_shape[-1], width),
            name="kernel",
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, width),
            name="recurrent_kernel",
            initializer=self.recurrent_initializer,
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
        )
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(2, width) if self.reset_after else (width,),
                name="bias",
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def call(self, inputs, states, training=False):
        h = states[0]
        if training:
            inputs = keras.random.dropout(inputs, self.dropout, seed=self.seed_generator)
            h = keras.random.dropout(h, self.recurrent_dropout, seed=self.seed_generator)
        step = self._gate_by_gate if self.implementation == 1 else self._gates_at_once
        z, n = step(inputs, h)
        h_next = (1 - z) * states[0] + z * n
        return h_next, [h_next]

    def _biases(self):
        """The biases b of the input and c of the state, each `[3H]` or 0."""
        if not self.use_bias:
            return ops.zeros(3 * self.units), ops.zeros(3 * self.units)
        if self.reset_after:
            return self.bias[0], self.bias[1]
        return ops.convert_to_tensor(self.bias), ops.zeros(3 * self.units)

    def _gate_by_gate(self, x, h):
        """implementation=1: one small product for each gate."""
        b, c = self._biases()
        w_z, w_r, w_h = ops.split(self.kernel, 3, axis=1)
        u_z, u_r, u_h = ops.split(self.recurrent_kernel, 3, axis=1)
        b_z, b_r, b_h = ops.split(b, 3)
        c_z, c_r, c_h = ops.split(c, 3)
        z = self.recurrent_activation(x @ w_z + b_z + h @ u_z + c_z)
        r = self.recurrent_activation(x @ w_r + b_r + h @ u_r + c_r)
        reset = r * (h @ u_h + c_h) if self.reset_after else (r * h) @ u_h
        return z, self.activation(x @ w_h + b_h + reset)

    def _gates_at_once(self, x, h):
        """implementation=2: one product for all gates, then cut."""
        b, c = self._biases()
        x_z, x_r, x_h = ops.split(x @ self.kernel + b, 3, axis=1)
        if self.reset_after:
            h_z, h_r, h_h = ops.split(h @ self.recurrent_kernel + c, 3, axis=1)
        else:
            h_z, h_r = ops.split(h @ self.recurrent_kernel[:, : 2 * self.units], 2, axis=1)
        z = self.recurrent_activation(x_z + h_z)
        r = self.recurrent_activation(x_r + h_r)
        reset = r * h_h if self.reset_after else (r * h) @ self.recurrent_kernel[:, 2 * self.units :]
        return z, self.activation(x_h + reset)

    def get_config(self):
        return super().get_config() | {
            "units": self.units,
            "activation": activations.serialize(self.activation),
            "recurrent_activation": activations.serialize(self.recurrent_activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "recurrent_initializer": initializers.serialize(self.recurrent_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "recurrent_regularizer": regularizers.serialize(self.recurrent_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": constraints.serialize(self.kernel_constraint),
            "recurrent_constraint": constraints.serialize(self.recurrent_constraint),
            "bias_constraint": constraints.serialize(self.bias_constraint),
            "dropout": self.dropout,
            "recurrent_dropout": self.recurrent_dropout,
            "implementation": self.implementation,
            "reset_after": self.reset_after,
        }


def with_random_weights(model, seed):
    """Distinct weights and non-zero biases, as a trained model has them."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "seed" not in weight.path:
            weight.assign(rng.uniform(-0.6, 0.6, weight.shape))
    return model


def cgru(implementation, reset_after, **options):
    """Sequences of 5 features through the cell with 7 units, to 3 values at each timestep."""
    x = keras.Input((None, 5), name="features")
    cell = CGRUCell(7, implementation=implementation, reset_after=reset_after, **options)
    y = keras.layers.RNN(cell, return_sequences=True, name="cgru")(x)
    model = keras.Model(x, keras.layers.Dense(3, name="readout")(y))
    return with_random_weights(model, seed=10 * implementation + reset_after)


MODELS = {
    "cgru_split_reset_before": lambda: cgru(1, False),
    "cgru_split_reset_after": lambda: cgru(1, True),
    "cgru_fused_reset_before": lambda: cgru(2, False, dropout=0.2, recurrent_dropout=0.1),
    "cgru_fused_reset_after": lambda: cgru(2, True, kernel_regularizer="l2", recurrent_activation="hard_sigmoid"),
    "cgru_no_bias": lambda: cgru(2, False, use_bias=False, recurrent_constraint="max_norm", activation="softsign"),
}

if __name__ == "__main__":
    for name, build in MODELS.items():
        build().save(Path(*sys.argv[1:]) / f"{name}.keras")
