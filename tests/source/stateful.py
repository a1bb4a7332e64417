"""Models with stateful layers of every kind, in both Keras, and the states that their artifacts must have."""

from __future__ import annotations

import importlib

import numpy as np
import tensorflow as tf

BATCH, FEATURES = 2, 3
START = {"h": 0.5, "c": -0.25}
_SCALE = 0.8


def chain(keras, *layers, shape=(None, FEATURES)):
    x = keras.Input(batch_shape=(BATCH, *shape), name="x")
    y = x
    for layer in layers:
        y = layer(y)
    return keras.Model(x, y)


def remembering(cell, keras, **options):
    return keras.layers.RNN(cell, stateful=True, return_sequences=True, name="memory", **options)


def cell_of(keras, sizes, output, shapes, step, start):
    """A cell with weights of these shapes: `step(x, states, *weights)` gives the output and the next states."""

    class Cell(keras.layers.Layer):
        state_size = sizes
        output_size = output

        def build(self, shape):
            self.weight = [self.add_weight(name=f"w{at}", shape=size) for at, size in enumerate(shapes)]
            self.built = True

        def call(self, x, states):
            return step(x, states, *self.weight)

        def get_initial_state(self, inputs=None, batch_size=None, dtype=None):
            return start(batch_size)

    return Cell()


def nested_cell(keras):
    def step(x, states, w, u, v, b):
        (h3, h4), h5 = states
        y = tf.tanh(x @ w + h4 @ v + 0.5 * h5 + b)
        return y, [[tf.tanh(y @ u + 0.3 * h3), tf.sigmoid(h4 - 1.0) * y[:, :4]], y * 0.7]

    def start(rows):
        return [[tf.fill((rows, 3), 0.5), tf.ones((rows, 1)) * [[0.1, 0.2, 0.3, 0.4]]], tf.fill((rows, 5), -1.5)]

    return cell_of(keras, [[3, 4], 5], 5, [(FEATURES, 5), (5, 3), (4, 5), (5,)], step, start)


def dict_cell(keras):
    def step(x, states, w, u, v):
        ((h, c),) = ((state["h"], state["c"]) for state in states)
        y = tf.tanh(x @ w + c @ u + 0.2 * h)
        return y, [{"h": y * 0.9, "c": 0.5 * c + tf.sigmoid(h @ v)}]

    def start(rows):
        return [{"h": tf.fill((rows, 5), START["h"]), "c": tf.fill((rows, 4), START["c"])}]

    return cell_of(keras, [{"h": 5, "c": 4}], 5, [(FEATURES, 5), (4, 5), (5, 4)], step, start)


def matrix_cell(keras):
    def step(x, states, w, u, v):
        m, h = states
        m = tf.tanh(tf.reshape(x @ w, (-1, 5, 4)) + tf.einsum("bij,jk->bik", m, u) + 0.1 * m[:, ::-1])
        h = tf.tanh(tf.reshape(m, (-1, 20)) @ v + 0.4 * h)
        return h, [m, h]

    shape = (5, 4) if keras.__name__ == "keras" else tf.TensorShape([5, 4])
    weights = [(FEATURES, 20), (4, 4), (20, 3)]
    return cell_of(keras, [shape, 3], 3, weights, step, lambda rows: [tf.zeros((rows, 5, 4)), tf.ones((rows, 3))])


def counting_cell(keras):
    """Both Keras count in floats during a call, where a step is 1.5; tf_keras keeps an integer from call to call."""

    def step(x, states, w, u):
        h, n = states
        h = tf.tanh(x @ w + h @ u) / (1 + 0.1 * tf.cast(n, "float32"))
        return h, [h, n + tf.cast(1.5, n.dtype)]

    def start(rows):
        return [tf.zeros((rows, 4)), tf.fill((rows, 1), 2)]

    return cell_of(keras, [4, 1], 4, [(FEATURES, 4), (4, 4)], step, start)


def bidirectional(keras):
    layers = keras.layers
    back = layers.SimpleRNN(4, stateful=True, return_sequences=True, go_backwards=True, name="back")
    ahead = layers.LSTM(4, stateful=True, return_sequences=True, name="ahead")
    return chain(keras, layers.Masking(), layers.Bidirectional(ahead, backward_layer=back, merge_mode="sum"))


def nested_models(keras):
    layers = keras.layers
    inner = chain(keras, layers.GRU(4, stateful=True, return_sequences=True, name="memory"))
    second = keras.Sequential([layers.LSTM(5, stateful=True, return_sequences=True, name="memory"), layers.Dense(2)])
    return chain(keras, inner, second, layers.SimpleRNN(6, stateful=True, name="memory"))


def subclassed(keras):
    class Holder(keras.Model):
        def __init__(self):
            super().__init__()
            self.memory = keras.layers.GRU(4, stateful=True, return_sequences=True, name="memory")
            self.never = keras.layers.GRU(5, stateful=True, name="never")

        def build(self, shape):
            self.memory.build(shape)
            self.built = True

        def call(self, x):
            return self.memory(x)

    model = Holder()
    model(np.zeros((BATCH, 5, FEATURES), "float32"))
    return model


