"""Reductions of rows by segments: each segment sees all rows, those of others as the number that adds nothing.

Letters of shapes: N rows, S segments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.conversion.forms.values import Form, FormError, Pair, Tensor, Value


@dataclass(frozen=True)
class _Kind:
    """A reduction.

    Attributes:
        reduce: of an axis.
        start: what it begins with, by a dtype: what a row of no segment is.
        empty: what a sorted segment without rows is.
    """

    reduce: Any
    start: Callable[[tf.DType], Any]
    empty: int


_KINDS = {
    "Max": _Kind(tf.reduce_max, lambda dtype: -np.inf if dtype.is_floating else dtype.min, 0),
    "Mean": _Kind(tf.reduce_sum, lambda dtype: 0, 0),
    "Min": _Kind(tf.reduce_min, lambda dtype: np.inf if dtype.is_floating else dtype.max, 0),
    "Prod": _Kind(tf.reduce_prod, lambda dtype: 1, 1),
    "Sum": _Kind(tf.reduce_sum, lambda dtype: 0, 0),
}


def _sorted(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value] | None:
    """As many segments as the last id says."""
    if any(isinstance(value, Pair) for value in inputs):
        return _each_part(_sorted, operation, inputs)
    x, ids = inputs
    kind = operation.type.removeprefix("Segment")
    known = tf.get_static_value(ids)
    count = ids[-1] + 1 if known is None else tf.constant(known[-1] + 1, ids.dtype)
    found, is_own_SN = _reduced(_KINDS[kind], x, ids, count)
    rows_S = tf.reduce_sum(tf.cast(is_own_SN, tf.int32), 1)
    rows_S = tf.reshape(rows_S, [-1, *[1] * (x.shape.rank - 1)])
    if kind == "Mean":
        return [found / tf.cast(tf.maximum(rows_S, 1), x.dtype)]
    return [tf.where(tf.equal(rows_S, 0), tf.constant(_KINDS[kind].empty, x.dtype), found)]


def _unsorted(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """So many segments as are asked for; a row with an id below 0 is in none."""
    if any(isinstance(value, Pair) for value in inputs):
        return _each_part(_unsorted, operation, inputs)
    x, ids, count = inputs
    kind = _KINDS[operation.type.removeprefix("UnsortedSegment")]
    if ids.shape.rank is None or x.shape.rank is None:
        raise FormError("of unknown rank")
    if ids.shape.rank != 1:
        rest = tf.shape(x)[ids.shape.rank :]
        x, ids = tf.reshape(x, tf.concat([[-1], rest], 0)), tf.reshape(ids, [-1])
    found, _ = _reduced(kind, x, ids, tf.cast(count, ids.dtype))
    # Where ONNX has an infinity TensorFlow has the lowest or the largest number.
    if kind.reduce is tf.reduce_max:
        found = tf.maximum(found, tf.constant(x.dtype.min, x.dtype))
    elif kind.reduce is tf.reduce_min:
        found = tf.minimum(found, tf.constant(x.dtype.max, x.dtype))
    return [found]


def _reduced(kind: _Kind, x: Tensor, ids: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """The reduction of each segment, and which rows are its own."""
    is_own_SN = tf.equal(tf.range(count)[:, None], ids[None, :])
    wide = tf.reshape(is_own_SN, tf.concat([tf.shape(is_own_SN), tf.ones([x.shape.rank - 1], tf.int32)], 0))
    return kind.reduce(tf.where(wide, x[None], tf.constant(kind.start(x.dtype), x.dtype)), 1), is_own_SN


def _each_part(form: Form, operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """Sums of complex rows."""
    if not operation.type.endswith("Sum"):
        raise FormError("of complex numbers")
    parts = [form(operation, [part, *inputs[1:]]) or [] for part in (inputs[0].real, inputs[0].imag)]
    return [Pair(parts[0][0], parts[1][0])]


FORMS: Mapping[str, Form] = {
    **{f"Segment{kind}": _sorted for kind in _KINDS},
    **{f"UnsortedSegment{kind}": _unsorted for kind in _KINDS if kind != "Mean"},
}
