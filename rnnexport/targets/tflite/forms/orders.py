"""Operators that move, count or pick elements: slices, comparisons and products stand for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from rnnexport.targets.tflite.forms.form import Form, Operation, fixed, known, sizes


def _gathered(operation: Operation, x: tf.Tensor, places: tf.Tensor, axis: tf.Tensor) -> tf.Tensor | None:
    """Some of the sizes of a tensor, one by one, so that those that are known are known behind it."""
    wanted = known(places)
    if x.op.type != "Shape" or wanted is None or wanted.ndim != 1 or x.op.inputs[0].shape.rank is None:
        return None
    found = sizes(x.op.inputs[0])
    return tf.stack([tf.cast(found[int(at)], x.dtype) for at in wanted]) if len(wanted) else None


def _some_sizes(
    operation: Operation, x: tf.Tensor, begin: tf.Tensor, end: tf.Tensor, strides: tf.Tensor
) -> tf.Tensor | None:
    """A part of the sizes of a tensor, where all in it are known, though others are not."""
    numbers = [found for one in (begin, end, strides) if (found := known(one)) is not None and found.size == 1]
    masks = [operation.get_attr(f"{name}_mask") for name in ("begin", "end", "shrink_axis", "ellipsis", "new_axis")]
    if x.op.type != "Shape" or len(numbers) < 3 or any(masks[2:]):
        return None
    first, last, step = (int(np.ravel(one)[0]) for one in numbers)
    part = list(x.op.inputs[0].shape)[None if masks[0] else first : None if masks[1] else last : step]
    return None if None in part else tf.constant(part, x.dtype)


def _roll(operation: Operation, x: tf.Tensor, shifts: tf.Tensor, axes: tf.Tensor) -> tf.Tensor | None:
    places = known(axes)
    if x.shape.rank is None or places is None:
        return None
    for at, axis in enumerate(np.ravel(places)):
        x = _rolled(x, shifts if shifts.shape.rank == 0 else shifts[at], int(axis) % x.shape.rank)
    return x


def _rolled(x: tf.Tensor, shift: tf.Tensor, axis: int) -> tf.Tensor:
    """The last `shift` slices along an axis in front of the others."""
    size, steps = sizes(x)[axis], known(shift)
    if steps is not None and isinstance(size, int):
        cut = -int(steps) % size if size else 0
        if not cut:
            return x
        back, front = tf.split(x, [cut, size - cut], axis)
        return tf.concat([front, back], axis)
    cut = tf.math.floormod(-tf.cast(shift, tf.int32), size)
    return tf.gather(x, tf.math.floormod(tf.range(size) + cut, size), axis=axis)


def _bincount(operation: Operation, values: tf.Tensor, size: tf.Tensor, weights: tf.Tensor) -> tf.Tensor | None:
    """How often each number occurs, or the sum of its weights."""
    if values.shape.rank is None:
        return None
    hot = tf.cast(tf.equal(values[..., None], tf.range(tf.cast(size, values.dtype))), weights.dtype)
    if operation.get_attr("binary_output"):
        return tf.reduce_max(hot, -2)
    if weights.shape.num_elements() != 0:
        hot = hot * weights[..., None]
    return tf.reduce_sum(hot, -2)


def _unpacked(operation: Operation, x: tf.Tensor) -> Sequence[tf.Tensor] | None:
    """Of int64, which LiteRT does not take apart."""
    if x.dtype != tf.int64 or x.shape.rank is None:
        return None
    axis = operation.get_attr("axis") % x.shape.rank
    return [tf.gather(x, at, axis=axis) for at in range(operation.get_attr("num"))]


def _euclidean_norm(operation: Operation, x: tf.Tensor, axes: tf.Tensor) -> tf.Tensor | None:
    if not x.dtype.is_floating:
        return None
    return tf.sqrt(tf.reduce_sum(tf.square(x), axes, keepdims=operation.get_attr("keep_dims")))


def _cross_entropy(operation: Operation, logits: tf.Tensor, labels: tf.Tensor) -> Sequence[tf.Tensor] | None:
    """The loss, and its gradient."""
    if not fixed(logits, -1):
        return None
    hot = tf.one_hot(labels, int(logits.shape[-1]), dtype=logits.dtype)
    return [-tf.reduce_sum(tf.nn.log_softmax(logits) * hot, -1), tf.nn.softmax(logits) - hot]


ORDERS: Mapping[str, Form] = {
    "DenseBincount": _bincount,
    "EuclideanNorm": _euclidean_norm,
    "GatherV2": _gathered,
    "Roll": _roll,
    "StridedSlice": _some_sizes,
    "Unpack": _unpacked,
    "SparseSoftmaxCrossEntropyWithLogits": _cross_entropy,
}
