"""Errors of a model's own code in one line, without what Keras puts around them; what refusals propose works."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import rnnexport
from rnnexport.core.errors import RaisedError, layer_of, reason
from rnnexport.targets.registry import target

X = np.ones((2, 5), "float32")


def raised(api, error):
    class Failing(api.layers.Layer):
        def call(self, x):
            raise error

    with pytest.raises(type(error)) as caught:
        Failing(name="failing")(X)
    return caught.value


@pytest.mark.parametrize(("name", "told"), [("keras", "Failing"), ("tf_keras", "failing")])
def test_an_error_of_a_layer_is_told_with_the_layer(name, told):
    error = raised(pytest.importorskip(name), ValueError("no such shape (2, 5)."))
    assert "rguments received" in str(error)
    assert reason(error) == f"ValueError: no such shape (2, 5) (in {told})"
    assert layer_of(error) == told


def test_what_autograph_wraps_is_told_without_its_listing():
    import tf_keras

    class Failing(tf_keras.layers.Layer):
        def call(self, x):
            raise ValueError("left")

    with pytest.raises(ValueError, match="in user code") as caught:
        Failing(name="failing")(tf_keras.Input((5,)))
    assert reason(caught.value) == "ValueError: left (in failing)"


def test_noise_of_the_runtime_is_left_out():
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        tf.matmul(tf.ones((2, 3)), tf.ones((2, 3)))
    assert reason(caught.value).startswith("InvalidArgumentError: Matrix size-incompatible")
    assert "function_node" not in reason(caught.value)
    assert "[Op:" not in reason(caught.value)


def test_other_errors_stay_as_they_are():
    assert reason(ValueError("a [1, 2] b")) == "ValueError: a [1, 2] b"
    assert layer_of(ValueError("a")) == ""
    assert reason(RaisedError("KeyError: of another process")) == "KeyError: of another process"


class Centred(keras.layers.Layer):
    """Less the mean of the batch."""

    def call(self, x):
        return x - keras.ops.mean(x, axis=0, keepdims=True)


def around(layer, shape=(None, 3)):
    """A recurrence behind a layer."""
    x = keras.Input(shape, name="x")
    y = keras.layers.Dense(4, activation="tanh")(x)
    return keras.Model(x, keras.layers.GRU(3, return_sequences=True)(layer(y)), name="m")


# What is refused where, what is said of it, and the options with which it is not.
CURES = {
    "rows": (Centred, "c", r"gru of m depends on the other rows of its batch; .*; give --batch N", {"batch": 3}),
}


@pytest.mark.parametrize("kind", CURES)
def test_what_a_refusal_proposes_works(kind, tmp_path):
    layer, to, told, cure = CURES[kind]
    model, path = around(layer()), tmp_path / f"m{target(to).suffix}"
    with pytest.raises(rnnexport.ConversionError, match=told):
        rnnexport.export(model, to, path)
    assert list(tmp_path.iterdir()) == []
    assert rnnexport.export(model, to, path, **cure).report.status == "passed"
