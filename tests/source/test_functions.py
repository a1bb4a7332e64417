"""Functions of TensorFlow in a functional model of tf_keras: `a + b`, `x[:, -1]`, `tf.concat`."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import rnnexport
from rnnexport.source.safety import COMPUTING, computes

X = np.random.default_rng(8).standard_normal((3, 7, 4)).astype("float32")


def model():
    import tensorflow as tf
    import tf_keras as k

    x = k.Input((None, 4), name="x")
    y = k.layers.GRU(4, return_sequences=True, bias_initializer="uniform")(x)
    y = tf.concat([y + x, 1.0 - y, y @ tf.transpose(y, (0, 2, 1)) @ x], axis=-1)  # (B, T, 12)
    y = tf.pad(y[:, ::2, 1:11], [[0, 0], [1, 0], [0, 0]]) / tf.cast(tf.shape(x)[1], tf.float32)
    y = tf.where(tf.not_equal(y, 0.0), tf.nn.softmax(y), tf.gather(y, [0, 3, 1, 2, 4, 5, 9, 8, 7, 6], axis=-1))
    return k.Model(x, [tf.reduce_mean(y, axis=1), k.backend.batch_dot(y, y, axes=(2, 2))])


@pytest.mark.parametrize("form", [".h5", ".keras"])
def test_functions_that_compute_are_loaded(form, tmp_path):
    wanted = model()
    wanted.save(tmp_path / f"m{form}")
    found = rnnexport.load(tmp_path / f"m{form}").model
    assert sum(type(layer).__name__ in ("TFOpLambda", "SlicingOpLambda") for layer in found.layers) > 10
    for one, other in zip(found(X), wanted(X), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_model_of_functions_is_exported(tmp_path):
    model().save(tmp_path / "m.h5")
    done = rnnexport.export(tmp_path / "m.h5", "onnx", tmp_path / "m.onnx")
    assert done.report is not None
    assert done.report.status == "passed"


def test_the_list_is_of_functions_that_take_none():
    from tensorflow.python.util.tf_export import get_symbol_from_name

    assert len(COMPUTING) > 500
    for name in COMPUTING:
        function = get_symbol_from_name(name) or get_symbol_from_name(f"compat.v1.{name}")
        assert inspect.isfunction(function), name
        taken = inspect.signature(inspect.unwrap(function)).parameters
        assert not {"fn", "func", "function", "body", "true_fn", "filename", "path", "file"} & set(taken), name


@pytest.mark.parametrize(
    "name",
    ["py_function", "compat.v1.py_func", "map_fn", "io.write_file", "raw_ops.Add", "compat.v1.compat.v1.add", ""],
)
def test_others_are_not_in_the_list(name):
    assert not computes(name)
