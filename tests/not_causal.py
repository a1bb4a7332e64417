"""Models that can't be streamed, in both Keras."""

from __future__ import annotations

from tests.streams import BATCH, FEATURES, STEPS, chain


def bidirectional(keras):
    layers = keras.layers
    return chain(keras, layers.Bidirectional(layers.GRU(4, return_sequences=True), name="both"))


def backwards(keras):
    return chain(keras, keras.layers.GRU(4, return_sequences=True, go_backwards=True, name="back"))


def pooling(keras):
    layers = keras.layers
    return chain(keras, layers.GRU(4, return_sequences=True), layers.GlobalAveragePooling1D(name="pool"))


def window(keras):
    layers = keras.layers
    return chain(keras, layers.MaxPooling1D(2, name="pool"), layers.GRU(4))


def attention(keras):
    layers = keras.layers
    x = keras.Input((None, FEATURES))
    h = layers.GRU(4, return_sequences=True)(x)
    return keras.Model(x, layers.Attention(name="attend")([h, h]))


def same(keras):
    layers = keras.layers
    return chain(keras, layers.Conv1D(4, 3, padding="same", name="conv"), layers.GRU(4))


def depthwise(keras):
    layers = keras.layers
    return chain(keras, layers.DepthwiseConv1D(3, padding="same", name="conv"), layers.GRU(4))


def strides(keras):
    layers = keras.layers
    return chain(keras, layers.Conv1D(4, 3, strides=2, padding="causal", name="conv"), layers.GRU(4))


def start_from_the_sequence(keras):
    layers = keras.layers
    x = keras.Input((None, FEATURES))
    start = layers.GRU(4, name="encoder")(x)
    return keras.Model(x, layers.GRU(4, return_sequences=True, name="memory")(x, initial_state=start))


def twice(keras):
    layer = keras.layers.GRU(FEATURES, return_sequences=True, name="memory")
    x = keras.Input((None, FEATURES))
    return keras.Model(x, layer(layer(x)))


def sum_over_time(keras):
    class Running(keras.layers.Layer):
        def call(self, x):
            import tensorflow as tf

            return tf.cumsum(x, axis=1)

    return chain(keras, keras.layers.GRU(4, return_sequences=True), Running(name="running"))


def looks_ahead(keras):
    class Ahead(keras.layers.Layer):
        def call(self, x):
            import tensorflow as tf

            return tf.concat([x[:, 1:], x[:, :1]], axis=1)

    return chain(keras, keras.layers.GRU(4, return_sequences=True), Ahead(name="ahead"))


def nothing(keras):
    return chain(keras, keras.layers.Dense(4))


def batch_mean(keras):
    class Centred(keras.layers.Layer):
        def call(self, x):
            import tensorflow as tf

            return x - tf.reduce_mean(x, axis=0, keepdims=True)

    return chain(keras, Centred(name="centred"), keras.layers.GRU(4, return_sequences=True))


def twice_as_long(keras):
    layers = keras.layers
    return chain(keras, layers.GRU(4, return_sequences=True), layers.UpSampling1D(2))


def far_delay(keras):
    layers = keras.layers
    delay = [layers.ZeroPadding1D((50, 0)), layers.Cropping1D((0, 50))]
    return chain(keras, *delay, layers.GRU(4, return_sequences=True))


def own_length(keras):
    class Weighted(keras.layers.Layer):
        def call(self, x):
            return x * (2.0 if x.shape[1] == STEPS else 1.0)

    return chain(keras, Weighted(name="weighted"), keras.layers.GRU(4, return_sequences=True), shape=(STEPS, FEATURES))


def two_fixed(keras):
    layers = keras.layers
    x, context = keras.Input((STEPS, FEATURES)), keras.Input((5, 2))
    return keras.Model([x, context], layers.Concatenate()([layers.GRU(4)(x), layers.GRU(3)(context)]))


def once_a_step(keras):
    class Walk(keras.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.inner = keras.layers.GRU(2, name="inner")

        def build(self, shape):
            self.inner.build((None, 1, FEATURES))
            super().build(shape)

        def call(self, x):
            import tensorflow as tf

            return tf.stack([self.inner(x[:, t : t + 1]) for t in range(x.shape[1])], axis=1)

        def compute_output_shape(self, shape):
            return (*shape[:2], 2)

    return chain(keras, keras.layers.GRU(FEATURES, return_sequences=True), Walk(), shape=(STEPS, FEATURES))


def stateful_elsewhere(keras):
    layers = keras.layers
    x = keras.Input(batch_shape=(BATCH, None, FEATURES))
    h = layers.RepeatVector(5)(layers.LSTM(4)(x))
    return keras.Model(x, layers.GRU(3, stateful=True, name="elsewhere")(h))


def folded(keras):
    """Each feature is a sequence of its own, to one layer that they share."""

    class Shared(keras.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.memory = keras.layers.GRU(2, return_sequences=True, name="memory")

        def build(self, shape):
            self.memory.build((None, None, 1))
            super().build(shape)

        def call(self, x):
            import tensorflow as tf

            size = tf.shape(x)
            folded = tf.reshape(tf.transpose(x, [0, 2, 1]), [size[0] * FEATURES, size[1], 1])
            return tf.reshape(self.memory(folded), [size[0], size[1], 2 * FEATURES])

        def compute_output_shape(self, shape):
            return (*shape[:2], 2 * FEATURES)

    return chain(keras, Shared(name="shared"))


NOT_CAUSAL = {
    "folded": folded,
    "far delay": far_delay,
    "own length": own_length,
    "two fixed": two_fixed,
    "once a step": once_a_step,
    "stateful elsewhere": stateful_elsewhere,
    "bidirectional": bidirectional,
    "backwards": backwards,
    "pooling": pooling,
    "window": window,
    "attention": attention,
    "same": same,
    "depthwise": depthwise,
    "strides": strides,
    "start from the sequence": start_from_the_sequence,
    "twice": twice,
    "sum over time": sum_over_time,
    "looks ahead": looks_ahead,
    "nothing": nothing,
    "batch mean": batch_mean,
    "twice as long": twice_as_long,
}
