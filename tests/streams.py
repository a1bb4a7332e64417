"""Models that can be streamed, in both Keras, with random weights."""

from __future__ import annotations

import importlib

import numpy as np

BATCH, STEPS, FEATURES = 2, 7, 3
# The lengths of chunks; each adds up to STEPS.
CHUNKINGS = ((1,) * STEPS, (STEPS,), (2, 4, 1), (3, 1, 3))
_SCALE = 0.8


def build(kind, api):
    """The model of that kind, made by that Keras, its weights random and none of them zero."""
    return with_random_weights(CAUSAL[kind](importlib.import_module(api)), len(kind))


def with_random_weights(model, seed):
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(-_SCALE, _SCALE, weight.shape) for weight in model.get_weights()])
    return model


def inputs_of(model, seed=5):
    """A batch of STEPS timesteps for each input; ids, or features with padding in every row."""
    rng = np.random.default_rng(seed)
    found = []
    for tensor in model.inputs:
        shape = (BATCH, STEPS, *tensor.shape[2:])
        if tensor.shape[1:] in ((2,), (3, 2)):
            found.append(rng.standard_normal((BATCH, *tensor.shape[1:])).astype("float32"))
            continue
        if tensor.shape[1:] == (1,):
            found.append(np.array([[25], [3]], "int32"))
            continue
        if len(shape) == 2:
            x = rng.integers(1, 6, shape).astype("float32")
        else:
            x = rng.standard_normal(shape).astype("float32")
        x[0, 3:5], x[1, :2], x[1, 6:] = 0, 0, 0
        found.append(x)
    return found


def chain(keras, *layers, shape=(None, FEATURES)):
    x = keras.Input(shape)
    y = x
    for layer in layers:
        y = layer(y)
    return keras.Model(x, y)


def recurrent(keras):
    layers = keras.layers
    return chain(
        keras,
        layers.LSTM(4, return_sequences=True),
        layers.GRU(5, return_sequences=True),
        layers.Dense(6, activation="tanh"),
    )


def last(keras):
    layers = keras.layers
    return chain(keras, layers.LSTM(4, return_sequences=True), layers.SimpleRNN(5), layers.Dense(2))


def padding(keras):
    layers = keras.layers
    return chain(
        keras,
        layers.Masking(),
        layers.GRU(5, return_sequences=True, name="memory"),
        layers.LSTM(4, return_sequences=True),
    )


def padded_ids(keras):
    layers = keras.layers
    return chain(keras, layers.Embedding(6, 4, mask_zero=True), layers.GRU(5), shape=(None,))


def zeroed(keras):
    layers = keras.layers
    return chain(
        keras, layers.Masking(), layers.RNN(layers.GRUCell(5), return_sequences=True, zero_output_for_mask=True)
    )


def stacked(keras):
    layers = keras.layers
    return chain(keras, layers.RNN([layers.LSTMCell(4), layers.GRUCell(5)], return_sequences=True))


def convolution(keras):
    layers = keras.layers
    conv = layers.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="tanh", name="history")
    return chain(keras, conv, layers.GRU(5, return_sequences=True, name="memory"))


def grouped_convolutions(keras):
    layers = keras.layers
    mix = layers.Dense(4, activation="tanh")
    each = layers.Conv1D(8, 3, padding="causal", groups=4, dilation_rate=2, activation="tanh", name="each")
    halves = layers.Conv1D(6, 2, padding="causal", groups=2, use_bias=False, name="halves")
    return chain(keras, mix, each, halves, layers.GRU(5, return_sequences=True, name="memory"))


def separable_convolution(keras):
    """Of Keras 3 there is no causal one."""
    layers = keras.layers
    kind = {"tf_keras": layers.SeparableConv1D, "keras": layers.Conv1D}[keras.__name__]
    conv = kind(4, 3, padding="causal", dilation_rate=2, activation="tanh", name="history")
    return chain(keras, conv, layers.GRU(5, return_sequences=True, name="memory"))


def convolutional(keras):
    return chain(keras, keras.layers.ConvLSTM1D(2, 3, return_sequences=True), shape=(None, 5, 2))


def fixed_length(keras):
    layers = keras.layers
    return chain(keras, layers.LSTM(4, return_sequences=True), layers.Dense(2), shape=(STEPS, FEATURES))


