"""Operators on bits: LiteRT has exclusive or, and shifts to the right.

and       of the halves h = x >> 1: 2 (h & k) = (h + k) - (h ^ k), and the last bits by their product
or        (x ^ y) + (x & y)
not       -1 - x
x << y    x * 2^y
The sign bit of a float, which `keras.ops.argmax` asks for, is that of x and of 1 / x.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from rnnexport.targets.tflite.forms.form import Form, Operation, known

_SIGN_BIT = -(2**31)
_WIDTHS = {tf.int8: 8, tf.int16: 16, tf.int32: 32}


def _and(operation: Operation, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor | None:
    for bits, mask in ((x, y), (y, x)):
        if bits.op.type == "Bitcast" and bits.op.inputs[0].dtype == tf.float32 and _is_sign_bit(mask):
            return _sign_bit(bits.op.inputs[0])
    return _both(x, y) if x.dtype in _WIDTHS else None


def _is_sign_bit(mask: tf.Tensor) -> bool:
    found = known(mask)
    return found is not None and bool((found == _SIGN_BIT).all())


def _sign_bit(x: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.logical_or(x < 0.0, 1.0 / x < 0.0), _SIGN_BIT, 0)


def _both(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    one = tf.ones_like(x[:0], shape=[]) if x.shape.rank is None else tf.constant(1, x.dtype)
    half_x, half_y = tf.bitwise.right_shift(x, one), tf.bitwise.right_shift(y, one)
    rest_x, rest_y = x - half_x - half_x, y - half_y - half_y
    return half_x + half_y - tf.bitwise.bitwise_xor(half_x, half_y) + rest_x * rest_y


def _or(operation: Operation, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor | None:
    return tf.bitwise.bitwise_xor(x, y) + _both(x, y) if x.dtype in _WIDTHS else None


def _not(operation: Operation, x: tf.Tensor) -> tf.Tensor | None:
    return -1 - x if x.dtype in _WIDTHS else None


def _left(operation: Operation, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor | None:
    if x.dtype != tf.int32:
        return None
    powers = (np.int64(1) << np.arange(_WIDTHS[x.dtype])).astype(np.uint32).view(np.int32)
    return x * tf.gather(tf.constant(powers), tf.clip_by_value(y, 0, len(powers) - 1))


BITS: Mapping[str, Form] = {
    "BitwiseAnd": _and,
    "BitwiseOr": _or,
    "Invert": _not,
    "LeftShift": _left,
}
