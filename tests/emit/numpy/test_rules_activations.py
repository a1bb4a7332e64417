"""Activation functions beside ONNX Runtime, and in float64 and at their ends beside their formulas."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest

from rnnexport.emit.numpy.operators import networks
from tests.emit.numpy.rendering import (
    NOTHING,
    RANKS,
    SHAPES,
    Node,
    check,
    drawn,
    evaluated,
    float32,
    onnx_runtime,
    text_of,
    written,
)

KNOWN = (SHAPES, RANKS, NOTHING)
ENDS = float32(-np.inf, -1e4, -104, -89, -20, -0.5, -0.0, 0, 0.25, 3, 20, 89, 1e4, np.inf, np.nan)
INPUTS = (ENDS, drawn(3, 5, 4), drawn(3, 5, 4, low=-30.0, high=30.0), np.zeros((0, 3), np.float32), drawn())
# Attributes that float32 holds exactly: ONNX Runtime computes in float64 with what float32 has of them.
WRITTEN = [
    ("Elu", {}, "elu(x0, 1.0)"),
    ("Elu", {"alpha": 0.75}, "elu(x0, 0.75)"),
    ("HardSigmoid", {"alpha": 0.25, "beta": -0.5}, "np.clip(0.25 * x0 - 0.5, 0, 1)"),
    ("HardSigmoid", {"alpha": 1.0, "beta": 0.0}, "np.clip(x0, 0, 1)"),
    ("LeakyRelu", {"alpha": 0.25}, "leaky_relu(x0, 0.25)"),
    ("Relu", {}, "np.maximum(x0, 0)"),
    ("Selu", {"alpha": 1.25, "gamma": 1.5}, "1.5 * elu(x0, 1.25)"),
    ("Selu", {"alpha": 1.25, "gamma": 1.0}, "elu(x0, 1.25)"),
    ("Sigmoid", {}, "sigmoid(x0)"),
    ("Softsign", {}, "softsign(x0)"),
    ("Tanh", {}, "np.tanh(x0)"),
]


@pytest.mark.parametrize(("op", "attributes", "text"), WRITTEN)
def test_an_activation_gives_what_onnx_runtime_gives(op, attributes, text):
    for x in INPUTS:
        for (expression,) in check(op, x, attributes=attributes, known=KNOWN, rtol=1e-6, atol=1e-7):
            assert expression.text == text


def test_attributes_have_their_shortest_decimal_form():
    assert text_of("LeakyRelu", drawn(2), attributes={"alpha": 0.2}) == "leaky_relu(x0, 0.2)"
    assert text_of("LeakyRelu", drawn(2)) == "leaky_relu(x0, 0.01)"
    assert text_of("HardSigmoid", drawn(2)) == "np.clip(0.2 * x0 + 0.5, 0, 1)"
    assert text_of("HardSigmoid", drawn(2), attributes={"alpha": 1 / 6}) == "np.clip((1 / 6) * x0 + 0.5, 0, 1)"


def values(op, x, dtype, attributes=None):
    node = Node(op, (x.astype(dtype),), attributes or {})
    (value,) = evaluated(written(node), {"x0": x.astype(dtype)}, dtype)
    assert value.dtype == dtype
    return value


def beside_formula(op, formula, attributes=None):
    """In float32 beside ONNX Runtime, in float64 beside a formula of Python's numbers."""
    x = drawn(50, low=-12.0, high=12.0)
    (answer,) = onnx_runtime(Node(op, (x,), attributes or {}))
    np.testing.assert_allclose(values(op, x, np.float32, attributes), answer, rtol=1e-5, atol=1e-7)
    exact = [formula(float(item)) for item in x]
    np.testing.assert_allclose(values(op, x, np.float64, attributes), exact, rtol=1e-15, atol=1e-18)


def test_selu_has_the_constants_that_float32_rounds():
    scale, alpha = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
    beside_formula("Selu", lambda x: scale * (x if x > 0 else alpha * math.expm1(x)))
    named = {"alpha": float(np.float32(alpha)), "gamma": float(np.float32(scale))}
    beside_formula("Selu", lambda x: scale * (x if x > 0 else alpha * math.expm1(x)), attributes=named)
    assert text_of("Selu", drawn(2)) == "1.0507009873554805 * elu(x0, 1.6732632423543772)"


