"""A layer that a file unrolls is traced as the loop that it is, where that computes what unrolled eager Keras does."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from rnnexport.core.load_options import LoadOptions
from rnnexport.core.signature import Boundary
from rnnexport.reference.stream_equivalence import streamed
from rnnexport.source.describe import describe
from rnnexport.source.eager import reference
from rnnexport.source.load import load_source
from rnnexport.source.trace import trace
from tests.in_turn import in_turn, of_one_keras
from tests.streams import chain, with_random_weights

APIS = ("keras", "tf_keras")
T, FEATURES, BATCH = 5, 3, 4


def minimal_gated_cell(keras):
    import tensorflow as tf

    class Minimal(keras.layers.Layer):
        state_size = output_size = 4

        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1] + 4, 8), name="kernel")
            self.built = True

        def call(self, x, states):
            (h,) = states
            gate, new = tf.split(tf.matmul(tf.concat([x, h], 1), self.kernel), 2, axis=1)
            h = h + tf.sigmoid(gate) * (tf.tanh(new) - h)
            return h, [h]

    return Minimal()


def remembering_cell(keras):
    """Its state is wider after every step, so that it runs unrolled alone."""
    import tensorflow as tf

    class Remembering(keras.layers.Layer):
        state_size = output_size = 1

        def call(self, x, states):
            seen = tf.concat([states[0], tf.reduce_sum(x, 1, keepdims=True)], 1)
            return tf.reduce_max(tf.tanh(seen), 1, keepdims=True), [seen]

    return Remembering()


def unrolled(keras, kind):
    layers, options = keras.layers, {"unroll": True, "return_sequences": True}
    shape, made = {
        "lstm": ((T, FEATURES), lambda: [layers.LSTM(4, **options)]),
        "gru": ((T, FEATURES), lambda: [layers.GRU(4, **options), layers.SimpleRNN(2, unroll=True)]),
        "one step": ((1, FEATURES), lambda: [layers.GRU(4, **options)]),
        "cell": ((T, FEATURES), lambda: [layers.RNN(minimal_gated_cell(keras), **options)]),
        "backwards": ((T, FEATURES), lambda: [layers.LSTM(4, go_backwards=True, **options)]),
        "both ways": ((T, FEATURES), lambda: [layers.Bidirectional(layers.GRU(4, **options))]),
        "masked": ((T, FEATURES), lambda: [layers.Masking(), layers.LSTM(4, **options)]),
        "masked both ways": ((T, FEATURES), lambda: [layers.Masking(), layers.Bidirectional(layers.GRU(4, **options))]),
        "in time": ((2, T, FEATURES), lambda: [layers.TimeDistributed(layers.LSTM(4, unroll=True))]),
        "convolutional": ((T, 6, 2), lambda: [layers.ConvLSTM1D(2, 3, unroll=True)]),
        "remembering": ((T, FEATURES), lambda: [layers.RNN(remembering_cell(keras), unroll=True)]),
    }[kind]
    return with_random_weights(chain(keras, *made(), shape=shape), len(kind))


def feed_of(signature):
    x = np.random.default_rng(3).standard_normal((BATCH, *signature.inputs[0].shape[1:])).astype("float32")
    if x.shape[1] == T:
        x[0, 3:], x[1, :2], x[2, 1:3] = 0, 0, 0
    return {signature.inputs[0].name: x}


def loops(traced):
    graph = traced.function.graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return sum(node.op in ("While", "StatelessWhile") for node in nodes)


LOOPS = {"gru": 2, "both ways": 2, "in time": None, "masked both ways": 2, "remembering": 0}
KINDS = (*LOOPS, "lstm", "one step", "cell", "backwards", "masked", "convolutional")


@pytest.mark.parametrize(
    ("kind", "api"),
    # The ConvLSTM layers of tf_keras can't be unrolled.
    [*in_turn(kind for kind in KINDS if kind != "convolutional"), ("convolutional", "keras")],
)
def test_what_a_file_unrolls_is_traced_as_a_loop_and_gives_what_eager_keras_gives(kind, api):
    source = load_source(unrolled(importlib.import_module(api), kind), LoadOptions())
    signature = describe(source, Boundary())
    traced = trace(source, signature, unroll=False)
    feed = feed_of(signature)
    for name, wanted in reference(source, signature, feed).items():
        np.testing.assert_allclose(traced.run(feed)[name], wanted, atol=2e-6)
    if (wanted := LOOPS.get(kind, 1)) is not None:
        assert loops(traced) == wanted


@pytest.mark.parametrize("api", of_one_keras("tf_keras"))
def test_of_a_masked_layer_both_ways_the_values_of_keras_are_kept_unrolled_too(api):
    """Unrolled, Keras zeroes what the mask says of the sequence the other way round: the file's values all the same."""
    source = load_source(unrolled(importlib.import_module(api), "masked both ways"), LoadOptions())
    signature = describe(source, Boundary())
    feed = feed_of(signature)
    found = trace(source, signature, unroll=True).run(feed)
    for name, wanted in reference(source, signature, feed).items():
        np.testing.assert_allclose(found[name], wanted, atol=2e-6)


@pytest.mark.parametrize("api", of_one_keras("keras"))
def test_a_model_that_is_unrolled_can_be_streamed(api):
    source = load_source(unrolled(importlib.import_module(api), "lstm"), LoadOptions())
    signature = describe(source, Boundary())
    (wanted,) = reference(source, signature, feed := feed_of(signature)).values()
    stream = streamed(source, None, lambda text: None)
    chunk_signature = describe(stream, Boundary())
    traced = trace(stream, chunk_signature, unroll=False)
    states = {state.input.name: state.start(BATCH) for state in chunk_signature.states}
    ((name, x),) = feed.items()
    chunks = []
    for begin, end in ((0, 2), (2, T)):
        found = traced.run({name: x[:, begin:end], **states})
        states = {state.input.name: found[state.output.name] for state in chunk_signature.states}
        chunks.append(found[chunk_signature.outputs[0].name])
    np.testing.assert_allclose(np.concatenate(chunks, 1), wanted, atol=2e-6)
