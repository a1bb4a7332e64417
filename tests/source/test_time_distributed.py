"""`TimeDistributed` over an open length and an open batch gives what eager Keras gives, without a loop where it can."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import rnnexport
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.signature import Boundary
from rnnexport.reference.stream_equivalence import streamed
from rnnexport.source.describe import describe
from rnnexport.source.eager import reference
from rnnexport.source.load import load_source
from rnnexport.source.trace import trace
from tests.in_turn import in_turn, of_one_keras
from tests.source.test_unrolling import loops
from tests.streams import chain, with_random_weights

APIS = ("keras", "tf_keras")
SIZES = ((2, 5), (4, 3), (3, 1))  # of batch and time, never the same


def over_the_batch(keras):
    import tensorflow as tf

    class Centred(keras.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.supports_masking = True

        def call(self, x):
            return tf.tanh(x) - tf.reduce_mean(x, 0, keepdims=True)

        def compute_output_shape(self, shape):
            return shape

    return Centred()


def of_each_row(keras):
    import tensorflow as tf

    class Scaled(keras.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.supports_masking = True

        def build(self, shape):
            self.scale = self.add_weight(shape=(shape[-1],), name="scale")
            self.built = True

        def call(self, x):
            return tf.tanh(x * self.scale) + 1

        def compute_mask(self, x, mask=None):
            return None if mask is None else tf.logical_not(mask)  # which neither Keras asks for in eager mode

        def compute_output_shape(self, shape):
            return shape

    return Scaled()


def wrapping(keras, kind):
    layers, wrap = keras.layers, keras.layers.TimeDistributed
    rows, image = (6, 3), (7, 6, 2)
    shape, made = {
        "dense": ((3,), lambda: [wrap(layers.Dense(4, activation="tanh"))]),
        "conv1d": (rows, lambda: [wrap(layers.Conv1D(4, 3)), wrap(layers.Flatten())]),
        "conv2d": (image, lambda: [wrap(layers.Conv2D(4, 3, padding="same")), wrap(layers.MaxPooling2D(2))]),
        "normalised": (image, lambda: [wrap(layers.BatchNormalization()), wrap(layers.GlobalAveragePooling2D())]),
        "lstm": (rows, lambda: [wrap(layers.LSTM(4, dropout=0.1))]),
        "open inside": ((None, 3), lambda: [wrap(layers.GRU(4, return_sequences=True))]),
        "both ways": (rows, lambda: [wrap(layers.Bidirectional(layers.GRU(4)))]),
        "masking": (rows, lambda: [wrap(layers.Masking()), wrap(layers.LSTM(4))]),
        "model": (rows, lambda: [wrap(chain(keras, layers.Masking(), layers.GRU(4), shape=rows))]),
        "nested": (image, lambda: [wrap(wrap(layers.Conv1D(4, 3)))]),
        "ids": ((6,), lambda: [wrap(layers.Embedding(5, 4)), wrap(layers.LSTM(3))]),
        "masked": ((3,), lambda: [layers.Masking(), wrap(layers.Dense(4)), layers.GRU(3, return_sequences=True)]),
        "own rows": (rows, lambda: [wrap(of_each_row(keras))]),
        "own rows, masked": ((3,), lambda: [layers.Masking(), wrap(of_each_row(keras)), layers.GRU(3)]),
        "own batch": (rows, lambda: [wrap(over_the_batch(keras))]),
        "own batch, masked": ((3,), lambda: [layers.Masking(), wrap(over_the_batch(keras)), layers.GRU(3)]),
    }[kind]
    return with_random_weights(chain(keras, *made(), shape=(None, *shape)), len(kind))


# Loops of the graph: those of recurrences, and those over time. A step that is masked tf_keras leaves out.
LOOPS = {
    **dict.fromkeys(("dense", "conv1d", "conv2d", "normalised", "nested", "own rows"), (0, 0)),
    **dict.fromkeys(("lstm", "open inside", "masking", "ids", "masked", "own batch"), (1, 1)),
    **dict.fromkeys(("both ways", "own batch, masked"), (2, 2)),
    "own rows, masked": (1, 2),
    "model": (1, 1),  # tf_keras runs a model again for the mask of its outputs, which nothing reads, and is cut
}


def feed_of(signature, batch, length):
    spec, rng = signature.inputs[0], np.random.default_rng(batch)
    x = rng.standard_normal((batch, length, *(size if isinstance(size, int) else 7 for size in spec.shape[2:])))
    x[0, -1], x[1, 0] = 0, 0
    return {spec.name: (np.abs(x) * 2 % 5).astype(int).astype(spec.dtype) if spec.high else x.astype(spec.dtype)}


@pytest.mark.parametrize(("kind", "api"), in_turn(LOOPS))
def test_each_step_of_each_sequence_gives_what_it_gives_in_eager_keras(api, kind):
    source = load_source(wrapping(importlib.import_module(api), kind), LoadOptions())
    signature = describe(source, Boundary())
    traced = trace(source, signature, unroll=False)
    for batch, length in SIZES:
        feed = feed_of(signature, batch, length)
        for name, wanted in reference(source, signature, feed).items():
            np.testing.assert_allclose(traced.run(feed)[name], wanted, atol=3e-6)
    assert loops(traced) == LOOPS[kind][APIS.index(api)]


@pytest.mark.parametrize("api", of_one_keras("tf_keras"))
@pytest.mark.parametrize("length", [4, None])
def test_states_inside_are_carried_from_step_to_step(api, length):
    keras = importlib.import_module(api)
    x = keras.Input((length, 6, 3), batch_size=2)
    model = keras.Model(x, keras.layers.TimeDistributed(keras.layers.LSTM(5, stateful=True, name="inner"))(x))
    source = load_source(with_random_weights(model, 3), LoadOptions())
    signature = describe(source, Boundary())
    states = {
        state.input.name: np.full(state.start(2).shape, 0.1 + at, "float32")
        for at, state in enumerate(signature.states)
    }
    traced = trace(source, signature, unroll=False)
    for steps in (4, *(() if length else (1, 5))):
        feed = feed_of(signature, 2, steps) | states
        found = traced.run(feed)
        for name, wanted in reference(source, signature, feed).items():
            np.testing.assert_allclose(found[name], wanted, atol=3e-6)


def frames(keras):
    layers, wrap = keras.layers, keras.layers.TimeDistributed
    shapes = [wrap(layers.Conv2D(4, 3, activation="tanh")), wrap(layers.MaxPooling2D(2)), wrap(layers.Flatten())]
    return with_random_weights(chain(keras, *shapes, layers.LSTM(3, return_sequences=True), shape=(None, 7, 6, 2)), 4)


@pytest.mark.parametrize("api", of_one_keras("keras"))
def test_a_video_model_of_an_open_length_is_exported(api, tmp_path):
    done = rnnexport.export(frames(importlib.import_module(api)), "onnx", tmp_path / "video.onnx")
    assert done.report.status == "passed"
    assert [one.chosen for one in done.lowering] == ["native"]


@pytest.mark.parametrize("api", of_one_keras("tf_keras"))
def test_a_video_model_is_streamed(api):
    source = load_source(frames(importlib.import_module(api)), LoadOptions())
    signature = describe(source, Boundary())
    feed = feed_of(signature, 2, 5)
    (wanted,) = reference(source, signature, feed).values()
    stream = streamed(source, None, lambda text: None)
    signature = describe(stream, Boundary())
    traced = trace(stream, signature, unroll=False)
    states = {state.input.name: state.start(2) for state in signature.states}
    ((name, x),) = feed.items()
    chunks = []
    for begin, end in ((0, 1), (1, 5)):
        found = traced.run({name: x[:, begin:end], **states})
        states = {state.input.name: found[state.output.name] for state in signature.states}
        chunks.append(found[signature.outputs[0].name])
    np.testing.assert_allclose(np.concatenate(chunks, 1), wanted, atol=3e-6)
