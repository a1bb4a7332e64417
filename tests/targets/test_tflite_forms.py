"""Operators whose form in TFLite overflows or loses small results are written another way, in loops too."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from benchmarks.edges.artifacts import Column, run, traced
from benchmarks.edges.cases import Case
from rnnexport.targets.tflite.forms import FORMS
from rnnexport.targets.tflite.replaying import in_other_forms

TFLITE = Column("tflite", "tflite")


def softplus_twice(x):
    return tf.while_loop(lambda i, _: i < 2, lambda i, v: (i + 1, tf.math.softplus(v)), (tf.constant(0), x))[1]


@pytest.fixture(scope="module")
def found():
    x = np.array([[0.0, -0.0, 1e-8, -1e-6, -20.0, 100.0], [1e4, np.inf, -np.inf, np.nan, 2.5, -0.5]], np.float32)
    functions = {
        "softplus": tf.math.softplus,
        "log_sigmoid": tf.math.log_sigmoid,
        "expm1": tf.math.expm1,
        "log1p": tf.math.log1p,
        "rsqrt": tf.math.rsqrt,
        "is_inf": tf.math.is_inf,
        "quotient": lambda x: x // tf.abs(x),
        "xlog1py": lambda x: tf.math.xlog1py(x * 0.0, x),
        "normal": lambda x: keras.ops.normalize(tf.where(x > 0.0, 0.0, 0.0)),
        "most": lambda x: keras.ops.argmax(tf.where(tf.constant([[True] * 2 + [False] * 4] * 2), 0.0 * x, -1.0), -1),
        "loop": softplus_twice,
        "parts": lambda x: tf.concat(tf.split(x, np.array([2, 4]), -1)[::-1], -1),
        "equal_parts": lambda x: tf.cast(tf.concat(tf.split(x > 0.0, 3, -1)[::-1], -1), tf.float32),
        "parts_of_truths": lambda x: tf.cast(tf.concat(tf.split(x > 0.0, [2, -1], -1)[::-1], -1), tf.float32),
        "mean": lambda x: tf.raw_ops.Mean(input=x, axis=tf.constant([-1], tf.int64)),
    }
    outputs = run(TFLITE, [Case(name, "", "x", function) for name, function in functions.items()], {"x": x})
    assert {one.refused for one in outputs.values()} == {""}
    return x.astype(np.float64), {name: one.output for name, one in outputs.items()}


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("softplus", lambda x: np.logaddexp(x, 0)),
        ("log_sigmoid", lambda x: -np.logaddexp(-x, 0)),
        ("log1p", np.log1p),
        ("rsqrt", lambda x: 1 / np.sqrt(x)),
        ("is_inf", np.isinf),
        ("quotient", lambda x: np.floor(x / np.abs(x))),
        ("loop", lambda x: np.logaddexp(np.logaddexp(x, 0), 0)),
        ("parts", lambda x: np.hstack([x[:, 2:], x[:, :2]])),
        ("equal_parts", lambda x: np.hstack([x[:, 4:], x[:, 2:4], x[:, :2]]) > 0),
        ("parts_of_truths", lambda x: np.hstack([x[:, 2:], x[:, :2]]) > 0),
        ("mean", lambda x: x.mean(-1)),
    ],
)
def test_the_form_is_right_at_the_edges(name, function, found):
    x, outputs = found
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(outputs[name], function(x), rtol=1e-5, atol=1e-30)


def test_small_results_of_expm1(found):
    x, outputs = found
    numbers = ~np.isnan(x)  # EXP of NaN is 0 in LiteRT
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(outputs["expm1"][numbers], np.expm1(x[numbers]).astype(np.float32), rtol=1e-5)


def test_zeros_stay_zeros(found):
    x, outputs = found
    np.testing.assert_array_equal(outputs["normal"], np.zeros_like(x))
    np.testing.assert_array_equal(outputs["most"][:1], [0])  # 0 before -0
    np.testing.assert_array_equal(outputs["xlog1py"][np.isfinite(x)], 0)


def operators(model):
    graph_def = model.function.graph.as_graph_def()
    inner = [node for function in graph_def.library.function for node in function.node_def]
    return [node.op for node in [*graph_def.node, *inner]]


def test_the_graph_has_none_left_and_one_without_is_left_alone():
    feed = {"x": np.ones((1, 2), np.float32)}
    model = traced([Case("loop", "", "x", softplus_twice), Case("log1p", "", "x", tf.math.log1p)], feed)
    assert set(operators(model)) >= {"Log1p", "Softplus"}
    assert not set(operators(in_other_forms(model))) & set(FORMS)
    plain = traced([Case("tanh", "", "x", tf.tanh)], feed)
    assert in_other_forms(plain) is plain