def test_softplus_has_its_digits_at_both_ends():
    beside_formula("Softplus", lambda x: math.log1p(math.exp(x)))
    ends = np.array([-1e4, -700.0, -100.0, 100.0, 700.0, 1e4, -np.inf, np.inf])
    exact = [0.0, math.exp(-700), math.exp(-100), 100.0, 700.0, 1e4, 0.0, np.inf]
    np.testing.assert_allclose(values("Softplus", ends, np.float64), exact, rtol=1e-15)
    assert np.isnan(values("Softplus", float32(np.nan), np.float32)).all()


def exact_sigmoid(x):
    with localcontext() as context:
        context.prec = 40
        return 1 / (1 + (-Decimal(float(x))).exp())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_sigmoid_is_right_to_few_last_digits_everywhere(dtype):
    end = {np.float16: 9, np.float32: 87, np.float64: 708}[dtype]
    x = np.concatenate([np.linspace(-end, end, 801), np.linspace(-end / 9, end / 9, 401)]).astype(dtype)
    with np.errstate(all="raise"):
        y = networks.sigmoid(x)
    assert y.dtype == dtype
    for value, at in zip(y, x, strict=True):
        exact = exact_sigmoid(at)
        assert abs(Decimal(float(value)) - exact) <= 3 * Decimal(float(np.finfo(dtype).eps)) * exact


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_sigmoid_neither_warns_nor_leaves_its_range(dtype):
    ends = np.array([-np.inf, -6e4, -800, -100, 100, 800, 6e4, np.inf, np.nan], dtype)
    with np.errstate(all="raise", under="ignore"):
        y = networks.sigmoid(ends)
    tiny = np.exp(np.array([-800, -100], dtype))
    np.testing.assert_array_equal(y, [0, 0, *tiny, 1, 1, 1, 1, np.nan])
    np.testing.assert_array_equal(ends[[0, -1]], [-np.inf, np.nan])


def test_the_sigmoid_keeps_denormal_numbers():
    assert networks.sigmoid(float32(-100))[0] == np.exp(float32(-100))[0] > 0


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_along_an_axis(op, axis):
    for x in (drawn(3, 5, 4), drawn(3, 5, 4, low=-1e4, high=1e4), np.zeros((0, 3, 2), np.float32)):
        found = check(op, x, attributes={"axis": axis}, known=KNOWN, rtol=2e-6, atol=1e-6)
        name = {"Softmax": "softmax", "LogSoftmax": "log_softmax"}[op]
        assert found[0][0].text == (f"{name}(x0)" if axis in (2, -1) else f"{name}(x0, axis={axis % 3})")


def test_the_last_axis_needs_no_word():
    assert text_of("Softmax", drawn(3, 4)) == "softmax(x0)"
    assert text_of("Softmax", drawn(4), attributes={"axis": 0}) == "softmax(x0)"


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_rows_without_a_finite_element(op):
    check(op, float32([-np.inf] * 3, [-np.inf, 0, -np.inf], [-1e4, 1e4, 0]), rtol=1e-6)
    assert np.isnan(values(op, float32([np.nan, 0, 1]), np.float32)).all()
    check(op, np.zeros((3, 0), np.float32))


def test_a_softmax_in_float64_is_the_fractions():
    x = np.log(np.arange(1.0, 8.0))
    exact = [float(Fraction(i, 28)) for i in range(1, 8)]
    np.testing.assert_allclose(values("Softmax", x, np.float64), exact, rtol=1e-15)
    np.testing.assert_allclose(values("LogSoftmax", x + 1e4, np.float64), np.log(exact), rtol=1e-11)


def test_no_activation_changes_what_it_is_given():
    x = drawn(3, 4, seed=5)
    for function in (networks.sigmoid, networks.softmax, networks.log_softmax):
        before = x.copy()
        function(x)
        np.testing.assert_array_equal(x, before)
