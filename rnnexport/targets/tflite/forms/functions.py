"""Functions of numbers that LiteRT lacks, or whose own forms in TFLite overflow or lose small results.

softplus(x)   log(1 + exp(x)) there, infinite from 89 on and 0 below -17
log1p(x)      log(1 + x), expm1(x)  exp(x) - 1: no digit left of an x of 1e-8
rsqrt(0)      NaN in XNNPACK, and with it a normalised row of zeros
x // y        refused by the kernel for a y of 0, of floats too
isinf(x)      compares with the largest finite number, which the converter makes of every infinity
erf, erfc     by the approximations of Eigen and XLA, and of Cephes; coefficients are those of single precision, the
              highest power first

Of circular and hyperbolic functions LiteRT has sin, cos, tanh and atan2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from rnnexport.targets.tflite.forms.form import Form, on_floats

_HUGE = 1e9  # of which 1 is no part in float32, and whose square is finite
_LN2 = float(np.log(2))
# erf(x) = x P(x^2) / Q(x^2) for |x| < 4 (Eigen, XLA): 1 to float32 from there on.
_ERF_P = (
    *(-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05),
    *(-7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02),
)
_ERF_Q = (
    *(-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03),
    -1.42647390514189e-02,
)
# erfc(x) = exp(-x^2) / x P(1 / x^2) for 1 <= x < 2, and with R from 2 on (Cephes).
_ERFC_P = (
    *(2.326819970068386e-2, -1.387039388740657e-1, 3.687424674597105e-1, -5.824733027278666e-1),
    *(6.210004621745983e-1, -4.944515323274145e-1, 3.404879937665872e-1, -2.741127028184656e-1, 5.638259427386472e-1),
)
_ERFC_R = (
    *(-1.047766399936249e1, 1.297719955372516e1, -7.495518717768503, 2.921019019210786),
    *(-1.015265279202700, 4.218463358204948e-1, -2.820767439740514e-1, 5.641895067754075e-1),
)


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


def _atan(x: tf.Tensor) -> tf.Tensor:
    return tf.math.atan2(x, tf.ones_like(x))


def _asin(x: tf.Tensor) -> tf.Tensor:
    return tf.math.atan2(x, tf.sqrt((1.0 - x) * (1.0 + x)))


def _acos(x: tf.Tensor) -> tf.Tensor:
    return tf.math.atan2(tf.sqrt((1.0 - x) * (1.0 + x)), x)


def _tan(x: tf.Tensor) -> tf.Tensor:
    return tf.sin(x) / tf.cos(x)


def _sinh(x: tf.Tensor) -> tf.Tensor:
    """(e + e / (e + 1)) / 2 with e = exp(x) - 1 near 0; past 1 the root of exp(x) twice, which is finite for longer."""
    size = tf.abs(x)
    small = expm1(tf.minimum(size, 1.0))
    near = 0.5 * (small + small / (small + 1.0))
    root = tf.exp(0.5 * size)
    found = tf.where(size < 1.0, near, 0.5 * root * root - 0.5 / root / root)
    return tf.where(x < 0.0, -found, found)


def _cosh(x: tf.Tensor) -> tf.Tensor:
    root = tf.exp(0.5 * tf.abs(x))
    return 0.5 * root * root + 0.5 / root / root


def _asinh(x: tf.Tensor) -> tf.Tensor:
    size = tf.abs(x)
    within = tf.minimum(size, _HUGE)
    square = within * within
    near = log1p(within + square / (1.0 + tf.sqrt(1.0 + square)))
    found = tf.where(size < _HUGE, near, tf.math.log(size) + _LN2)
    return tf.where(x < 0.0, -found, found)


def _acosh(x: tf.Tensor) -> tf.Tensor:
    part = tf.minimum(x, _HUGE) - 1.0
    return tf.where(x < _HUGE, log1p(part + tf.sqrt(part * (part + 2.0))), tf.math.log(x) + _LN2)


def _atanh(x: tf.Tensor) -> tf.Tensor:
    size = tf.abs(x)
    found = 0.5 * log1p(2.0 * size / (1.0 - size))
    return tf.where(x < 0.0, -found, found)


def _polynomial(x: tf.Tensor, coefficients: Sequence[float]) -> tf.Tensor:
    found = tf.zeros_like(x)
    for coefficient in coefficients:
        found = found * x + coefficient
    return found


def _erf(x: tf.Tensor) -> tf.Tensor:
    within = tf.clip_by_value(x, -4.0, 4.0)
    square = within * within
    return tf.clip_by_value(within * _polynomial(square, _ERF_P) / _polynomial(square, _ERF_Q), -1.0, 1.0)


def _erfc(x: tf.Tensor) -> tf.Tensor:
    size = tf.maximum(tf.abs(x), 1.0)
    inverse = 1.0 / size
    square = inverse * inverse
    tail = tf.where(size < 2.0, _polynomial(square, _ERFC_P), _polynomial(square, _ERFC_R))
    tail = tf.exp(-size * size) * inverse * tail
    return tf.where(tf.abs(x) < 1.0, 1.0 - _erf(x), tf.where(x < 0.0, 2.0 - tail, tail))


FUNCTIONS: Mapping[str, Form] = {
    "Acos": on_floats(_acos),
    "Acosh": on_floats(_acosh),
    "Asin": on_floats(_asin),
    "Asinh": on_floats(_asinh),
    "Atan": on_floats(_atan),
    "Atanh": on_floats(_atanh),
    "Cosh": on_floats(_cosh),
    "Erf": on_floats(_erf),
    "Erfc": on_floats(_erfc),
    "Expm1": on_floats(expm1),
    "FloorDiv": on_floats(_floor_div),
    "IsInf": on_floats(_is_inf),
    "Log1p": on_floats(log1p),
    "Mod": lambda operation, x, y: _truncate_mod(x, y),
    "Rsqrt": on_floats(_rsqrt),
    "Sinh": on_floats(_sinh),
    "Softplus": on_floats(_softplus),
    "Tan": on_floats(_tan),
    "TruncateMod": lambda operation, x, y: _truncate_mod(x, y),
    "Xlog1py": on_floats(_xlog1py),
}
