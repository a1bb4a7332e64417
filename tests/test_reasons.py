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
from tests.cures import CURES

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


IN_CI = ("rows", "nothing to stream", "random numbers", "form of a recurrence", "bfloat16")


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind in IN_CI else pytest.mark.long) for kind in CURES]
)
def test_what_a_refusal_proposes_works(kind, tmp_path, monkeypatch):
    case = CURES[kind]
    if kind == "open sizes on a microcontroller":
        pytest.importorskip("tflite_micro")
    model, path = case.make(), tmp_path / f"m{target(case.to).suffix}"
    if kind.startswith("weights"):
        monkeypatch.setattr("rnnexport.source.footprint.LARGEST", 100)
    with pytest.raises(rnnexport.RnnExportError, match=case.told):
        rnnexport.export(model, case.to, path, **case.asked)
    assert list(tmp_path.iterdir()) == []
    cure = dict(case.cure)
    to = cure.pop("to", case.to)
    cured = model if case.mended is None else case.mended()
    done = rnnexport.export(cured, to, tmp_path / f"cured{target(to).suffix}", **cure)
    assert done.report.status == "passed"


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
