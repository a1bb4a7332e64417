"""Operators that TensorFlow computes in float32 alone, or with a number kept in float32, by others that it does not.

Each follows the definition of the operator, not the order in which a kernel sums. Letters of shapes: N batch, D depth,
H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.compat.tensorflow import types_pb2

Tensor = Any
Body = Callable[..., list[Tensor]]
Attributes = Mapping[str, Any]
# Gives what a number that is kept in float32 means.
Meaning = Callable[[np.ndarray], np.ndarray]
Maker = Callable[[Attributes, Meaning], Body | None]


def elementary(op: str, attributes: Attributes, meaning: Meaning) -> Body | None:
    """What computes the same as an operator, from its inputs in float64 to all its outputs.

    Args:
        op: the operator's name.
        attributes: the `AttrValue` of each of its attributes, defaults included.
        meaning: of a float among them.

    Returns:
        A function of tensors, to be traced; None where there is none for these attributes.
    """
    make = _MAKERS.get(op)
    return make(attributes, meaning) if make else None


def _batch_norm(results: int) -> Maker:
    """FusedBatchNorm, with statistics that were learned or with those of the batch; its versions differ in `results`.

    The second kind is no training: Keras 2 normalises layers with it, each row as a channel.
    """

    def make(attributes: Attributes, meaning: Meaning) -> Body | None:
        epsilon, learned = _number(attributes, "epsilon", meaning), not attributes["is_training"].b
        channels_first = attributes["data_format"].s.startswith(b"NC")
        if not learned and "exponential_avg_factor" in attributes and attributes["exponential_avg_factor"].f != 1:
            return None

        def body(x: Tensor, scale_C: Tensor, offset_C: Tensor, mean_C: Tensor, variance_C: Tensor) -> list[Tensor]:
            axis = 1 if channels_first else tf.rank(x) - 1
            others = tf.concat([tf.range(axis), tf.range(axis + 1, tf.rank(x))], 0)

            def along(vector_C: Tensor) -> Tensor:
                return tf.reshape(vector_C, tf.concat([[-1], tf.ones([tf.rank(x) - 1 - axis], tf.int32)], 0))

            spread_C = variance_C
            if not learned:
                mean_C, spread_C = tf.reduce_mean(x, others), tf.math.reduce_variance(x, others)
                count = tf.cast(tf.size(x) // tf.size(mean_C), x.dtype)
                variance_C = spread_C * count / tf.maximum(count - 1, 1)
            y = (x - along(mean_C)) * along(scale_C / tf.sqrt(spread_C + epsilon)) + along(offset_C)
            # Then what training would need: statistics, and room for more.
            return [y, mean_C, variance_C, *[mean_C] * (results - 3)]

        return body

    return make


def _signs(attributes: Attributes, meaning: Meaning) -> Body | None:
    """The bits of a float32 as an int32, of which the first alone is used: the upper half of a float64 has the same."""
    if attributes["T"].type != types_pb2.DT_FLOAT or attributes["type"].type != types_pb2.DT_INT32:
        return None
    return lambda x: [tf.cast(tf.bitwise.right_shift(tf.bitcast(x, tf.int64), tf.constant(32, tf.int64)), tf.int32)]


def _local_response(attributes: Attributes, meaning: Meaning) -> Body:
    """LRN: x over a power of the sum of squares in a window of channels."""
    radius = attributes["depth_radius"].i
    bias, alpha, beta = (_number(attributes, key, meaning) for key in ("bias", "alpha", "beta"))

    def body(x_NHWC: Tensor) -> list[Tensor]:
        channels = tf.shape(x_NHWC)[-1]
        # A window wider than the channels holds them all; band_part takes no more than there are.
        reach = tf.minimum(radius, channels)
        window_CC = tf.linalg.band_part(tf.ones([channels, channels], tf.float64), reach, reach)
        sums_NHWC = tf.tensordot(tf.square(x_NHWC), window_CC, 1)
        return [x_NHWC * tf.pow(bias + alpha * sums_NHWC, -beta)]

    return body


def _leaky_relu(attributes: Attributes, meaning: Meaning) -> Body:
    """LeakyRelu keeps its slope in float32, whatever it computes in."""
    slope = _number(attributes, "alpha", meaning)
    return lambda x: [tf.where(x > 0, x, slope * x)]


def _number(attributes: Attributes, key: str, meaning: Meaning) -> float:
    return float(meaning(np.array(attributes[key].f, np.float32)))


def _pool(pool: Callable[..., Tensor]) -> Maker:
    """MaxPool3D and AvgPool3D: in the plane, then along the depth.

    The mean of a box is the mean of the means of its planes, since each plane of a box holds equally many values.
    """

    def make(attributes: Attributes, meaning: Meaning) -> Body | None:
        if attributes["data_format"].s != b"NDHWC":
            return None
        sizes, strides = (list(attributes[key].list.i) for key in ("ksize", "strides"))
        padding = attributes["padding"].s.decode()

        def body(x: Tensor) -> list[Tensor]:
            N, D, H, W, C = tf.unstack(tf.shape(x), 5)
            plane = pool(tf.reshape(x, [N * D, H, W, C]), [1, *sizes[2:4], 1], [1, *strides[2:4], 1], padding=padding)
            H, W = tf.shape(plane)[1], tf.shape(plane)[2]
            column = pool(
                tf.reshape(plane, [N, D, H * W, C]), [1, sizes[1], 1, 1], [1, strides[1], 1, 1], padding=padding
            )
            return [tf.reshape(column, [N, tf.shape(column)[1], H, W, C])]

        return body

    return make


def _resize_bilinear(attributes: Attributes, meaning: Meaning) -> Body:
    """ResizeBilinear: each pixel between the nearest two rows and columns of the image."""
    corners, centres = attributes["align_corners"].b, attributes["half_pixel_centers"].b

    def places(size: Tensor, wanted: Tensor) -> Tensor:
        """Where in `size` pixels each of `wanted` ones lies."""
        index = tf.range(tf.cast(wanted, tf.float64), dtype=tf.float64)
        size, wanted = tf.cast(size, tf.float64), tf.cast(wanted, tf.float64)
        if corners:
            return index * tf.where(wanted > 1, (size - 1) / tf.maximum(wanted - 1, 1), size / wanted)
        return (index + 0.5) * (size / wanted) - 0.5 if centres else index * (size / wanted)

    def resized(x: Tensor, axis: int, wanted: Tensor) -> Tensor:
        size = tf.shape(x)[axis]
        place = places(size, wanted)
        low = tf.maximum(tf.cast(tf.floor(place), tf.int32), 0)
        high = tf.minimum(tf.cast(tf.math.ceil(place), tf.int32), size - 1)
        share = tf.reshape(place - tf.floor(place), [-1] + [1] * (3 - axis))
        below, above = tf.gather(x, low, axis=axis), tf.gather(x, high, axis=axis)
        return below + (above - below) * share

    def body(images_NHWC: Tensor, sizes: Tensor) -> list[Tensor]:
        x = tf.cast(images_NHWC, tf.float64)
        return [resized(resized(x, 1, sizes[0]), 2, sizes[1])]

    return body


_MAKERS: dict[str, Maker] = {
    "Bitcast": _signs,
    "FusedBatchNorm": _batch_norm(5),
    "FusedBatchNormV2": _batch_norm(5),
    "FusedBatchNormV3": _batch_norm(6),
    "LeakyRelu": _leaky_relu,
    "LRN": _local_response,
    "MaxPool3D": _pool(tf.nn.max_pool2d),
    "AvgPool3D": _pool(tf.nn.avg_pool2d),
    "ResizeBilinear": _resize_bilinear,
}
