"""Errors of a model's own code in one line, without what Keras puts around them; what refusals propose works."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import rnnexport
from rnnexport.core.errors import RaisedError, layer_of, reason
from rnnexport.source.probe import other_dtype
from rnnexport.source.trace import _untraceable
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
    return keras.Model(x, keras.layers.GRU(3, return_sequences=True, name="gru")(layer(y)), name="m")


class Halves(keras.layers.Layer):
    """As many steps as half of the length."""

    def call(self, x):
        return keras.ops.max_pool(x, 2)


# What is refused where, what is said of it, and the options with which it is not.
CURES = {
    "rows": (Centred, "c", r"gru of m depends on the other rows of its batch; .*; give batch=N", {"batch": 3}),
    "length": (
        Halves,
        "c",
        r"no C form of MaxPool in .*halves.*: how many windows .*; give timesteps=N",
        {"timesteps": 6},
    ),
    "adaptive": (
        lambda: keras.layers.AdaptiveAveragePooling1D(2),
        "numpy",
        r"\(in AdaptiveAveragePooling1D\); .*; give timesteps=N",
        {"timesteps": 6},
    ),
    "dtype": (
        lambda: keras.layers.LSTM(4, return_sequences=True, dtype="float64"),
        "tflite",
        r"float64 in .*lstm.*; give cast='float32'",
        {"cast": "float32", "timesteps": 6},
    ),
}


@pytest.mark.parametrize(
    "kind", ["rows", *(pytest.param(kind, marks=pytest.mark.long) for kind in CURES if kind != "rows")]
)
def test_what_a_refusal_proposes_works(kind, tmp_path):
    layer, to, told, cure = CURES[kind]
    model, path = around(layer()), tmp_path / f"m{target(to).suffix}"
    fixed = {name: size for name, size in cure.items() if target(to).unrolled and name == "timesteps"}
    with pytest.raises(rnnexport.ConversionError, match=told):
        rnnexport.export(model, to, path, **fixed)
    assert list(tmp_path.iterdir()) == []
    assert rnnexport.export(model, to, path, **cure).report.status == "passed"


@pytest.mark.parametrize(
    ("layer", "todo"),
    [("Own", "mend Own; "), ("Dense", "use another layer than Dense of Keras; "), ("", "mend the")],
)
def test_a_layer_of_keras_is_nothing_to_mend(layer, todo):
    source = rnnexport.load(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
    around = f"Exception encountered when calling {layer}.call().\n\nno\n\nArguments received by {layer}.call():\n  • x"
    error = ValueError(around if layer else "no")
    assert _untraceable(source, error).todo.startswith(todo)


@pytest.mark.parametrize(
    ("dtype", "todo"), [("bfloat16", "give --cast float32"), ("complex64", "make two of it"), ("uint4", "cast it")]
)
def test_a_dtype_that_no_artifact_has_is_told_with_a_cure(dtype, todo):
    told = other_dtype("output y", dtype)
    assert told.found == f"output y of dtype {dtype}"
    assert told.todo.startswith(todo)
