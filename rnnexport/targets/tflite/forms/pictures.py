"""Operators on pictures and volumes: pools in three dimensions, bicubic sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from rnnexport.conversion.forms.arrays import resampled
from rnnexport.targets.tflite.forms.form import Form, Operation, fixed, known


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

    return resampled(x_NHWC, resized)


PICTURES: Mapping[str, Form] = {
    "AvgPool3D": _pool(tf.nn.avg_pool2d),
    "MaxPool3D": _pool(tf.nn.max_pool2d),
    "ResizeBicubic": _bicubic,
}
