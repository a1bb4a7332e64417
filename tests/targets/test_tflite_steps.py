"""Loops of a TFLite file written out: what of a step stands in it, and which loops stay."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import rnnexport
from benchmarks.edges.artifacts import traced
from benchmarks.edges.cases import Case
from rnnexport.core.errors import ConversionError
from rnnexport.core.forms import TFLiteForm
from rnnexport.core.signature import Boundary
from rnnexport.source.describe import describe
from rnnexport.source.trace import Graphs, trace
from rnnexport.targets.registry import target
from rnnexport.targets.tflite import steps
from rnnexport.targets.tflite.export import converted

GROUP = pytest.mark.xdist_group("tflite_steps")
FEATURES, STEPS = 3, 40
UNROLL = TFLiteForm("unroll")


def called(data, x):
    (found,) = Interpreter(model_content=data).get_signature_runner("serving_default")(x=x).values()
    return np.array(found)


@pytest.fixture(scope="module")
def recurrent():
    """(model, graphs) of two recurrences, one of them masked."""
    x = keras.Input((None, FEATURES), name="x")
    y = keras.layers.GRU(4, return_sequences=True)(keras.layers.Masking(0.5)(x))
    model = keras.Model(x, keras.layers.LSTM(5, name="last")(y), name="both")
    rng = np.random.default_rng(8)
    model.set_weights([rng.uniform(-0.7, 0.7, array.shape) for array in model.get_weights()])
    source = rnnexport.load(model)
    return model, Graphs(trace(source, describe(source, Boundary(None, STEPS)), unroll=False))


@GROUP
def test_a_step_is_in_the_file_once_and_what_counts_steps_is_not(recurrent, tmp_path):
    model, graphs = recurrent
    path = tmp_path / "both.tflite"
    path.write_bytes(converted(graphs, UNROLL)[0])
    operators = target("tflite").operators(path)
    # Of the input and of h, of two cells; behind a mask Keras runs the first step once more, for its shape.
    assert operators["FULLY_CONNECTED"] in (4 * STEPS, 4 * STEPS + 2, 4 * STEPS + 4)
    assert not operators.keys() & {"WHILE", "DYNAMIC_UPDATE_SLICE"}
    assert operators["LESS"] <= 2  # of the rows, see `static_shapes`, and none of steps
    assert path.stat().st_size < 20_000 + 6_000 * STEPS
    signatures = Interpreter(model_path=str(path)).get_signature_list()
    assert signatures == {"serving_default": {"inputs": ["x"], "outputs": ["last"]}}
    x = np.random.default_rng(3).standard_normal((2, STEPS, FEATURES)).astype(np.float32)
    x[0, 7:30] = 0.5  # what the mask leaves out
    np.testing.assert_allclose(called(path.read_bytes(), x), np.asarray(model(x)), rtol=1e-4, atol=1e-5)


@GROUP
def test_more_operators_than_can_be_loaded_are_refused(recurrent, monkeypatch):
    monkeypatch.setattr(steps, "_MOST_OPERATORS", 10 * STEPS)
    with pytest.raises(ConversionError, match="more than 400 operators") as caught:
        converted(recurrent[1], UNROLL)
    assert "--form rolled" in caught.value.todo


def doubled_while_small(x):
    """A list filled until a value is large, behind a choice that is known."""
    array = tf.TensorArray(tf.float32, tf.shape(x)[0], element_shape=(FEATURES,))

    def step(t, sum_I, array):
        row = x[t] + tf.cond(t > 1, lambda: sum_I, lambda: -sum_I)
        return t + 1, row, array.write(t, row)

    def goes_on(t, sum_I, _):
        return tf.logical_and(t < tf.shape(x)[0], tf.reduce_sum(sum_I) < 8.0)

    return tf.while_loop(goes_on, step, (0, tf.zeros(FEATURES), array))[2].stack()


def halved(x):
    """A loop in each step of a loop over rows."""

    def step(t, array):
        return t + 1, array.write(t, tf.while_loop(lambda k, _: k < t, lambda k, v: (k + 1, v / 2.0), (0, x[t]))[1])

    array = tf.TensorArray(tf.float32, tf.shape(x)[0], element_shape=(FEATURES,))
    return tf.while_loop(lambda t, _: t < tf.shape(x)[0], step, (0, array))[1].stack()


def twice(x):
    """What a loop gives, and a copy of it beside what went in."""
    total = tf.scan(lambda sum_I, row: 0.5 * sum_I + row, x)
    return tf.concat([total, total, x], 0)


@GROUP
@pytest.mark.parametrize(
    ("function", "loops"),
    [(doubled_while_small, True), (halved, False), (twice, False)],
    ids=["while small", "halved", "twice"],
)
def test_other_loops_are_right_whether_they_stay_or_not(function, loops):
    x = np.abs(np.random.default_rng(4).standard_normal((9, FEATURES))).astype(np.float32)
    model = traced([Case("it", "", "x", function)], {"x": x})
    data, _ = converted(Graphs(model), UNROLL)
    np.testing.assert_allclose(called(data, x), model.run({"x": x})["o0"], rtol=1e-5, atol=1e-6)
    kinds = {one["op_name"] for one in Interpreter(model_content=data)._get_ops_details()}
    assert ("WHILE" in kinds) == loops
