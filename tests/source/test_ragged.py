"""Inputs that are no dense tensors: ragged ones are refused by name, sparse ones are dense tensors with zeros."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

import rnnexport
from rnnexport.core.errors import ConversionError

pytestmark = pytest.mark.xdist_group("subclassed")
APIS = ["keras", "tf_keras"]
RNG = np.random.default_rng(5)


def ragged_model(k):
    """Both Kerases average each row over its own length."""
    x = k.Input((None, 3), ragged=True, name="words")
    return k.Model(x, k.layers.GlobalAveragePooling1D()(x), name="ragged")


def ragged_ids(k):
    x = k.Input((None,), ragged=True, dtype="int32", name="words")
    return k.Model(x, k.layers.LSTM(4)(k.layers.Embedding(9, 3)(x)), name="ragged")


def ragged_sequential(k):
    return k.Sequential([k.layers.InputLayer((None, 3), ragged=True, name="words"), k.layers.LSTM(4)], name="ragged")


def refused(model, folder):
    with pytest.raises(ConversionError, match=r"input \w+ of \w+ is ragged; expected rows of one length") as refusal:
        rnnexport.export(model, "onnx", folder / "model.onnx")
    assert not (folder / "model.onnx").exists()
    return refusal.value.found


@pytest.mark.parametrize("name", APIS)
def test_a_ragged_input_is_refused_live_and_in_a_file(name, tmp_path):
    k = pytest.importorskip(name)
    model = ragged_model(k)
    assert refused(model, tmp_path) == "input words of ragged is ragged"
    files = [tmp_path / "saved.keras"] + ([tmp_path / "saved.h5"] if name == "tf_keras" else [])
    for file in files:
        model.save(file)
        assert refused(file, tmp_path) == "input words of saved is ragged"


@pytest.mark.parametrize("make", [ragged_ids, ragged_sequential])
def test_ragged_ids_and_sequential_models_are_refused(make, tmp_path):
    assert refused(make(pytest.importorskip("tf_keras")), tmp_path) == "input words of ragged is ragged"


def test_a_subclassed_model_that_was_called_with_a_ragged_tensor_is_refused(tmp_path):
    k = pytest.importorskip("tf_keras")

    class Mean(k.Model):
        def call(self, x):
            return tf.reduce_mean(x, axis=1)

    model = Mean(name="mean")
    model(tf.ragged.constant([[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]]], ragged_rank=1))
    assert refused(model, tmp_path) == "input inputs of mean is ragged"


@pytest.mark.parametrize("name", APIS)
def test_a_sparse_input_takes_the_same_values_with_their_zeros(name, tmp_path):
    k = pytest.importorskip(name)
    x = k.Input((6,), sparse=True, name="x")
    model = k.Model(x, k.layers.Dense(4, activation="softmax")(x), name="sparse")
    model.set_weights([RNG.uniform(-1, 1, weight.shape) for weight in model.get_weights()])
    dense = RNG.standard_normal((5, 6)).astype("float32") * (RNG.random((5, 6)) < 0.4)
    exported = rnnexport.export(model, "onnx", tmp_path / "model.onnx")
    [found] = onnxruntime.InferenceSession(str(exported.path)).run(None, {"x": dense})
    np.testing.assert_allclose(found, model(tf.sparse.from_dense(dense)), atol=1e-6)
