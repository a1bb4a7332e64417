"""Files that do not say what their model computes: refused, or put right where a graph computed it from the weights."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pytest

import rnnexport
from rnnexport.core.errors import ConversionError
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.signature import Boundary
from rnnexport.reference.eager_runs import require_determined
from rnnexport.source.describe import describe
from rnnexport.source.eager import reference
from rnnexport.source.load import load_source
from rnnexport.verification.feeds import feed_at
from tests.in_turn import of_one_keras
from tests.source.frozen_cells import FEATURES, UNITS, expected, frozen, recorded_as, split_cell

pytestmark = pytest.mark.xdist_group("determined")
GRAPH_MODE = "2.2.4"
X = np.random.default_rng(3).standard_normal((2, 7, FEATURES)).astype("float32")


def saved(k, kind, folder):
    path = folder / ("frozen.keras" if k.__name__ == "keras" else "frozen.h5")
    frozen(k, kind).save(path)
    return path


def load(k, model):
    return load_source(model, LoadOptions({"SplitCell": split_cell(k)}))


def check(source):
    signature = describe(source, Boundary())
    feeds = (feed_at(signature, 0, index) for index in (0, 3))
    require_determined(source, signature, ((feed, reference(source, signature, feed.arrays)) for feed in feeds))


@pytest.mark.parametrize("name", of_one_keras("tf_keras"))
@pytest.mark.parametrize(
    ("kind", "held"),
    [
        ("slices", "left of layer cell"),
        ("seeded", "left of layer cell"),
        ("parts", r"parts\[0\] and parts\[1\] of layer cell"),
        ("closure", "product.left of layer cell"),
        ("array", "left of layer cell"),
        ("drawn", "left of layer cell"),
    ],
)
def test_a_file_that_two_loads_make_two_models_of_is_refused(name, kind, held, tmp_path):
    k = pytest.importorskip(name)
    source = load(k, saved(k, kind, tmp_path))
    with pytest.raises(ConversionError, match=rf"{held} \(SplitCell\), made when the model is built") as refusal:
        check(source)
    assert "call()" in refusal.value.todo


def test_a_variable_that_keras_does_not_track_is_refused(tmp_path):
    k = pytest.importorskip("keras")
    source = load(k, saved(k, "variable", tmp_path))
    with pytest.raises(ConversionError, match=r"left\[0\] of layer cell \(SplitCell\), made when the model is built"):
        check(source)


@pytest.mark.parametrize("name", of_one_keras("keras"))
@pytest.mark.parametrize("kind", ["in_call", "unused"])
def test_constants_and_what_is_not_computed_with_are_no_reason(name, kind, tmp_path):
    k = pytest.importorskip(name)
    source = load(k, saved(k, kind, tmp_path))
    assert source.again is not None
    check(source)


@pytest.mark.parametrize("kind", ["slices", "parts", "closure"])
def test_a_file_of_graph_mode_keras_computes_from_the_loaded_weights(kind, tmp_path):
    k = pytest.importorskip("tf_keras")
    path = recorded_as(saved(k, kind, tmp_path), GRAPH_MODE)
    source = load(k, path)
    kernel, recurrent = frozen(k, kind).get_weights()
    np.testing.assert_allclose(source.model(X), expected(kernel, recurrent, X), atol=2e-6)
    check(source)
    [note] = source.semantics
    assert f"computed from the loaded weights, as Keras {GRAPH_MODE} on tensorflow does in each call" in note


def test_what_a_graph_would_not_compute_anew_is_refused_in_graph_mode_too(tmp_path):
    k = pytest.importorskip("tf_keras")
    path = recorded_as(saved(k, "array", tmp_path), GRAPH_MODE)
    with pytest.raises(ConversionError, match=r"left of layer cell \(SplitCell\) in frozen.h5"):
        load(k, path)


@pytest.mark.parametrize("version", ["2.2.4-tf", "2.11.0"])
def test_tf_keras_of_tensorflow_2_may_have_run_eagerly(version, tmp_path):
    k = pytest.importorskip("tf_keras")
    source = load(k, recorded_as(saved(k, "slices", tmp_path), version))
    with pytest.raises(ConversionError, match="left of layer cell"):
        check(source)


@pytest.mark.parametrize("name", of_one_keras("tf_keras"))
def test_a_live_model_keeps_what_it_computes_with_a_warning(name, tmp_path):
    k = pytest.importorskip(name)
    model = frozen(k, "slices")
    with pytest.warns(UserWarning, match="left of layer cell .* a saved file would lose that"):
        rnnexport.export(model, "numpy", tmp_path / "frozen.py", loading=LoadOptions({"SplitCell": split_cell(k)}))
    with warnings.catch_warnings(action="error"):
        check(load(k, frozen(k, "in_call")))
        check(load(k, frozen(k, "unused")))


def test_a_stream_of_such_a_file_is_refused_and_nothing_written(tmp_path):
    k = pytest.importorskip("keras")
    export = partial(rnnexport.export, saved(k, "slices", tmp_path), loading=LoadOptions({"SplitCell": split_cell(k)}))
    for options in ({}, {"stream": "dynamic"}):
        with pytest.raises(ConversionError, match="which no file holds"):
            export("onnx", tmp_path / "frozen.onnx", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["frozen.keras"]


def test_a_live_model_without_anything_but_weights_is_not_copied():
    k = pytest.importorskip("keras")

    class Scaled(k.layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight(shape=shape[-1:], name="scale")

        def call(self, x):
            return x * self.scale

    x = k.Input((None, FEATURES))
    assert load_source(k.Model(x, Scaled()(x))).again is None
    assert load(k, frozen(k, "slices")).again is not None


def test_layers_of_keras_alone_are_loaded_once(tmp_path):
    k = pytest.importorskip("keras")
    x = k.Input((None, FEATURES))
    k.Model(x, k.layers.GRU(UNITS)(x)).save(tmp_path / "gru.keras")
    assert load_source(tmp_path / "gru.keras").again is None
