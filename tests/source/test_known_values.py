"""What keras.ops makes of lengths and ranks while a graph is traced: the values are those of eager Keras."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import rnnexport
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.signature import Boundary
from rnnexport.source.describe import describe
from rnnexport.source.eager import reference
from rnnexport.source.load import load_source
from rnnexport.source.trace import trace

STEPS = 6


def combined(one, other):
    return other[0] * one[0], other[0] * one[1] + other[1]


def scanned(reverse):
    """H[t] = a[t] * h[t - 1] + x[t] with a recurrence behind it, over an open length."""
    x = keras.Input((None, 4), name="x")
    y = keras.layers.Dense(3, activation="tanh", bias_initializer="glorot_normal")(x)
    h = keras.ops.associative_scan(combined, (keras.ops.sigmoid(y), y), axis=1, reverse=reverse)[1]
    return keras.Model(x, keras.layers.GRU(5, return_sequences=True)(h))


@pytest.mark.parametrize("reverse", [False, True])
def test_an_associative_scan_over_an_open_length(reverse):
    source = load_source(scanned(reverse), LoadOptions())
    signature = describe(source, Boundary())
    traced = trace(source, signature, unroll=False)
    for rows, steps in ((2, 1), (3, 2), (2, 7), (3, 8), (2, 13)):
        feed = {"x": np.random.default_rng(steps).standard_normal((rows, steps, 4)).astype("float32")}
        for name, wanted in reference(source, signature, feed).items():
            np.testing.assert_allclose(traced.run(feed)[name], wanted, atol=3e-6)


@pytest.mark.parametrize("to", ["onnx", pytest.param("numpy", marks=pytest.mark.long)])
def test_it_is_exported(to, tmp_path):
    assert (
        rnnexport.export(scanned(False), to, tmp_path / f"m{'.onnx' if to == 'onnx' else '.py'}").report.status
        == "passed"
    )


def spectrogram(shared):
    """With the filter bank of Keras, or that of TensorFlow in a layer of its own."""

    class Mel(keras.layers.Layer):
        def call(self, x):
            import tensorflow as tf

            bank = tf.signal.linear_to_mel_weight_matrix(5, 9, 100, 1.0, 40.0)
            return tf.abs(tf.signal.stft(x, 16, 8)) @ bank

    options = {"num_mel_bins": 5, "sampling_rate": 100, "min_freq": 1.0, "max_freq": 40.0}
    of_keras = keras.layers.MelSpectrogram(16, 8, 16, **options)
    x = keras.Input((None,), name="x")
    return keras.Model(x, keras.layers.Dense(3)(Mel()(x) if shared else keras.ops.swapaxes(of_keras(x), 1, 2)))


@pytest.mark.parametrize("shared", [True, pytest.param(False, marks=pytest.mark.long)])
def test_filter_banks_are_those_of_the_model(shared, tmp_path):
    assert rnnexport.export(spectrogram(shared), "numpy", tmp_path / "m.py").report.status == "passed"


def test_the_branch_that_fits_the_known_shapes_is_traced():
    """`inner` of Keras multiplies element by element in the other one, which shapes that are known forbid."""
    x = keras.Input((STEPS, 4), name="x")
    rows = np.random.default_rng(1).standard_normal((5, 4)).astype("float32")
    source = load_source(keras.Model(x, keras.ops.inner(keras.layers.Dense(4)(x), rows)), LoadOptions())
    signature = describe(source, Boundary())
    feed = {"x": np.random.default_rng(2).standard_normal((3, STEPS, 4)).astype("float32")}
    found = trace(source, signature, unroll=True).run(feed)
    for name, wanted in reference(source, signature, feed).items():
        np.testing.assert_allclose(found[name], wanted, atol=3e-6)


class Loss(keras.layers.Layer):
    """That of CTC: rows of two labels, the same one twice among them, of one and of none; of steps that are padding."""

    def call(self, x_BTL):
        labels_BL = keras.ops.cast(keras.ops.abs(x_BTL[:, 0, :2]) * 2, "int32") % 3 + 1
        lengths_B = keras.ops.cast(keras.ops.abs(x_BTL[:, 1, 0]) * 4, "int32")
        steps = keras.ops.shape(x_BTL)[1]
        return keras.ops.ctc_loss(labels_BL, x_BTL, lengths_B % 3, steps - lengths_B % 2)


@pytest.mark.parametrize(("steps", "unroll"), [(None, False), (STEPS, True)])
def test_the_loss_of_ctc_is_a_loop(steps, unroll):
    x = keras.Input((steps, 4), name="x")
    model = keras.Model(x, Loss()(keras.layers.GRU(5, return_sequences=True)(x)))
    source = load_source(model, LoadOptions())
    signature = describe(source, Boundary())
    traced = trace(source, signature, unroll=unroll)
    feed = {"x": np.random.default_rng(4).standard_normal((33, STEPS, 4)).astype("float32")}
    (wanted,) = reference(source, signature, feed).values()
    (found,) = traced.run(feed).values()
    np.testing.assert_allclose(found, wanted, rtol=2e-6)
    assert np.isfinite(wanted).all()
