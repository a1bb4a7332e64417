"""Pictures: colours, and sizes that are weighted sums; N batch, H height, W width, C channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from rnnexport.compat.tensorflow import smart_constant_value
from rnnexport.conversion.forms.values import Form, Tensor, Value


def _scaled(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value] | None:
    """ScaleAndTranslate: a product with a matrix for each axis, made by TensorFlow's own kernel of the unit matrix."""
    x_NHWC, *given = inputs
    wanted, factors, moves = map(smart_constant_value, given)
    if wanted is None or factors is None or moves is None or None in x_NHWC.shape[1:]:
        return None
    options = {"kernel_type": operation.get_attr("kernel_type").decode(), "antialias": operation.get_attr("antialias")}

    def resized(unit: np.ndarray, axis: int) -> Tensor:
        return tf.raw_ops.ScaleAndTranslate(
            images=unit, size=[wanted[axis], 1], scale=[factors[axis], 1.0], translation=[moves[axis], 0.0], **options
        )

    return [resampled(x_NHWC, resized)]


def resampled(x_NHWC: Tensor, resized: Callable[[np.ndarray, int], Tensor]) -> Tensor:
    """A picture whose rows and columns are weighted sums, by what becomes of the columns of a unit matrix."""
    H, W, C = map(int, x_NHWC.shape[1:])
    rows_hH, columns_wW = (_weights(size, axis, resized) for axis, size in enumerate((H, W)))
    x = tf.matmul(rows_hH, tf.reshape(tf.cast(x_NHWC, tf.float32), [-1, H, W * C]))
    x = tf.matmul(columns_wW, tf.reshape(x, [-1, W, C]))
    return tf.reshape(x, [-1, len(rows_hH), len(columns_wW), C])


def _weights(length: int, axis: int, resized: Callable[[np.ndarray, int], Tensor]) -> np.ndarray:
    with tf.init_scope():
        found: np.ndarray = resized(np.eye(length, dtype=np.float32)[None, :, None, :], axis).numpy()
    return found[0, :, 0]


def _hsv(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """RGBToHSV, with TensorFlow's order of the colours where two are largest."""
    del operation
    (rgb,) = inputs
    r, g, b = tf.unstack(rgb, 3, axis=-1)
    value = tf.reduce_max(rgb, -1)
    span = value - tf.reduce_min(rgb, -1)
    one, zero = tf.ones_like(value), tf.zeros_like(value)
    saturation = tf.where(value > 0.0, span / tf.where(value > 0.0, value, one), zero)
    norm = 1.0 / (6.0 * tf.where(span > 0.0, span, one))
    hue = tf.where(
        tf.equal(r, value),
        norm * (g - b),
        tf.where(tf.equal(g, value), norm * (b - r) + 2.0 / 6.0, norm * (r - g) + 4.0 / 6.0),
    )
    hue = tf.where(span > 0.0, hue, zero)
    return [tf.stack([tf.where(hue < 0.0, hue + 1.0, hue), saturation, value], -1)]


def _rgb(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """HSVToRGB."""
    del operation
    (hsv,) = inputs
    hue, saturation, value = tf.unstack(hsv, 3, axis=-1)
    h6 = hue * 6.0
    parts = [tf.abs(h6 - 3.0) - 1.0, 2.0 - tf.abs(h6 - 2.0), 2.0 - tf.abs(h6 - 4.0)]
    shares = [tf.clip_by_value(part, 0.0, 1.0) for part in parts]
    return [tf.stack([((1.0 - saturation) + saturation * share) * value for share in shares], -1)]


FORMS: Mapping[str, Form] = {"HSVToRGB": _rgb, "RGBToHSV": _hsv, "ScaleAndTranslate": _scaled}