def nested(keras):
    layers = keras.layers
    inner = chain(keras, layers.GRU(4, return_sequences=True))
    return chain(keras, inner, layers.LSTM(2))


def two_outputs(keras):
    layers = keras.layers
    x = keras.Input((None, FEATURES))
    y, h, c = layers.LSTM(4, return_sequences=True, return_state=True)(x)
    return keras.Model(x, [layers.Dense(2)(y), h, layers.Dense(6)(c)])


def stateful(keras):
    layers = keras.layers
    x = keras.Input(batch_shape=(BATCH, None, FEATURES))
    return keras.Model(x, layers.LSTM(4, stateful=True, return_sequences=True)(x))


def own_start(keras):
    base = keras.layers.SimpleRNNCell

    class Started(base):
        def get_initial_state(self, *arguments, **named):
            zeros = super().get_initial_state(*arguments, **named)
            start = np.array([0.5, -1.0, 0.25, 2.0], "float32")
            return [zero + start for zero in zeros] if isinstance(zeros, list) else zeros + start

    return chain(keras, keras.layers.RNN(Started(4), return_sequences=True, name="memory"))


def start_from_the_inputs(keras):
    layers = keras.layers
    x, context = keras.Input((None, FEATURES), name="x"), keras.Input((2,), name="context")
    padded = layers.Masking()(x)
    start = [layers.Dense(4)(context), layers.Dense(4, activation="tanh")(context)]
    return keras.Model([x, context], layers.LSTM(4, return_sequences=True, name="memory")(padded, initial_state=start))


def fixed_context(keras):
    """The context is one sequence for all chunks: its length is fixed, while that of the stream is open."""
    layers = keras.layers
    x, context = keras.Input((None, FEATURES), name="x"), keras.Input((3, 2), name="context")
    code = layers.RepeatVector(1)(layers.GRU(4, name="reader")(context))
    return keras.Model([x, context], layers.Add()([layers.GRU(4, return_sequences=True, name="memory")(x), code]))


def positional_mask(keras):
    """A mask that no layer announces, passed by position where that can be."""

    class Masked(keras.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.memory = keras.layers.GRU(4, return_sequences=True, name="memory")

        def build(self, shape):
            self.memory.build(shape)
            super().build(shape)

        def call(self, x):
            import tensorflow as tf

            mask = tf.reduce_any(tf.not_equal(x, 0), axis=-1)
            return self.memory(x, None, mask) if keras.__name__ == "keras" else self.memory(x, mask=mask)

        def compute_output_shape(self, shape):
            return (*shape[:2], 4)

    return chain(keras, Masked(name="masked"))


def started_by_a_threshold(keras):
    """From values that small ids never reach."""

    class Start(keras.layers.Layer):
        def call(self, ids):
            import tensorflow as tf

            return tf.tile(tf.cast(ids > 20, "float32"), [1, 4])

    layers = keras.layers
    x, ids = keras.Input((None, FEATURES), name="x"), keras.Input((1,), dtype="int32", name="ids")
    y = layers.GRU(4, return_sequences=True, name="memory")(x, initial_state=Start(name="start")(ids))
    return keras.Model([x, ids], y)


def context_attended(keras):
    layers = keras.layers
    x, context = keras.Input((None, FEATURES), name="x"), keras.Input((3, 2), name="context")
    h = layers.GRU(4, return_sequences=True, name="memory")(x)
    return keras.Model([x, context], layers.MultiHeadAttention(2, 3, name="attend")(h, context))


CAUSAL = {
    "context attended": context_attended,
    "fixed context": fixed_context,
    "positional mask": positional_mask,
    "started by a threshold": started_by_a_threshold,
    "recurrent": recurrent,
    "last": last,
    "padding": padding,
    "padded ids": padded_ids,
    "zeroed": zeroed,
    "stacked": stacked,
    "convolution": convolution,
    "grouped convolutions": grouped_convolutions,
    "separable convolution": separable_convolution,
    "convolutional": convolutional,
    "fixed length": fixed_length,
    "nested": nested,
    "two outputs": two_outputs,
    "start from the inputs": start_from_the_inputs,
    "stateful": stateful,
    "own start": own_start,
}
