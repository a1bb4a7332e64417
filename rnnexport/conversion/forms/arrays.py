"""Parts of arrays that are replaced, cut out or combined; N batch, H height, W width, C channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from rnnexport.conversion.forms.values import Form, FormError, Value


def _close(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """ApproximateEqual."""
    x, y = inputs
    return [tf.abs(x - y) < tf.constant(operation.get_attr("tolerance"), x.dtype)]


def _cross(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """Of vectors of three on the last axis."""
    del operation
    (a, b, c), (d, e, f) = (tf.unstack(x, 3, axis=-1) for x in inputs)
    return [tf.stack([b * f - c * e, c * d - a * f, a * e - b * d], inputs[0].shape.rank - 1)]


def _in_top(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """InTopK: whether fewer than k of a row are larger than the one at a place; not where that is no number."""
    del operation
    scores_NC, places_N, k = inputs
    own_N1 = tf.gather(scores_NC, places_N[:, None], batch_dims=1, axis=1)
    larger_N = tf.reduce_sum(tf.cast(scores_NC > own_N1, tf.int32), 1)
    is_finite_N = tf.logical_and(tf.math.is_finite(own_N1[:, 0]), tf.reduce_all(tf.math.is_finite(scores_NC), 1))
    return [tf.logical_and(larger_N < tf.cast(k, tf.int32), is_finite_N)]


def _inverse_order(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """InvertPermutation: where each number is, in the dtype that it has; tf2onnx gives another."""
    del operation
    (order,) = inputs
    return [tf.cast(tf.argsort(order), order.dtype)]


def _patches(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """ExtractImagePatches: the pixels of each window beside each other, row by row."""
    (x_NHWC,) = inputs
    sizes, strides, rates = (operation.get_attr(name)[1:3] for name in ("ksizes", "strides", "rates"))
    space = x_NHWC.shape[1:3].as_list()
    if None in space:
        raise FormError("of an open height or width")
    reach = [(size - 1) * rate + 1 for size, rate in zip(sizes, rates, strict=True)]
    counts = [(n - r) // step + 1 for n, r, step in zip(space, reach, strides, strict=True)]
    if operation.get_attr("padding") == b"SAME":
        counts = [-(-n // step) for n, step in zip(space, strides, strict=True)]
        spare = [max((c - 1) * s + r - n, 0) for c, s, r, n in zip(counts, strides, reach, space, strict=True)]
        x_NHWC = tf.pad(x_NHWC, [[0, 0], *([one // 2, one - one // 2] for one in spare), [0, 0]])
    parts = [
        x_NHWC[:, slice(*_steps(row, 0, counts, strides)), slice(*_steps(column, 1, counts, strides))]
        for row in range(0, reach[0], rates[0])
        for column in range(0, reach[1], rates[1])
    ]
    return [tf.concat(parts, 3)]


def _steps(start: int, axis: int, counts: Sequence[int], strides: Sequence[int]) -> tuple[int, int, int]:
    return start, start + (counts[axis] - 1) * strides[axis] + 1, strides[axis]


def _updated(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """XlaDynamicUpdateSlice: a block in the place of what is there, moved inside where it would reach out."""
    del operation
    x, block, start = inputs
    room = tf.shape(x) - tf.shape(block)
    before = tf.clip_by_value(tf.cast(start, tf.int32), 0, room)
    widths = tf.stack([before, room - before], 1)
    return [tf.where(tf.pad(tf.ones_like(block, tf.int32), widths) > 0, tf.pad(block, widths), x)]


FORMS: Mapping[str, Form] = {
    "ApproximateEqual": _close,
    "Cross": _cross,
    "ExtractImagePatches": _patches,
    "InTopKV2": _in_top,
    "InvertPermutation": _inverse_order,
    "XlaDynamicUpdateSlice": _updated,
}
