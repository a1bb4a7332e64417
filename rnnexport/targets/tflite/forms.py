"""Operators written another way in front of the TFLite converter, whose own forms overflow, or lose small results.

softplus(x)   log(1 + exp(x)) there, infinite from 89 on and 0 below -17
log1p(x)      log(1 + x), expm1(x)  exp(x) - 1: no digit left of an x of 1e-8
rsqrt(0)      NaN in XNNPACK, and with it a normalised row of zeros
x // y        refused by the kernel for a y of 0, of floats too
isinf(x)      compares with the largest finite number, which the converter makes of every infinity
the sign bit  there are no operators on bits; `keras.ops.argmax` asks for it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

Form = Callable[..., tf.Tensor]


def _log1p(x: tf.Tensor) -> tf.Tensor:
    """Where x is small, by the series of 2 * atanh(x / (2 + x)): the logarithm of LiteRT is 6% off next to 1."""
    part = x / (x + 2.0)
    square = part * part
    near = 2.0 * part * (1.0 + square * (1.0 / 3.0 + square * (1.0 / 5.0 + square / 7.0)))
    return tf.where(tf.abs(x) < 0.1, near, tf.math.log(x + 1.0))


def _expm1(x: tf.Tensor) -> tf.Tensor:
    return tf.tanh(0.5 * x) * (tf.exp(x) + 1.0)


def _softplus(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu(x) + _log1p(tf.exp(-tf.abs(x)))


def _rsqrt(x: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.equal(x, 0.0), 1.0 / x, tf.math.rsqrt(x))


def _floor_div(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return tf.floor(x / y)


def _is_inf(x: tf.Tensor) -> tf.Tensor:
    return tf.abs(x) > x.dtype.max


def _sign_bit(x: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.logical_or(x < 0.0, 1.0 / x < 0.0), SIGN_BIT, 0)


def _xlog1py(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.equal(x, 0.0), tf.zeros_like(x * y), x * _log1p(y))


SIGN_BIT = -(2**31)
# BitwiseAnd(Bitcast(x), 0x80000000), which is no operator of TensorFlow by itself.
READS_SIGN = "SignBit"
FORMS: Mapping[str, Form] = {
    "Expm1": _expm1,
    "FloorDiv": _floor_div,
    "IsInf": _is_inf,
    "Log1p": _log1p,
    "Rsqrt": _rsqrt,
    READS_SIGN: _sign_bit,
    "Softplus": _softplus,
    "Xlog1py": _xlog1py,
}
