"""Operators and control flow of TensorFlow in a float64 program: what TensorFlow computes, to float32 rounding."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.emit.numpy.doubles import IMAGE, normal, opened, traced_functions

EPS32 = 2.0**-24
VECTORS = [np.abs(normal(3)) + 0.5 for _ in range(4)]


def batch_norm(x, **attributes):
    scale, offset, mean, variance = map(tf.constant, VECTORS)
    return tf.raw_ops.FusedBatchNormV3(
        x=x, scale=scale, offset=offset, mean=mean, variance=variance, is_training=False, **attributes
    ).y


def norm_of_the_batch(x):
    """How Keras 2 normalises layers."""
    empty = tf.zeros([0])
    ones, zeros = tf.ones([tf.shape(x)[1]]), tf.zeros([tf.shape(x)[1]])
    return tf.raw_ops.FusedBatchNormV3(
        x=x, scale=ones, offset=zeros, mean=empty, variance=empty, data_format="NCHW", is_training=True, epsilon=0.01
    ).y


def resized(x, size, **attributes):
    return tf.raw_ops.ResizeBilinear(images=x, size=size, **attributes)


def norm_in_loop(x):
    return tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, batch_norm(y, epsilon=0.03) * 0.7), [0, x])[1]


OF_IMAGES = {
    "batch_norm": lambda x: batch_norm(x, epsilon=0.01),
    "norm_of_the_batch": norm_of_the_batch,
    "norm_in_loop": norm_in_loop,
    "local_response": lambda x: tf.nn.lrn(x, depth_radius=1, bias=1.5, alpha=0.3, beta=0.7),
    "local_response_wide": lambda x: tf.nn.lrn(x, depth_radius=5),
    "resized": lambda x: resized(x, [7, 4], half_pixel_centers=True),
    "resized_by_corners": lambda x: resized(x, [7, 4], align_corners=True),
    "resized_to_a_pixel": lambda x: resized(x, [1, 9], align_corners=True),
    "resized_as_of_old": lambda x: resized(x, [3, 11]),
}
OF_VOLUMES = {
    "max": lambda x: tf.nn.max_pool3d(x, (2, 3, 2), (2, 1, 1), "VALID"),
    "max_padded": lambda x: tf.nn.max_pool3d(x, (3, 2, 2), (1, 2, 3), "SAME"),
    "mean": lambda x: tf.nn.avg_pool3d(x, (2, 3, 2), (1, 2, 1), "VALID"),
    "mean_padded": lambda x: tf.nn.avg_pool3d(x, (3, 2, 4), (2, 2, 3), "SAME"),
}
OF_ROWS = {
    "either": lambda x: tf.cond(tf.reduce_sum(x) > 0, lambda: tf.tanh(x), lambda: x * 0.3),
    "looked_up": lambda x: tf.gather(tf.constant([0.1, 0.2, 0.7]), tf.argmax(x, -1)) + tf.math.top_k(x, 2)[0][:, 1],
    "where": lambda x: tf.where(x > 0.1, tf.math.log(tf.abs(x)), tf.cast(tf.shape(x)[1], tf.float32) * 0.1),
    "most": lambda x: tf.gather(tf.constant([0.1, 0.2, 0.7]), keras.ops.argmax(x, -1)) * x[:, 0],
    "sorted": lambda x: tf.cumsum(tf.sort(x, direction="DESCENDING"), axis=1, reverse=True),
}


@pytest.mark.xdist_group("float64_operators")
@pytest.mark.parametrize(
    ("functions", "x"),
    [(OF_IMAGES, IMAGE), (OF_VOLUMES, normal(2, 6, 7, 5, 2)), (OF_ROWS, normal(5, 3))],
    ids=["images", "volumes", "rows"],
)
def test_an_operator_is_what_tensorflow_has_of_it(functions, x):
    truth = opened(traced_functions(functions, x=x)).run({"x": x})
    for name, function in functions.items():
        expected = tf.function(function)(tf.constant(x)).numpy()
        assert truth[name].dtype == np.float64
        assert truth[name].shape == expected.shape
        apart = np.abs(truth[name] - expected).max()
        assert apart <= 32 * EPS32 * np.abs(expected).max(), name
        assert apart > 0 or name.startswith("max"), name  # the same number to the last bit would have been rounded
