"""Slices with an ellipsis, and reshapes to one axis, in sizes that hold for every call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from rnnexport.conversion.forms.complex_numbers import each_part
from rnnexport.conversion.forms.values import Form, Pair, Tensor, Value

_MASKS = ("begin_mask", "end_mask", "new_axis_mask", "shrink_axis_mask")


def _sliced(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value] | None:
    """StridedSlice of `x[..., 0]` as one of all axes: tf2onnx does not know how many there are in a loop."""
    x, begin, end, strides = inputs
    if isinstance(x, Pair):
        parts = [_sliced(operation, [part, begin, end, strides]) for part in (x.real, x.imag)]
        return [Pair(parts[0][0], parts[1][0])] if parts[0] and parts[1] else each_part(operation, inputs)
    ellipsis, count = operation.get_attr("ellipsis_mask"), begin.shape[0]
    rank = getattr(x, "shape", tf.TensorShape(None)).rank
    if not ellipsis or rank is None or count is None:
        return None
    at = ellipsis.bit_length() - 1
    masks = {name: operation.get_attr(name) for name in _MASKS}
    used = sum(1 for bit in range(count) if bit != at and not masks["new_axis_mask"] >> bit & 1)
    wide = rank - used
    masks = {name: _widened(mask, at, wide, name in ("begin_mask", "end_mask")) for name, mask in masks.items()}
    bounds = [_filled(part, at, wide, number) for part, number in ((begin, 0), (end, 0), (strides, 1))]
    return [tf.strided_slice(x, *bounds, **masks)]


def _flattened(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value] | None:
    """Reshape to one axis whose size is computed, which to ONNX is that of the input where it is 0."""
    x, sizes = inputs
    if isinstance(x, Pair):
        return each_part(operation, inputs)
    if sizes.shape != [1] or tf.get_static_value(sizes) is not None:
        return None
    return [tf.ensure_shape(tf.reshape(x, [-1]), operation.outputs[0].shape)]


def _widened(mask: int, at: int, wide: int, kept: bool) -> int:
    """The bit of the ellipsis as `wide` bits, set where an axis is to be kept whole."""
    below, above = mask & ((1 << at) - 1), mask >> (at + 1)
    return below | (((1 << wide) - 1) << at if kept else 0) | above << (at + wide)


def _filled(part: Tensor, at: int, wide: int, number: int) -> Tensor:
    return tf.concat([part[:at], tf.fill([wide], tf.constant(number, part.dtype)), part[at + 1 :]], 0)


FORMS: Mapping[str, Form] = {"Reshape": _flattened, "StridedSlice": _sliced}
