"""When two readings in float64 are one, and what is said where there is only one of them, or none."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnexport.reference.float64 import Float64Run
from rnnexport.reference.witness import disagreement, moves_of, where_numbers
from rnnexport.source.double import double
from tests.emit.numpy.doubles import IMAGE, normal, traced_function, traced_functions
from tests.emit.numpy.test_float64_operators import OF_IMAGES, OF_ROWS, OF_VOLUMES

GROUP = pytest.mark.xdist_group("witness")
ONE = np.array([1.0, -2.0, 3e6])


def differs(found, wanted, allowed):
    found, wanted = np.asarray(found), np.asarray(wanted)
    return disagreement({"y": found}, {"y": wanted}, {"y": np.broadcast_to(np.asarray(allowed), wanted.shape)})


@pytest.mark.parametrize(
    ("found", "wanted", "allowed"),
    [
        (ONE, ONE, 0.0),
        (ONE * (1 + 5e-11), ONE, 0.0),
        (ONE * (1 + 1e-9), ONE, 1e-2),  # where that is what moves of 1e-10 do
        ([1e-14, 1.0], [0.0, 1.0], 0.0),  # what rounding leaves of values that cancel out
        ([np.nan, np.inf, -np.inf], [np.nan, np.inf, -np.inf], 0.0),
        ([1, 2], [1, 2], 0.0),
        ([1, 3], [1, 2], np.inf),  # a whole number that sits on an edge
        (np.zeros((0, 3)), np.zeros((0, 3)), 0.0),
    ],
)
def test_two_readings_that_agree(found, wanted, allowed):
    assert differs(found, wanted, allowed) == ""


@pytest.mark.parametrize(
    ("found", "wanted", "allowed", "told"),
    [
        ([1.0, 2.0 + 1e-9], [1.0, 2.0], 0.0, "y[1] is 2.000000001, not 2"),
        ([1.0, 2.0 + 1e-9], [1.0, 2.0], [1.0, 1e-12], "y[1] is"),  # of each value its own
        ([np.nan, 1.0], [0.5, 1.0], 1e3, "y[0] is nan, not 0.5"),
        ([0.5, 1.0], [np.nan, 1.0], 1e3, "y[0] is 0.5, not nan"),
        ([np.inf], [-np.inf], 1e3, "y[0] is inf, not -inf"),
        ([1, 3], [1, 2], 0.0, "y[1] is 3, not 2"),
        ([True], [False], 0.0, "y[0] is 1, not 0"),
        (np.zeros((2, 3)), np.zeros((3, 2)), np.inf, "y has shape (2, 3), not (3, 2)"),
    ],
)
def test_two_readings_that_differ(found, wanted, allowed, told):
    assert differs(found, wanted, allowed).startswith(told)


@GROUP
def test_both_readings_have_a_number_s_sign_where_that_alone_is_read():
    """`keras.ops.argmax` takes -0 for less than 0; it reads the sign bit of float32."""
    rows = np.array([[-0.0, 0.0, -1.0], [0.0, -0.0, 0.0], [-0.0, -1.0, -0.0], [-2.0, -1.0, -3.0]], "float32")
    traced = traced_function(lambda x: keras.ops.argmax(x, -1), x=rows)
    exact = Float64Run(traced)
    found = exact.run({"x": rows}, {"y": np.zeros(4, np.int32)})["y"]
    np.testing.assert_array_equal(found, [1, 0, 0, 1])
    assert (exact.no_truth, exact.no_witness, exact.fault) == ("", "", "")


@GROUP
@pytest.mark.parametrize("mask", [-(2**31) + 1, 0x7F800000])
def test_other_bits_of_a_number_are_of_its_type(mask):
    def call(x):
        bits = tf.bitcast(x, tf.int32)
        sign = tf.bitwise.bitwise_and(bits, tf.constant(-(2**31)))
        return tf.cast(sign + tf.bitwise.bitwise_and(bits, tf.constant(mask)), tf.float32)

    assert "Bitcast reads the bits" in Float64Run(traced_function(call, x=normal(3))).no_truth


@GROUP
def test_the_effect_of_a_move_is_that_of_the_equations():
    """y = sum(w * x) moves by at most 1e-10 * sum(|w * x|), and by far less than that only by chance."""
    w, x = normal(400), normal(3, 400)
    traced = traced_function(lambda x: tf.reduce_sum(x * tf.constant(w), -1), x=x)
    graph = double(traced)
    effect = moves_of(graph, {"x": x}, graph.run({"x": x}))["y"]
    largest = 2e-10 * np.abs(w * x).sum(-1)
    assert np.all(effect <= largest)
    assert np.all(effect >= largest / 1000)


@GROUP
def test_marks_of_padding_and_whole_numbers_are_not_moved():
    """A move of either gives another model, whose outputs are no measure of this one's."""
    x = np.array([[0.1, 0.1, 3.0, 1.7], [0.1, 0.1, -2.0, 0.4]], "float32")
    traced = traced_function(lambda x: tf.where(x == 0.1, 0.0, tf.floor(x)), x=x)
    graph = double(traced)
    assert np.all(moves_of(graph, {"x": x}, graph.run({"x": x}))["y"] == 0)


