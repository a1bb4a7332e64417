"""Lists of tensors, which loops write and read, as Python lists: LiteRT has none whose elements have an open size.

It takes a list of a fixed length alone, read and written at places that are known when loops are written out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.compat.tensorflow import smart_constant_value

Operation = Any


class NotFixed(Exception):  # noqa: N818 - a reason, caught where the other form is taken
    """A length or a place in a list does not follow from constants."""


@dataclass(frozen=True, eq=False)
class ElementList:
    """A list; None where nothing was written yet, which reads as zeros.

    Attributes:
        elements: of the list.
        dtype: of each.
    """

    elements: tuple[tf.Tensor | None, ...]
    dtype: tf.DType


def _reserve(operation: Operation, shape: tf.Tensor, count: tf.Tensor) -> Sequence[ElementList]:
    del shape
    return [ElementList((None,) * _number(count), operation.get_attr("element_dtype"))]


def _empty(operation: Operation, shape: tf.Tensor, most: tf.Tensor) -> Sequence[ElementList]:
    del shape, most
    return [ElementList((), operation.get_attr("element_dtype"))]


def _from_tensor(operation: Operation, tensor: tf.Tensor, shape: tf.Tensor) -> Sequence[ElementList]:
    del operation, shape
    if tensor.shape.rank is None or tensor.shape[0] is None:
        raise NotFixed("the length of a list")
    return [ElementList(tuple(tf.unstack(tensor)), tensor.dtype)]


def _set_item(operation: Operation, given: ElementList, at: tf.Tensor, item: tf.Tensor) -> Sequence[ElementList]:
    del operation
    elements = list(given.elements)
    elements[_number(at)] = item
    return [replace(given, elements=tuple(elements))]


def _get_item(operation: Operation, given: ElementList, at: tf.Tensor, shape: tf.Tensor) -> Sequence[tf.Tensor]:
    del operation
    return [_filled(given, shape)[_number(at)]]


def _stack(operation: Operation, given: ElementList, shape: tf.Tensor) -> Sequence[tf.Tensor]:
    del operation
    return [_stacked(given, _filled(given, shape), shape)]


def _gather(operation: Operation, given: ElementList, places: tf.Tensor, shape: tf.Tensor) -> Sequence[tf.Tensor]:
    del operation
    filled = _filled(given, shape)
    return [_stacked(given, [filled[int(at)] for at in _numbers(places)], shape)]


def _scatter(
    operation: Operation, tensor: tf.Tensor, places: tf.Tensor, shape: tf.Tensor, count: tf.Tensor
) -> Sequence[ElementList]:
    del operation, shape
    where = [int(at) for at in _numbers(places)]
    length = max(_number(count), max(where, default=-1) + 1)
    elements: list[tf.Tensor | None] = [None] * length
    for at, item in zip(where, tf.unstack(tensor, len(where)), strict=True):
        elements[at] = item
    return [ElementList(tuple(elements), tensor.dtype)]


def _concat(operation: Operation, given: ElementList, shape: tf.Tensor, lengths: tf.Tensor) -> Sequence[tf.Tensor]:
    del operation, lengths
    if not given.elements or any(item is None for item in given.elements):
        raise NotFixed("the lengths of elements that nothing was written to")
    parts = _filled(given, shape)
    return [tf.concat(parts, 0), tf.stack([tf.shape(part, tf.int64)[0] for part in parts])]


def _length(operation: Operation, given: ElementList) -> Sequence[tf.Tensor]:
    del operation
    return [tf.constant(len(given.elements), tf.int32)]


def _push(operation: Operation, given: ElementList, item: tf.Tensor) -> Sequence[ElementList]:
    del operation
    return [replace(given, elements=(*given.elements, item))]


def _pop(operation: Operation, given: ElementList, shape: tf.Tensor) -> Sequence[Any]:
    del operation
    return [replace(given, elements=given.elements[:-1]), _filled(given, shape)[-1]]


def _resize(operation: Operation, given: ElementList, size: tf.Tensor) -> Sequence[ElementList]:
    del operation
    length = _number(size)
    padded = given.elements[:length] + (None,) * (length - len(given.elements))
    return [replace(given, elements=padded)]


def _filled(given: ElementList, shape: tf.Tensor) -> list[tf.Tensor]:
    """The elements, zeros where nothing was written: of the shape of the others, or of the one that is asked for."""
    written = next((item for item in given.elements if item is not None), None)
    if written is not None:
        return [tf.zeros_like(written) if item is None else item for item in given.elements]
    if not given.elements:
        return []
    dims = smart_constant_value(shape)
    if dims is None or np.any(np.asarray(dims) < 0):
        raise NotFixed("the shape of an element that nothing was written to")
    return [tf.zeros(np.asarray(dims), given.dtype)] * len(given.elements)


def _stacked(given: ElementList, elements: Sequence[tf.Tensor], shape: tf.Tensor) -> tf.Tensor:
    if elements:
        return tf.stack(elements)
    dims = smart_constant_value(shape)
    if dims is None or np.any(np.asarray(dims) < 0):
        raise NotFixed("the shape of the elements of an empty list")
    return tf.zeros([0, *np.asarray(dims)], given.dtype)


def _numbers(tensor: tf.Tensor) -> np.ndarray:
    found = smart_constant_value(tensor)
    if found is None:
        raise NotFixed("a place in a list")
    return np.asarray(found)


def _number(tensor: tf.Tensor) -> int:
    return int(_numbers(tensor))


LISTS: Mapping[str, Callable[..., Sequence[Any]]] = {
    "EmptyTensorList": _empty,
    "TensorListConcatV2": _concat,
    "TensorListFromTensor": _from_tensor,
    "TensorListGather": _gather,
    "TensorListGetItem": _get_item,
    "TensorListLength": _length,
    "TensorListPopBack": _pop,
    "TensorListPushBack": _push,
    "TensorListReserve": _reserve,
    "TensorListResize": _resize,
    "TensorListScatterV2": _scatter,
    "TensorListSetItem": _set_item,
    "TensorListStack": _stack,
}
