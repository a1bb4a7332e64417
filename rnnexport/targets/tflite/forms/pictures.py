"""Operators on pictures and volumes: pools in three dimensions, patches, bicubic sizes, colours."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from rnnexport.targets.tflite.forms.form import Form, Operation, fixed, known, reshaped, sizes


def _pool(pool: Callable[..., tf.Tensor]) -> Form:
    """In the plane, then along the depth: each plane of a box holds equally many values."""

    def form(operation: Operation, x_NDHWC: tf.Tensor) -> tf.Tensor | None:
        if operation.get_attr("data_format") != b"NDHWC" or not fixed(x_NDHWC, 1, 2, 3, 4):
            return None
        sizes, strides = operation.get_attr("ksize"), operation.get_attr("strides")
        padding = operation.get_attr("padding").decode()
        D, H, W, C = map(int, x_NDHWC.shape[1:])
        flat = tf.reshape(x_NDHWC, [-1, H, W, C])
        plane = pool(flat, [1, *sizes[2:4], 1], [1, *strides[2:4], 1], padding=padding)
        H, W = map(int, plane.shape[1:3])
        columns = tf.reshape(plane, [-1, D, H * W, C])
        column = pool(columns, [1, sizes[1], 1, 1], [1, strides[1], 1, 1], padding=padding)
        return tf.reshape(column, [-1, int(column.shape[1]), H, W, C])

    return form


def _bicubic(operation: Operation, x_NHWC: tf.Tensor, size: tf.Tensor) -> tf.Tensor | None:
    """A product with a matrix for each axis, made by TensorFlow's own kernel of the unit matrix."""
    wanted = known(size)
    if wanted is None or not fixed(x_NHWC, 1, 2, 3):
        return None
    options = {key: operation.get_attr(key) for key in ("align_corners", "half_pixel_centers")}

    def resized(unit: np.ndarray, axis: int) -> tf.Tensor:
        return tf.raw_ops.ResizeBicubic(images=unit, size=[wanted[axis], 1], **options)

    return _resampled(x_NHWC, resized)


def _scaled(
    operation: Operation, x_NHWC: tf.Tensor, size: tf.Tensor, scale: tf.Tensor, translation: tf.Tensor
) -> tf.Tensor | None:
    """ScaleAndTranslate, in the same way."""
    wanted, factors, moves = known(size), known(scale), known(translation)
    if wanted is None or factors is None or moves is None or not fixed(x_NHWC, 1, 2, 3):
        return None
    options = {"kernel_type": operation.get_attr("kernel_type").decode(), "antialias": operation.get_attr("antialias")}

    def resized(unit: np.ndarray, axis: int) -> tf.Tensor:
        return tf.raw_ops.ScaleAndTranslate(
            images=unit, size=[wanted[axis], 1], scale=[factors[axis], 1.0], translation=[moves[axis], 0.0], **options
        )

    return _resampled(x_NHWC, resized)


def _resampled(x_NHWC: tf.Tensor, resized: Callable[[np.ndarray, int], tf.Tensor]) -> tf.Tensor:
    """A picture whose rows and columns are weighted sums, by what becomes of the columns of a unit matrix."""
    rows_hH, columns_wW = (_weights(int(x_NHWC.shape[axis + 1]), axis, resized) for axis in (0, 1))
    N, H, W, C = sizes(tf.cast(x_NHWC, tf.float32))
    x = tf.matmul(rows_hH, reshaped(tf.cast(x_NHWC, tf.float32), [N, H, W * C]))
    x = tf.matmul(columns_wW, tf.reshape(x, [-1, W, C]))
    return tf.reshape(x, [-1, len(rows_hH), len(columns_wW), C])


def _weights(length: int, axis: int, resized: Callable[[np.ndarray, int], tf.Tensor]) -> np.ndarray:
    with tf.init_scope():
        found: np.ndarray = resized(np.eye(length, dtype=np.float32)[None, :, None, :], axis).numpy()
    return found[0, :, 0]


def _hsv(operation: Operation, rgb: tf.Tensor) -> tf.Tensor:
    """RGBToHSV, with TensorFlow's order of the colours where two are largest."""
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
    return tf.stack([tf.where(hue < 0.0, hue + 1.0, hue), saturation, value], -1)


def _rgb(operation: Operation, hsv: tf.Tensor) -> tf.Tensor:
    """HSVToRGB."""
    hue, saturation, value = tf.unstack(hsv, 3, axis=-1)
    h6 = hue * 6.0
    parts = [tf.abs(h6 - 3.0) - 1.0, 2.0 - tf.abs(h6 - 2.0), 2.0 - tf.abs(h6 - 4.0)]
    shares = [tf.clip_by_value(part, 0.0, 1.0) for part in parts]
    return tf.stack([((1.0 - saturation) + saturation * share) * value for share in shares], -1)


PICTURES: Mapping[str, Form] = {
    "AvgPool3D": _pool(tf.nn.avg_pool2d),
    "HSVToRGB": _rgb,
    "MaxPool3D": _pool(tf.nn.max_pool2d),
    "RGBToHSV": _hsv,
    "ResizeBicubic": _bicubic,
    "ScaleAndTranslate": _scaled,
}