def chaotic(x):
    """The logistic map: each step doubles what two runs differ by."""
    return tf.while_loop(lambda i, _: i < 40, lambda i, y: (i + 1, 3.99 * y * (1 - y)), [0, tf.sigmoid(x)])[1]


@GROUP
@pytest.mark.parametrize(
    ("functions", "x"),
    [
        (OF_IMAGES, IMAGE),
        (OF_VOLUMES, normal(2, 6, 7, 5, 2)),
        (OF_ROWS, normal(5, 3)),
        ({"chaotic": chaotic}, normal(50)),
        ({"constants": lambda x: x * 0.2 + 1 / 3 + tf.constant([0.1, 0.7, 2**-0.5, 1e30])}, normal(5, 4)),
        ({"mask": lambda x: tf.where(x == 0.1, 1.0, x / 3)}, np.array([0.1, 0.2], "float32")),
        ({"half": lambda x: tf.cast(tf.cast(x, tf.float16) * 0.1, tf.float32)}, normal(5)),
    ],
    ids=["images", "volumes", "rows", "chaotic", "constants", "mask", "half"],
)
def test_the_readings_of_a_right_converter_agree(functions, x):
    run = Float64Run(traced_functions(functions, x=x))
    expected = {name: tf.function(function)(tf.constant(x)).numpy() for name, function in functions.items()}
    assert run.run({"x": x}, expected)
    assert (run.fault, run.no_witness, run.no_truth) == ("", "", "")


REFUSED = {
    "ResizeBicubic": (lambda x: tf.raw_ops.ResizeBicubic(images=x, size=[3, 3]), "works in float32 alone"),
    "AdjustContrastv2": (lambda x: tf.image.adjust_contrast(x, 0.3), "works in float32 alone"),
}


@GROUP
@pytest.mark.parametrize("op", REFUSED)
@pytest.mark.parametrize("inside", [False, True])
def test_an_operator_without_a_float64_form_is_named(op, inside):
    function, why = REFUSED[op]
    within = (lambda x: tf.cond(x[0, 0, 0, 0] > 0, lambda: function(x), lambda: function(x))) if inside else function
    run = Float64Run(traced_function(within, x=IMAGE))
    assert f"operator {op} {why}" in (run.no_witness or run.no_truth)


@GROUP
def test_a_model_without_a_program_has_the_graph_for_truth():
    x = normal(4, 4)
    run = Float64Run(traced_function(lambda x: tf.linalg.inv(x) * 0.2, x=x))
    found = run.run({"x": x}, {"y": np.zeros((4, 4), "float32")})["y"]
    np.testing.assert_allclose(found @ x.astype("float64"), 0.2 * np.eye(4), rtol=0, atol=1e-12)
    assert "MatrixInverse" in run.no_witness
    assert (run.fault, run.no_truth) == ("", "")


def test_where_the_source_has_no_number_nothing_is_compared():
    wanted = {"y": np.array([1.0, 2.0, np.inf, 1e60]), "ids": np.array([1, 2])}
    found = {"y": np.array([9.0, np.nan, np.nan, 0.0]), "ids": np.array([1, 3])}
    source = {"y": np.array([1.0, np.nan, 5.0, 6.0], "float32"), "ids": np.array([1, 2])}
    kept = where_numbers(found, wanted, source)
    np.testing.assert_array_equal(kept["y"], [9.0, 2.0, np.inf, 1e60])
    np.testing.assert_array_equal(kept["ids"], [1, 3])
