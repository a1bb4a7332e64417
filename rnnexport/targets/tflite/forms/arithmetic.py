"""Operators whose own forms in TFLite overflow, or lose small results.

softplus(x)   log(1 + exp(x)) there, infinite from 89 on and 0 below -17
log1p(x)      log(1 + x), expm1(x)  exp(x) - 1: no digit left of an x of 1e-8
rsqrt(0)      NaN in XNNPACK, and with it a normalised row of zeros
x // y        refused by the kernel for a y of 0, of floats too
isinf(x)      compares with the largest finite number, which the converter makes of every infinity
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from rnnexport.targets.tflite.forms.form import Form, on_floats


def log1p(x: tf.Tensor) -> tf.Tensor:
    """Where x is small, by the series of 2 * atanh(x / (2 + x)): the logarithm of LiteRT is 6% off next to 1."""
    part = x / (x + 2.0)
    square = part * part
    near = 2.0 * part * (1.0 + square * (1.0 / 3.0 + square * (1.0 / 5.0 + square / 7.0)))
    return tf.where(tf.abs(x) < 0.1, near, tf.math.log(x + 1.0))


def expm1(x: tf.Tensor) -> tf.Tensor:
    """By the hyperbolic tangent, which keeps the digits of a small x."""
    return tf.tanh(0.5 * x) * (tf.exp(x) + 1.0)


def _softplus(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu(x) + log1p(tf.exp(-tf.abs(x)))


def _rsqrt(x: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.equal(x, 0.0), 1.0 / x, tf.math.rsqrt(x))


def _floor_div(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return tf.floor(x / y)


def _is_inf(x: tf.Tensor) -> tf.Tensor:
    return tf.abs(x) > x.dtype.max


def _xlog1py(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.equal(x, 0.0), tf.zeros_like(x * y), x * log1p(y))


def _truncate_mod(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """By the remainder of the divisor's sign, which is exact, of sizes; whole numbers have one without a size."""
    if x.dtype.is_floating:
        found = tf.math.floormod(tf.abs(x), tf.abs(y))
        return tf.where(x < 0.0, -found, found)
    found = tf.math.floormod(x, y)
    zero = tf.zeros_like(found)
    other = tf.logical_and(tf.not_equal(found, zero), tf.not_equal(x < zero, found < zero))
    return tf.where(other, found - y, found)


ARITHMETIC: Mapping[str, Form] = {
    "Expm1": on_floats(expm1),
    "FloorDiv": on_floats(_floor_div),
    "IsInf": on_floats(_is_inf),
    "Log1p": on_floats(log1p),
    "Mod": lambda operation, x, y: _truncate_mod(x, y),
    "Rsqrt": on_floats(_rsqrt),
    "Softplus": on_floats(_softplus),
    "TruncateMod": lambda operation, x, y: _truncate_mod(x, y),
    "Xlog1py": on_floats(_xlog1py),
}
