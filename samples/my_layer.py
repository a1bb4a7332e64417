"""The two `MyLayer` of the Keras 1 documentation on writing layers: one input and output, and several (Keras 3).

Both have one name in the original; a file can define a name once, so the second is `MyLayers` here.

Run it to save its models:  python samples/my_layer.py FOLDER
"""

import sys
from pathlib import Path

import keras
import numpy as np
from keras import ops


class MyLayer(keras.layers.Layer):
    """`x_BI -> x W`, with `W_IO`."""

    def __init__(self, output_dim, **kwargs):
        super().__init__(**kwargs)
        self.output_dim = output_dim

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel", shape=(input_shape[1], self.output_dim), initializer="uniform", trainable=True
        )

    def call(self, x):
        return ops.dot(x, self.kernel)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.output_dim)

    def get_config(self):
        return super().get_config() | {"output_dim": self.output_dim}


class MyLayers(keras.layers.Layer):
    """`[a_BI, b_BO] -> [a W + b, mean of b over its last axis]`, with `W_IO`."""

    def __init__(self, output_dim, **kwargs):
        super().__init__(**kwargs)
        self.output_dim = output_dim

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel", shape=(input_shape[0][1], self.output_dim), initializer="uniform", trainable=True
        )

    def call(self, x):
        a, b = x
        return [ops.dot(a, self.kernel) + b, ops.mean(b, axis=-1)]

    def compute_output_shape(self, input_shape):
        shape_a, shape_b = input_shape
        return [(shape_a[0], self.output_dim), shape_b[:-1]]

    def get_config(self):
        return super().get_config() | {"output_dim": self.output_dim}


def with_random_weights(model, seed):
    """Distinct weights, as a trained model has them."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(rng.uniform(-0.8, 0.8, weight.shape))
    return model


def my_layer():
    """Rows of 5 to rows of 4."""
    x = keras.Input((5,), name="x")
    return with_random_weights(keras.Model(x, MyLayer(4, name="projection")(x)), seed=5)


def my_layers():
    """Rows a of 5 and b of 4 to rows of 4 and the means of b."""
    a, b = keras.Input((5,), name="a"), keras.Input((4,), name="b")
    return with_random_weights(keras.Model([a, b], MyLayers(4, name="sum_and_mean")([a, b])), seed=6)


MODELS = {"my_layer": my_layer, "my_layers": my_layers}

if __name__ == "__main__":
    for name, build in MODELS.items():
        build().save(Path(*sys.argv[1:]) / f"{name}.keras")