def inside_a_layer(keras):
    class Block(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.parts = [remembering(nested_cell(keras), keras)]

        def build(self, shape):
            self.parts[0].build(shape)
            self.built = True

        def call(self, x):
            return self.parts[0](x) * 2.0

        def compute_output_shape(self, shape):
            return (*shape[:2], 5)

    return chain(keras, Block())


def shared(keras):
    layer = keras.layers.GRU(FEATURES, stateful=True, return_sequences=True, name="memory")
    return chain(keras, layer, keras.layers.Dense(FEATURES), layer)


def returned(keras):
    x = keras.Input(batch_shape=(BATCH, None, FEATURES), name="x")
    y, *states = remembering(nested_cell(keras), keras, return_state=True)(x)
    return keras.Model(x, [y, *tf.nest.flatten(states)])


def alike(keras):
    layers = keras.layers
    names = ("my-memory", "my_memory")
    return chain(keras, *(layers.GRU(5 - at, stateful=True, return_sequences=True, name=names[at]) for at in (0, 1)))


# The model, and the states that it must have: name without its prefix, shape without the batch, initial value.
ZEROS = 0.0
FOUR = [0.1, 0.2, 0.3, 0.4]
NESTED = [("memory_00", (3,), 0.5), ("memory_01", (4,), FOUR), ("memory_02", (5,), -1.5)]
KINDS = {
    "nested states": (lambda keras: chain(keras, remembering(nested_cell(keras), keras)), NESTED),
    "states in a dict": (
        lambda keras: chain(keras, remembering(dict_cell(keras), keras)),
        [("memory_00", (4,), START["c"]), ("memory_01", (5,), START["h"])],
    ),
    "a state of rank 3": (
        lambda keras: chain(keras, remembering(matrix_cell(keras), keras)),
        [("memory_00", (5, 4), ZEROS), ("memory_01", (3,), 1.0)],
    ),
    "a counter": (
        lambda keras: chain(keras, remembering(counting_cell(keras), keras)),
        [("memory_00", (4,), ZEROS), ("memory_01", (1,), 2)],
    ),
    "stacked": (
        lambda keras: chain(keras, remembering([nested_cell(keras), keras.layers.LSTMCell(4)], keras)),
        [*NESTED, ("memory_03", (4,), ZEROS), ("memory_04", (4,), ZEROS)],
    ),
    "behind a mask": (
        lambda keras: chain(keras, keras.layers.Masking(), remembering(nested_cell(keras), keras)),
        NESTED,
    ),
    "subclassed": (subclassed, [("memory_00", (4,), ZEROS)]),
    "inside a layer": (inside_a_layer, NESTED),
    "nested models": (nested_models, [(f"memory_{at:02d}", (size,), ZEROS) for at, size in enumerate((4, 5, 5, 6))]),
    "shared": (shared, [("memory_00", (FEATURES,), ZEROS)]),
    "returned": (returned, NESTED),
    "names alike": (alike, [("my-memory_00", (5,), ZEROS), ("my_memory_01", (4,), ZEROS)]),
    "ConvLSTM1D": (
        lambda keras: chain(
            keras,
            keras.layers.ConvLSTM1D(4, 3, stateful=True, return_sequences=True, padding="same", name="memory"),
            shape=(None, 5, FEATURES),
        ),
        [("memory_00", (5, 4), ZEROS), ("memory_01", (5, 4), ZEROS)],
    ),
    "ConvLSTM2D": (
        lambda keras: chain(
            keras,
            keras.layers.ConvLSTM2D(2, (2, 3), stateful=True, return_sequences=True, strides=(2, 1), name="memory"),
            shape=(None, 7, 6, FEATURES),
        ),
        [("memory_00", (3, 4, 2), ZEROS), ("memory_01", (3, 4, 2), ZEROS)],
    ),
    "bidirectional": (bidirectional, None),
}
NOT_CAUSAL = {"bidirectional", "shared"}


def build(kind, api):
    """The model of that kind, made by that Keras, its weights random, its states fresh."""
    model = KINDS[kind][0](importlib.import_module(api))
    rng = np.random.default_rng(len(kind))
    for weight in model.trainable_weights:
        weight.assign(rng.uniform(-_SCALE, _SCALE, weight.shape))
    return model


def chunks(kind, lengths, seed=1):
    rng = np.random.default_rng(seed)
    sizes = {"ConvLSTM1D": (5, FEATURES), "ConvLSTM2D": (7, 6, FEATURES)}.get(kind, (FEATURES,))
    found = [rng.standard_normal((BATCH, length, *sizes)).astype("float32") for length in lengths]
    for x in found[1:]:
        x[0, -1], x[1, 0] = 0, 0  # padding, where there is a mask
    return found
