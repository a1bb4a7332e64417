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


WORDS = ["a", "bc", "\u00fcber", "cat"]
TEXT_LAYERS = {
    "words": lambda k: k.layers.StringLookup(vocabulary=WORDS, mask_token="", name="looked_up"),
    "known": lambda k: k.layers.StringLookup(vocabulary=WORDS, num_oov_indices=0, name="looked_up"),
    "whole": lambda k: k.layers.TextVectorization(vocabulary=WORDS, standardize=None, split=None, name="looked_up"),
    "lookup": lambda k: k.layers.StringLookup(vocabulary=WORDS, num_oov_indices=2, mask_token="", name="looked_up"),
    "hashing": lambda k: k.layers.Hashing(num_bins=5, name="looked_up"),
    "vectorization": lambda k: k.layers.TextVectorization(vocabulary=WORDS, name="looked_up"),
}


def text_model(k, kind):
    text = k.Input((1,) if kind == "vectorization" else (None,), dtype="string", name="text")
    ids = TEXT_LAYERS[kind](k)(text)
    return k.Model(text, k.layers.GRU(3, bias_initializer="glorot_normal")(k.layers.Embedding(8, 4)(ids)))


@pytest.mark.parametrize(
    ("api", "kind"),
    [
        (keras, "lookup"),
        (tf_keras, "vectorization"),
        pytest.param(keras, "hashing", marks=pytest.mark.long),
        pytest.param(keras, "vectorization", marks=pytest.mark.long),
        pytest.param(tf_keras, "lookup", marks=pytest.mark.long),
    ],
)
def test_text_exports_to_a_saved_model(tmp_path, api, kind):
    import tensorflow as tf

    keras.utils.set_random_seed(5)
    source = text_model(api, kind)
    assert rnnexport.export(source, "saved-model", tmp_path / "m").report.status == "passed"
    text = np.array([["cat bc", ""], ["\u00fcber", "a"], ["none", "bc"]])
    text = text[:, :1] if kind == "vectorization" else text
    (found,) = tf.saved_model.load(str(tmp_path / "m")).signatures["serving_default"](text=tf.constant(text)).values()
    np.testing.assert_allclose(found, source(tf.constant(text)), atol=1e-6)


def test_feeds_have_words_and_others():
    source = rnnexport.load(text_model(keras, "lookup"))
    (spec,) = with_vocabularies(trace(source, describe(source, Boundary()), unroll=False)).inputs
    assert spec.dtype == "str"
    assert set(spec.keys) > set(WORDS)
    assert TensorSpec.from_json(spec.to_json()) == spec
    drawn = values(np.random.default_rng(0), spec, {"batch": 9, "time": 20}, 1.0)
    assert set(drawn.ravel().tolist()) > {*WORDS, ""}


@pytest.mark.long
def test_words_that_are_given_out(tmp_path):
    import tensorflow as tf

    x = keras.Input((None, 4), name="x")
    best = keras.ops.argmax(keras.layers.GRU(5)(x), axis=-1)
    source = keras.Model(x, keras.layers.StringLookup(vocabulary=WORDS, invert=True, name="words")(best))
    assert rnnexport.export(source, "saved-model", tmp_path / "m").report.status == "passed"
    with pytest.raises(ConversionError, match=r"output .* is text in layer words \(StringLookup\)"):
        rnnexport.export(source, "onnx", tmp_path / "m.onnx")
    fed = np.random.default_rng(1).standard_normal((6, 7, 4)).astype("float32")
    (found,) = tf.saved_model.load(str(tmp_path / "m")).signatures["serving_default"](x=tf.constant(fed)).values()
    np.testing.assert_array_equal(found.numpy(), source(fed).numpy())


@pytest.mark.parametrize("api", [keras, pytest.param(tf_keras, marks=pytest.mark.long)])
def test_what_is_told_of_text_elsewhere_works(tmp_path, api):
    model = text_model(api, "lookup")
    with pytest.raises(ConversionError, match=r"input text of .* is text in layer looked_up \(StringLookup\)") as told:
        rnnexport.export(model, "onnx", tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
    build = str(told.value).rpartition("both sides, ")[2]
    rest = eval(build, {"Model": api.Model, "model": model})
    assert rnnexport.export(rest, "onnx", tmp_path / "m.onnx").report.status == "passed"


@pytest.mark.parametrize(
    ("api", "kind", "target"),
    [
        (keras, "words", "onnx"),
        (tf_keras, "words", "numpy"),
        (tf_keras, "whole", "onnx"),
        pytest.param(keras, "whole", "numpy", marks=pytest.mark.long),
        pytest.param(tf_keras, "words", "onnx", marks=pytest.mark.long),
        pytest.param(keras, "words", "numpy", marks=pytest.mark.long),
    ],
)
def test_words_that_are_taken_whole_are_looked_up(tmp_path, api, kind, target):
    import onnxruntime
    import tensorflow as tf

    keras.utils.set_random_seed(6)
    source = text_model(api, kind)
    path = tmp_path / f"m{'.py' if target == 'numpy' else '.onnx'}"
    assert rnnexport.export(source, target, path).report.status == "passed"
    text = np.array([["cat", ""], ["\u00fcber", "a"], ["none", "bc"], ["b", "A"]])
    text = text[:, :1] if kind == "whole" else text
    if target == "onnx":
        (found,) = onnxruntime.InferenceSession(path).run(None, {"text": text})
    else:
        (found,) = rnnexport.run(path, {"text": text}).outputs.values()
    np.testing.assert_allclose(found, source(tf.constant(text)), atol=1e-6)


@pytest.mark.parametrize("target", ["tflite", "c"])
def test_text_is_refused_where_there_are_numbers_alone(tmp_path, target):
    text = keras.Input((3,), dtype="string", name="text")
    model = keras.Model(text, keras.layers.Embedding(8, 4)(TEXT_LAYERS["words"](keras)(text)))
    with pytest.raises(ConversionError, match=r"input text of .* is text in .*looked_up"):
        rnnexport.export(model, target, tmp_path / f"m.{target}")
    assert list(tmp_path.iterdir()) == []
