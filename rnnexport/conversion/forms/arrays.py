"""Parts of arrays that are replaced, cut out or combined; N batch, H height, W width, C channels.

Places in sorted rows are how many elements are below: B rows, N elements of each, M values for each.

Pictures: colours, and sizes that are weighted sums; N batch, H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.compat.tensorflow import smart_constant_value
from rnnexport.conversion.forms.complex_numbers import each_part
from rnnexport.conversion.forms.values import ComplexPair, Form, FormError, Tensor, Value

_MASKS = ("begin_mask", "end_mask", "new_axis_mask", "shrink_axis_mask")


def _broadcast_shape(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value] | None:
    """BroadcastArgs: of two shapes whose ranks are known."""
    del operation
    ranks = [shape.shape[0] for shape in inputs]
    if None in ranks:
        return None
    one, other = (tf.pad(x, [[max(ranks) - n, 0]], constant_values=1) for x, n in zip(inputs, ranks, strict=True))
    return [tf.where(tf.equal(one, 1), other, one)]


def _decoded(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """CTCGreedyDecoder: the likeliest label at each step, without blanks, and repeats as one (T steps, C labels)."""
    scores_TBC, lengths_B = inputs
    steps, labels = tf.shape(scores_TBC)[0], scores_TBC.shape[2]
    blank = operation.get_attr("blank_index")
    if labels is None:
        raise FormError("of an open number of labels")
    best_BT = tf.transpose(tf.argmax(scores_TBC, -1))
    is_inside_BT = tf.range(steps)[None] < lengths_B[:, None]
    is_kept_BT = tf.logical_and(is_inside_BT, tf.not_equal(best_BT, blank % labels))
    if operation.get_attr("merge_repeated"):
        before_BT = tf.concat([tf.fill([tf.shape(best_BT)[0], 1], tf.constant(-1, tf.int64)), best_BT[:, :-1]], 1)
        is_kept_BT = tf.logical_and(is_kept_BT, tf.not_equal(best_BT, before_BT))
    kept_BT = tf.cast(is_kept_BT, tf.int32)
    where_N2 = tf.where(is_kept_BT)
    places_N = tf.gather_nd(tf.cumsum(kept_BT, 1) - 1, where_N2)
    most = tf.reduce_max(tf.concat([tf.reduce_sum(kept_BT, 1), [0]], 0))
    size = tf.cast(tf.stack([tf.shape(best_BT)[0], most]), tf.int64)
    indices = tf.stack([where_N2[:, 0], tf.cast(places_N, tf.int64)], 1)
    scores_BT = tf.transpose(tf.reduce_max(scores_TBC, -1))
    total_B1 = tf.reduce_sum(tf.where(is_inside_BT, scores_BT, tf.zeros_like(scores_BT)), 1, keepdims=True)
    return [indices, tf.gather_nd(best_BT, where_N2), size, -total_B1]


def _diagonal(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value] | None:
    """MatrixDiagPartV3 of one diagonal: every (N + 1)st element of an (M, N)."""
    del operation
    x, given, _ = inputs
    offset = _one_place(given)
    if isinstance(x, ComplexPair) or offset is None or x.shape.rank is None:
        return None
    batch, rows, columns = _matrix_sizes(x)
    start = offset if offset >= 0 else -offset * columns
    count = tf.minimum(rows + min(offset, 0), columns - max(offset, 0))
    flat = tf.reshape(x, tf.concat([batch, [rows * columns]], 0))
    return [tf.gather(flat, start + tf.range(count) * (columns + 1), axis=-1)]


def _with_diagonal(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value] | None:
    """MatrixSetDiagV3 of one diagonal."""
    del operation
    x, diagonal, given = inputs
    offset = _one_place(given)
    if isinstance(x, ComplexPair) or isinstance(diagonal, ComplexPair) or offset is None or x.shape.rank is None:
        return None
    _, rows, columns = _matrix_sizes(x)
    places_M = tf.clip_by_value(tf.range(rows) + min(offset, 0), 0, tf.shape(diagonal)[-1] - 1)
    is_on_MN = tf.equal((tf.range(rows) + offset)[:, None], tf.range(columns)[None])
    return [tf.where(is_on_MN, tf.expand_dims(tf.gather(diagonal, places_M, axis=-1), -1), x)]


def _one_place(given: Tensor) -> int | None:
    """The number of the one diagonal; None of several, and where it is computed."""
    places = tf.get_static_value(given)
    return None if places is None or len(set(np.ravel(places).tolist())) > 1 else int(np.ravel(places)[0])


def _matrix_sizes(x: Tensor) -> tuple[Tensor, Any, Any]:
    """The shape of the batch, and the sizes, which are numbers where they are known."""
    shape = tf.shape(x)
    sizes = [shape[at] if x.shape[at] is None else int(x.shape[at]) for at in (-2, -1)]
    return shape[:-2], *sizes


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


def _sliced(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value] | None:
    """StridedSlice of `x[..., 0]` as one of all axes: tf2onnx does not know how many there are in a loop."""
    x, begin, end, strides = inputs
    if isinstance(x, ComplexPair):
        parts = [_sliced(operation, [part, begin, end, strides]) for part in (x.real, x.imag)]
        return [ComplexPair(parts[0][0], parts[1][0])] if parts[0] and parts[1] else each_part(operation, inputs)
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
    if isinstance(x, ComplexPair):
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


# Forms of what stays as it is in most models, where it is.
LEFT: Mapping[str, Form] = {"Reshape": _flattened, "StridedSlice": _sliced}


def _scaled(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value] | None:
    """ScaleAndTranslate: a product with a matrix for each axis, made by TensorFlow's own kernel of the unit matrix."""
    x_NHWC, *given = inputs
    wanted, factors, moves = map(smart_constant_value, given)
    if wanted is None or factors is None or moves is None or None in x_NHWC.shape[1:]:
        return None
    options = {"kernel_type": operation.get_attr("kernel_type").decode(), "antialias": operation.get_attr("antialias")}

    def resized(unit: np.ndarray, axis: int) -> Tensor:
        return tf.raw_ops.ScaleAndTranslate(
            images=unit, size=[wanted[axis], 1], scale=[factors[axis], 1.0], translation=[moves[axis], 0.0], **options
        )

    return [resampled(x_NHWC, resized)]


