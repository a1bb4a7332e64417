"""Lookups of integers export: what is known, what is beside it, and what is missing."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tf_keras

import rnnexport
from rnnexport.core.errors import ConversionError
from rnnexport.core.signature import Boundary, TensorSpec
from rnnexport.source.describe import describe
from rnnexport.source.trace import trace
from rnnexport.source.vocabulary import with_vocabularies
from rnnexport.verification.domain import values

KEYS = [10, -3, 42, 7]


def model(k, **options):
    ids = k.Input((None,), dtype="int64", name="ids")
    places = k.layers.IntegerLookup(vocabulary=KEYS, **options)(ids)
    return k.Model(ids, k.layers.GRU(3)(k.layers.Embedding(8, 4)(places)))


@pytest.mark.parametrize("target", ["onnx", "numpy", "saved-model"])
def test_a_lookup_gives_what_keras_gives(tmp_path, target):
    keras.utils.set_random_seed(4)
    source = model(keras, num_oov_indices=2, mask_token=0)
    suffix = {"onnx": ".onnx", "numpy": ".py", "saved-model": ""}[target]
    exported = rnnexport.export(source, target, tmp_path / f"looked_up{suffix}")
    assert exported.report.status == "passed"
    ids = np.array([[10, 0, 42, 11, -3], [7, 41, -4, 9**18, -(9**18)]], np.int64)
    if target == "onnx":
        import onnxruntime

        found = onnxruntime.InferenceSession(exported.path).run(None, {"ids": ids})[0]
        np.testing.assert_allclose(found, source(ids), atol=1e-6)


def test_the_same_of_tf_keras(tmp_path):
    assert rnnexport.export(model(tf_keras), "onnx", tmp_path / "m.onnx").report.status == "passed"


def test_feeds_have_what_is_looked_up():
    source = rnnexport.load(model(keras))
    (spec,) = with_vocabularies(trace(source, describe(source, Boundary()), unroll=False)).inputs
    assert spec.high is None
    assert spec.keys == (-3, 7, 10, 42)
    assert TensorSpec.from_json(spec.to_json()) == spec
    drawn = values(np.random.default_rng(0), spec, {"batch": 9, "time": 20}, 1.0)
    assert set(KEYS) < set(drawn.ravel().tolist())
    assert drawn.dtype == np.int64


def test_words_are_refused(tmp_path):
    words = keras.Input((None,), dtype="string", name="words")
    places = keras.layers.StringLookup(vocabulary=["a", "bc"])(words)
    source = keras.Model(words, keras.layers.GRU(3)(keras.layers.Embedding(5, 4)(places)))
    with pytest.raises(ConversionError, match="input words of dtype string"):
        rnnexport.export(source, "onnx", tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
