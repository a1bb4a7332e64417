"""Circular and hyperbolic functions: LiteRT has sin, cos, tanh and atan2."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from rnnexport.targets.tflite.forms.arithmetic import expm1, log1p
from rnnexport.targets.tflite.forms.form import Form, on_floats

_HUGE = 1e9  # of which 1 is no part in float32, and whose square is finite
_LN2 = float(np.log(2))


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


ANGLES: Mapping[str, Form] = {
    "Acos": on_floats(_acos),
    "Acosh": on_floats(_acosh),
    "Asin": on_floats(_asin),
    "Asinh": on_floats(_asinh),
    "Atan": on_floats(_atan),
    "Atanh": on_floats(_atanh),
    "Cosh": on_floats(_cosh),
    "Sinh": on_floats(_sinh),
    "Tan": on_floats(_tan),
}
