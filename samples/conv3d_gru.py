"""A 3-D convolutional GRU over a sequence of feature vectors, as in 3D-R2N2 (Choy et al. 2016), in Keras 3.

The state is a grid of n x n x n voxels with C channels. Each gate adds a fully connected layer on the features to a
3-D convolution of the state. The original is a loop of TensorFlow 1 code (`fcconv3d_layer`, `recurrence`,
`build_3dgru`) that made new layers in every step inside a `Lambda`; here it is a cell, run by `RNN` over time, and so
its weights are shared over time, can be trained, saved and loaded. Also put right:

- `build_3dgru` took the batch size from the axis of time and looped over the axis of features.
- `recurrence` computed the candidate twice, with two sets of weights, and used one.

Equations, with FC = ReLU(Dense) and CONV = LeakyReLU(BatchNorm(Conv3D)), each gate with its own:

    u = sigmoid(FC_u(x) + CONV_u(h))        update
    r = sigmoid(FC_r(x) + CONV_r(h))        reset
    n = tanh(FC_n(x) + CONV_n(r * h))       candidate
    h' = (1 - u) * h + u * n

Run it to save its model:  python samples/conv3d_gru.py FOLDER
"""

import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops


class FCConv3D(layers.Layer):
    """One gate before its activation: `(h_BnnnC, x_BF) -> BnnnC`."""

    def __init__(self, filters, grid, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.grid = grid
        self.fc = layers.Dense(grid**3 * filters, activation="relu", name="fc")
        self.to_grid = layers.Reshape((grid, grid, grid, filters))
        self.conv = layers.Conv3D(filters, kernel_size=3, padding="same", name="conv")
        self.norm = layers.BatchNormalization(name="norm")
        self.leaky = layers.LeakyReLU()

    def build(self, state_shape, features_shape):
        self.fc.build(features_shape)
        self.conv.build(state_shape)
        self.norm.build(state_shape)

    def call(self, state, features, training=False):
        from_state = self.leaky(self.norm(self.conv(state), training=training))
        return self.to_grid(self.fc(features)) + from_state

    def get_config(self):
        return super().get_config() | {"filters": self.filters, "grid": self.grid}


class Conv3DGRUCell(layers.Layer):
    """One step: `(x_BF, [h_BnnnC]) -> (h_BnnnC, [h_BnnnC])`."""

    def __init__(self, filters, grid, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.grid = grid
        self.state_size = filters  # Keras 3 wants an integer; `get_initial_state` gives the whole shape
        self.update = FCConv3D(filters, grid, name="update")
        self.reset = FCConv3D(filters, grid, name="reset")
        self.candidate = FCConv3D(filters, grid, name="candidate")

    def build(self, input_shape):
        state_shape = (input_shape[0], self.grid, self.grid, self.grid, self.filters)
        for gate in (self.update, self.reset, self.candidate):
            gate.build(state_shape, input_shape)

    def get_initial_state(self, batch_size=None):
        return [ops.zeros((batch_size, self.grid, self.grid, self.grid, self.filters), dtype=self.compute_dtype)]

    def call(self, inputs, states, training=False):
        (h,) = states
        u = ops.sigmoid(self.update(h, inputs, training=training))
        r = ops.sigmoid(self.reset(h, inputs, training=training))
        n = ops.tanh(self.candidate(r * h, inputs, training=training))
        h_next = (1 - u) * h + u * n
        return h_next, [h_next]

    def get_config(self):
        return super().get_config() | {"filters": self.filters, "grid": self.grid}


def with_random_weights(model, seed):
    """Distinct weights and non-zero biases, as a trained model has them; variances above 0."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        low = 0.3 if "variance" in weight.path else -0.4
        weight.assign(rng.uniform(low, 0.5, weight.shape))
    return model


def conv3d_gru():
    """Sequences of 6 features to the last grid of 4 x 4 x 4 voxels with 3 channels."""
    x = keras.Input((None, 6), name="features")
    h = layers.RNN(Conv3DGRUCell(filters=3, grid=4), name="voxels")(x)
    return with_random_weights(keras.Model(x, h), seed=3)


MODELS = {"conv3d_gru": conv3d_gru}

if __name__ == "__main__":
    for name, build in MODELS.items():
        build().save(Path(*sys.argv[1:]) / f"{name}.keras")
