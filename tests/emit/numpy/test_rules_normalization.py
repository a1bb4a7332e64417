"""Normalizations: beside ONNX Runtime, and in float64 beside their formulas."""

from __future__ import annotations

import numpy as np
import pytest

from tests.emit.numpy.rendering import NOTHING, RANKS, SHAPES, Node, check, drawn, evaluated, refused, written

KNOWN = (SHAPES, RANKS, NOTHING)
NEAR = {"rtol": 1e-5, "atol": 1e-5}
EPSILON = {"epsilon": 0.25}  # which float32 holds exactly


def in_float64(op, *inputs, **attributes):
    node = Node(op, tuple(inputs), attributes)
    (value,) = evaluated(written(node), {f"x{at}": array for at, array in enumerate(inputs)}, np.float64)
    assert value.dtype == np.float64
    return value


def doubles(*shape, seed=0, low=-2.0):
    return drawn(*shape, seed=seed, dtype=np.float64, low=low)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5), (0, 3, 4)])
def test_by_learned_statistics(shape):
    vectors = [drawn(3, seed=seed) for seed in (1, 2, 3)] + [drawn(3, seed=4, low=0.1)]
    found = check("BatchNormalization", drawn(*shape), *vectors, attributes=EPSILON, known=KNOWN, **NEAR)
    assert {expression.text for (expression,) in found} == {"batch_normalize(x0, x1, x2, x3, x4, 0.25)"}


def test_an_epsilon_is_the_decimal_that_was_meant():
    vectors = [doubles(3, seed=seed) for seed in (1, 2, 3)] + [np.array([1e-4, 2e-4, 3e-4])]
    x = doubles(2, 3, 5)
    scale, bias, mean, variance = (vector[:, None] for vector in vectors)
    told = in_float64("BatchNormalization", x, *vectors, epsilon=float(np.float32(0.001)))
    np.testing.assert_allclose(told, (x - mean) / np.sqrt(variance + 0.001) * scale + bias, rtol=1e-13, atol=1e-13)
    default = in_float64("BatchNormalization", x, *vectors)
    np.testing.assert_allclose(default, (x - mean) / np.sqrt(variance + 1e-5) * scale + bias, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 4, 5)])
def test_every_channel_by_itself(shape):
    vectors = drawn(3, seed=1), drawn(3, seed=2)
    check("InstanceNormalization", drawn(*shape), *vectors, attributes=EPSILON, known=KNOWN, **NEAR)
    x, wide = doubles(*shape), [vector.astype(np.float64) for vector in vectors]
    y = in_float64("InstanceNormalization", x, *wide, **EPSILON)
    for row, channel in np.ndindex(2, 3):
        part = x[row, channel]
        formula = (part - part.mean()) / np.sqrt(part.var() + 0.25) * wide[0][channel] + wide[1][channel]
        np.testing.assert_allclose(y[row, channel], formula, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_by_neighbouring_channels(size):
    attributes = {"size": size, "alpha": 0.5, "beta": 0.75, "bias": 2.0}
    check("LRN", drawn(2, 7, 3, 4), attributes=attributes, known=KNOWN, **NEAR)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_neighbouring_channels_in_float64(size):
    x = doubles(2, 7, 3)
    y = in_float64("LRN", x, size=size, alpha=0.5, beta=0.75, bias=2.0)
    for channel in range(7):
        first, last = max(0, channel - (size - 1) // 2), min(7, channel + size // 2 + 1)
        squares = (x[:, first:last] ** 2).sum(axis=1)
        np.testing.assert_allclose(y[:, channel], x[:, channel] / (2 + 0.5 / size * squares) ** 0.75, rtol=1e-13)


def test_a_mean_far_from_zero_costs_no_digits():
    x = 1e4 + drawn(2, 3, 50)
    y = Node("InstanceNormalization", (x, np.ones(3, np.float32), np.zeros(3, np.float32)), {"epsilon": 1e-5})
    (value,) = evaluated(written(y), {f"x{at}": array for at, array in enumerate(y.inputs)}, np.float32)
    wide = x.astype(np.float64)
    exact = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(value, exact, atol=2e-3)


def test_what_is_not_written():
    x, vector = drawn(2, 3, 5), drawn(3)
    training = {"training_mode": 1}
    assert refused("BatchNormalization", x, *[vector] * 4, attributes=training, outputs=3) == "in training"