def resampled(x_NHWC: Tensor, resized: Callable[[np.ndarray, int], Tensor]) -> Tensor:
    """A picture whose rows and columns are weighted sums, by what becomes of the columns of a unit matrix."""
    H, W, C = map(int, x_NHWC.shape[1:])
    rows_hH, columns_wW = (_weights(size, axis, resized) for axis, size in enumerate((H, W)))
    x = tf.matmul(rows_hH, tf.reshape(tf.cast(x_NHWC, tf.float32), [-1, H, W * C]))
    x = tf.matmul(columns_wW, tf.reshape(x, [-1, W, C]))
    return tf.reshape(x, [-1, len(rows_hH), len(columns_wW), C])


def _weights(length: int, axis: int, resized: Callable[[np.ndarray, int], Tensor]) -> np.ndarray:
    with tf.init_scope():
        found: np.ndarray = resized(np.eye(length, dtype=np.float32)[None, :, None, :], axis).numpy()
    return found[0, :, 0]


def _hsv(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """RGBToHSV, with TensorFlow's order of the colours where two are largest."""
    del operation
    (rgb,) = inputs
    r, g, b = tf.unstack(rgb, 3, axis=-1)
    value = tf.reduce_max(rgb, -1)
    span = value - tf.reduce_min(rgb, -1)
    one, zero = tf.ones_like(value), tf.zeros_like(value)
    saturation = tf.where(value > 0.0, span / tf.where(value > 0.0, value, one), zero)
    norm = 1.0 / (6.0 * tf.where(span > 0.0, span, one))
    hue = tf.where(
        tf.equal(r, value),
        norm * (g - b),
        tf.where(tf.equal(g, value), norm * (b - r) + 2.0 / 6.0, norm * (r - g) + 4.0 / 6.0),
    )
    hue = tf.where(span > 0.0, hue, zero)
    return [tf.stack([tf.where(hue < 0.0, hue + 1.0, hue), saturation, value], -1)]


def _rgb(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """HSVToRGB."""
    del operation
    (hsv,) = inputs
    hue, saturation, value = tf.unstack(hsv, 3, axis=-1)
    h6 = hue * 6.0
    parts = [tf.abs(h6 - 3.0) - 1.0, 2.0 - tf.abs(h6 - 2.0), 2.0 - tf.abs(h6 - 4.0)]
    shares = [tf.clip_by_value(part, 0.0, 1.0) for part in parts]
    return [tf.stack([((1.0 - saturation) + saturation * share) * value for share in shares], -1)]


FORMS: Mapping[str, Form] = {
    "ApproximateEqual": _close,
    "BroadcastArgs": _broadcast_shape,
    "Bucketize": _bucket,
    "CTCGreedyDecoder": _decoded,
    "Cross": _cross,
    "ExtractImagePatches": _patches,
    "HSVToRGB": _rgb,
    "InTopKV2": _in_top,
    "InvertPermutation": _inverse_order,
    "LowerBound": _lower,
    "MatrixDiagPartV3": _diagonal,
    "MatrixSetDiagV3": _with_diagonal,
    "RGBToHSV": _hsv,
    "ScaleAndTranslate": _scaled,
    "UpperBound": _upper,
    "XlaDynamicUpdateSlice": _updated,
}
