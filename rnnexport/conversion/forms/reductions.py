"""Running products, and reductions of rows by segments; N rows, S segments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.conversion.forms.complex_numbers import multiplied
from rnnexport.conversion.forms.values import ComplexPair, Form, FormError, Tensor, Value

# So many factors are written out one by one.
_UNROLLED = 64


def _product_up_to(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """Cumprod, in the order of TensorFlow's: the product of another order might overflow where this does not."""
    x, given = inputs
    axis = tf.get_static_value(given)
    parts = [x.real, x.imag] if isinstance(x, ComplexPair) else [x]
    rank = parts[0].shape.rank
    if axis is None or rank is None:
        raise FormError("along an axis that is computed")
    axis = int(axis) % rank
    exclusive, reverse = operation.get_attr("exclusive"), operation.get_attr("reverse")
    order = [axis, *(at for at in range(rank) if at != axis)]
    leading = [tf.transpose(tf.reverse(part, [axis]) if reverse else part, order) for part in parts]
    found = _products(leading, exclusive)
    back = [order.index(at) for at in range(rank)]
    turned = [tf.transpose(part, back) for part in found]
    turned = [tf.reverse(part, [axis]) if reverse else part for part in turned]
    return [ComplexPair(*turned) if isinstance(x, ComplexPair) else turned[0]]


def _products(parts: Sequence[Tensor], exclusive: bool) -> list[Tensor]:
    """Along the first axis, the parts of a complex tensor together."""
    count = parts[0].shape[0]
    ones = [tf.ones_like(parts[0][:1]), *(tf.zeros_like(part[:1]) for part in parts[1:])]
    if exclusive:
        parts = [tf.concat([one, part[:-1]], 0) for one, part in zip(ones, parts, strict=True)]
    if count is not None and count <= _UNROLLED:
        steps = [[part[at] for part in parts] for at in range(count)]
        for at in range(1, count):
            steps[at] = _multiplied(steps[at - 1], steps[at])
        return [tf.stack(column) for column in zip(*steps, strict=True)] if steps else list(parts)
    return _in_a_loop(parts, [one[0] for one in ones])


def _in_a_loop(parts: Sequence[Tensor], first: Sequence[Tensor]) -> list[Tensor]:
    """What `tf.scan` has in lists of elements, which have no ONNX form where they are read."""
    steps = tf.shape(parts[0])[0]
    arrays = [tf.TensorArray(one.dtype, steps, element_shape=one.shape) for one in first]

    def step(at: Tensor, before: list[Tensor], kept: list[Any]) -> tuple[Tensor, list[Tensor], list[Any]]:
        after = _multiplied(before, [tf.gather(part, at) for part in parts])
        return at + 1, after, [array.write(at, one) for array, one in zip(kept, after, strict=True)]

    _, _, kept = tf.while_loop(lambda at, *_: at < steps, step, (0, list(first), arrays))
    return [array.stack() for array in kept]


def _multiplied(one: Sequence[Tensor], other: Sequence[Tensor]) -> list[Tensor]:
    if len(one) == 1:
        return [one[0] * other[0]]
    product = multiplied(ComplexPair(*one), ComplexPair(*other))
    return [product.real, product.imag]


def _product(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value] | None:
    """Prod of complex numbers; that of real ones stays."""
    z, given = inputs
    if not isinstance(z, ComplexPair):
        return None
    axes, rank, keep = tf.get_static_value(given), z.real.shape.rank, operation.get_attr("keep_dims")
    if axes is None or rank is None:
        raise FormError("along axes that are computed")
    gone = sorted({int(axis) % rank for axis in axes.ravel()}, reverse=True)
    parts = [z.real, z.imag]
    for axis in gone:
        if (count := parts[0].shape[axis]) is None or count < 1:
            raise FormError("of complex numbers along an open axis")
        columns = list(zip(*(tf.unstack(part, axis=axis) for part in parts), strict=True))
        total = list(columns[0])
        for column in columns[1:]:
            total = _multiplied(total, column)
        parts = [tf.expand_dims(part, axis) if keep else part for part in total]
    return [ComplexPair(*parts)]


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
    if any(isinstance(value, ComplexPair) for value in inputs):
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
    if any(isinstance(value, ComplexPair) for value in inputs):
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
    return [ComplexPair(parts[0][0], parts[1][0])]


FORMS: Mapping[str, Form] = {
    "Cumprod": _product_up_to,
    "Prod": _product,
    **{f"Segment{kind}": _sorted for kind in _KINDS},
    **{f"UnsortedSegment{kind}": _unsorted for kind in _KINDS if kind != "Mean"},
}
