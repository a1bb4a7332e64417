"""Errors of a model's own code in one line: the cause and the layer, without what Keras puts around them."""

from __future__ import annotations

import numpy as np
import pytest

from rnnexport.core.errors import RaisedError, layer_of, reason

X = np.ones((2, 5), "float32")


def raised(keras, error):
    class Failing(keras.layers.Layer):
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
