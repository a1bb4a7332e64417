"""Places in sorted rows: how many elements are below. B rows, N elements of each, M values for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from rnnexport.conversion.forms.values import Form, Tensor, Value


def _bucket(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """Bucketize: how many boundaries are not above x; of a NaN all, since none is."""
    (x,) = inputs
    boundaries = np.array(operation.get_attr("boundaries"), np.float32)
    value = tf.cast(x, tf.float64 if x.dtype in (tf.int32, tf.int64, tf.float64) else tf.float32)
    return [_count(tf.logical_not(tf.expand_dims(value, -1) < tf.cast(boundaries, value.dtype)), tf.int32)]


def _lower(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """LowerBound: how many elements of a sorted row are below each value."""
    rows_BN, values_BM = inputs[0], _values(*inputs)
    return [_count(tf.expand_dims(rows_BN, 1) < tf.expand_dims(values_BM, 2), operation.outputs[0].dtype)]


def _upper(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """UpperBound: how many are not above it."""
    rows_BN, values_BM = inputs[0], _values(*inputs)
    above = tf.expand_dims(values_BM, 2) < tf.expand_dims(rows_BN, 1)
    return [_count(tf.logical_not(above), operation.outputs[0].dtype)]


def _values(rows_BN: Tensor, values_BM: Tensor) -> Tensor:
    """The values; of one row without the sizes that TensorFlow's code computes for them, (-1, M).

    Where M is 0, as of what a mask leaves over, ONNX has no such reshape.
    """
    if rows_BN.shape[0] != 1 or values_BM.op.type != "Reshape":
        return values_BM
    return tf.reshape(values_BM.op.inputs[0], [1, -1])


def _count(which: Tensor, dtype: tf.DType) -> Tensor:
    return tf.reduce_sum(tf.cast(which, dtype), -1)


FORMS: Mapping[str, Form] = {"Bucketize": _bucket, "LowerBound": _lower, "UpperBound": _upper}
