"""Operators that the converter takes for some dtypes alone: parts of int64 and bool, and places given as int64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np
import tensorflow as tf

from rnnexport.targets.tflite.forms.form import Form, Operation, known

_SPLIT = frozenset({tf.float32, tf.int32, tf.int16, tf.int8, tf.uint8})  # of values, for SPLIT and SPLIT_V


def _split(operation: Operation, axis: tf.Tensor, x: tf.Tensor) -> Sequence[tf.Tensor] | None:
    """A split in equal parts."""
    at, count = known(axis), int(operation.get_attr("num_split"))
    if x.dtype in _SPLIT or at is None or x.shape.rank is None or x.shape[int(at)] is None:
        return None
    return _slices(x, [x.shape[int(at)] // count] * count, int(at))


def _split_v(operation: Operation, x: tf.Tensor, lengths: tf.Tensor, axis: tf.Tensor) -> Sequence[tf.Tensor] | None:
    """A split in parts of given lengths."""
    if x.dtype in _SPLIT:
        if lengths.dtype == tf.int32:
            return None
        return list(
            tf.raw_ops.SplitV(
                value=x, size_splits=tf.cast(lengths, tf.int32), axis=axis, num_split=operation.get_attr("num_split")
            )
        )
    at, parts = known(axis), known(lengths)
    if at is None or parts is None or x.shape.rank is None:
        return None
    size = x.shape[int(at)]
    if (parts < 0).any() and size is None:
        return None
    rest = 0 if size is None else size - int(parts[parts >= 0].sum())
    return _slices(x, [int(one) if one >= 0 else rest for one in parts], int(at))


def _slices(x: tf.Tensor, lengths: Sequence[int], axis: int) -> list[tf.Tensor]:
    axis %= x.shape.rank
    made = []
    for end, length in zip(accumulate(lengths), lengths, strict=True):
        begin, size = np.zeros(x.shape.rank, np.int32), np.full(x.shape.rank, -1, np.int32)
        begin[axis], size[axis] = end - length, length
        made.append(tf.slice(x, begin, size))
    return made


def _mean(operation: Operation, x: tf.Tensor, axes: tf.Tensor) -> tf.Tensor | None:
    if axes.dtype == tf.int32:
        return None
    return tf.reduce_mean(x, tf.cast(axes, tf.int32), keepdims=operation.get_attr("keep_dims"))


PARTS: Mapping[str, Form] = {"Mean": _mean, "Split": _split, "SplitV": _split_v}
