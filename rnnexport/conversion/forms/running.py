"""Running products, which ONNX has not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from rnnexport.conversion.forms.complex_numbers import multiplied
from rnnexport.conversion.forms.values import Form, FormError, Pair, Tensor, Value

# So many factors are written out one by one.
_UNROLLED = 64


def _product_up_to(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """Cumprod, in the order of TensorFlow's: the product of another order might overflow where this does not."""
    x, given = inputs
    axis = tf.get_static_value(given)
    parts = [x.real, x.imag] if isinstance(x, Pair) else [x]
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
    return [Pair(*turned) if isinstance(x, Pair) else turned[0]]


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
    product = multiplied(Pair(*one), Pair(*other))
    return [product.real, product.imag]


def _product(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value] | None:
    """Prod of complex numbers; that of real ones stays."""
    z, given = inputs
    if not isinstance(z, Pair):
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
    return [Pair(*parts)]


FORMS: Mapping[str, Form] = {"Cumprod": _product_up_to, "Prod": _product}
