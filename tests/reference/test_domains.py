"""Sources that are finite, or run, on some feeds alone: those are found; where there are none the source is refused."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnnexport
from rnnexport.core.errors import ConversionError
from rnnexport.core.signature import Boundary
from rnnexport.reference.describe import describe_with_truth
from rnnexport.targets.registry import target


def model(make, shape=(None, 3), **options):
    keras.utils.set_random_seed(4)
    x = keras.Input(shape, name="x", **options)
    return keras.Model(x, make(x))


def dense(x):
    return keras.layers.Dense(3, "tanh", bias_initializer="normal")(x)


def described(made):
    return describe_with_truth(rnnexport.load(made), Boundary())


def pooled(ids):
    return keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(11, 4, mask_zero=True)(ids))


REPLACED = {
    "a mean of all padding": (lambda: model(pooled, (None,), dtype="int32"), "a token in each row"),
    "log": (lambda: model(lambda x: dense(keras.ops.log(x))), "positive values"),
    "sqrt below 1": (lambda: model(lambda x: dense(keras.ops.sqrt(1 - x * x))), "values up to 0.9"),
    "exp": (lambda: model(lambda x: keras.ops.exp(dense(x)) * keras.ops.exp(x)), "values up to 30"),
}


@pytest.mark.parametrize("kind", REPLACED)
def test_feeds_on_which_the_source_is_not_finite_are_replaced(kind, tmp_path):
    build, instead = REPLACED[kind]
    report = rnnexport.export(build(), "onnx", tmp_path / "m.onnx").report
    assert report.status == "passed"
    assert any(f"replaced by one with {instead}" in note for note in report.coverage.notes)
    goldens = target("onnx").read_proof(tmp_path / "m.onnx").goldens
    assert len(goldens) >= 10
    assert all(np.isfinite(array).all() for golden in goldens for array in golden.expected.values())


def test_what_is_finite_is_compared_where_no_domain_makes_all_of_it_finite(tmp_path):
    """The first feature is divided by zero in every feed."""
    source = rnnexport.load(
        model(lambda x: dense(x) / keras.ops.array([0.0, 1.0, 2.0]) * keras.ops.array([0.0, 1.0, 1.0]))
    )
    report = rnnexport.export(source, "onnx", tmp_path / "m.onnx").report
    assert report.status == "passed"
    assert any("compared where it is finite" in note for note in report.coverage.notes)
    (output,) = report.outputs()
    batch, steps = 4, 5  # of the first feed
    assert report.feeds[0].outputs[0].errors.count == 2 * batch * steps
    assert output.errors.count > 2 * batch * steps


def test_a_length_at_which_nothing_comes_out_is_left_out(tmp_path):
    source = rnnexport.load(model(lambda x: dense(x)[:, 1:] - dense(x)[:, :-1]))
    report = rnnexport.export(source, "onnx", tmp_path / "m.onnx").report
    assert report.status == "passed"
    assert report.coverage.notes == ("1 feed left out: the source gives no values",)


def test_frames_longer_than_a_probe():
    def framed(x):
        return dense(keras.ops.extract_sequences(x[..., 0], 200, 90))

    source = rnnexport.load(model(framed))
    known = described(source)
    assert any("more timesteps than planned" in note for note in known.coverage.notes)
    assert all(golden.feed["x"].shape[1] >= 200 for golden in known.goldens)
    assert len({golden.feed["x"].shape[1] for golden in known.goldens}) >= 3


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda x: dense(x) * np.float32("nan"), "is not finite in .*in no domain that was tried"),
        (lambda x: [dense(x), dense(x) * np.float32("nan")], "output .* is finite on none of"),
    ],
)
def test_a_source_that_is_finite_nowhere_is_refused(make, why):
    with pytest.raises(ConversionError, match=why):
        described(model(make))


def test_a_source_that_never_runs_is_refused_with_its_own_error():
    class Never(keras.layers.Layer):
        def call(self, x):
            if tf.executing_eagerly():
                raise ValueError("no such weather")
            return x

    with pytest.raises(ConversionError, match="no such weather"):
        described(model(Never()))
