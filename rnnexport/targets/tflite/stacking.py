"""Lists of tensors, which loops write and read, as one tensor each: its first axis is that of the list.

    Before: list = reserve(T); list = set_item(list, t, y_BU)    After: y_TBU = zeros; y_TBU[t] = y_BU
    Before: get_item(from_tensor(x_TBI), t)                      After: x_TBI[t]

A list has no shape before something is written to it where a size of its elements is open: the first step, run for its
shapes alone, says which it will have. `looping` keeps loops that lists go into.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.compat.tensorflow import dynamic_update_slice, smart_constant_value
from rnnexport.targets.tflite.elements import LISTS, NotFixed

Operation = Any
# A size of an axis: a number where it is known, else a scalar.
Size = Any


@dataclass(frozen=True, eq=False)
class Stacked:
    """A list.

    Attributes:
        tensor: its elements; None where nothing was written yet, which reads as zeros.
        count: how many it has.
        dtype: of each.
        item: the sizes of each; None where they are not known before something is written.
        base: the place in the list that the first row of `tensor` is; None for the first.
    """

    tensor: tf.Tensor | None
    count: Size
    dtype: tf.DType
    item: tuple[Size, ...] | None
    base: tf.Tensor | None = None

    def zeros(self, count: Size) -> tf.Tensor:
        """So many elements that nothing was written to."""
        if self.item is None:
            raise NotFixed("the shape of an element that nothing was written to")
        return tf.zeros(_joined([count, *self.item]), self.dtype)

    def elements(self) -> tf.Tensor:
        """All of them."""
        return self.zeros(self.count) if self.tensor is None else self.tensor


def _sizes(item: tf.Tensor) -> tuple[Size, ...]:
    return tuple(tf.shape(item)[axis] if size is None else size for axis, size in enumerate(item.shape))


def _joined(dims: Sequence[Size]) -> Any:
    found = [smart_constant_value(dim) if isinstance(dim, tf.Tensor) else dim for dim in dims]
    if all(dim is not None for dim in found):
        return [int(dim) for dim in found]
    return tf.stack([tf.cast(dim, tf.int32) for dim in dims])


def _reserve(operation: Operation, shape: tf.Tensor, count: tf.Tensor) -> Sequence[Stacked]:
    dims = smart_constant_value(shape)
    known = dims is not None and np.ndim(dims) == 1 and np.all(np.asarray(dims) >= 0)
    item = tuple(int(dim) for dim in np.asarray(dims)) if known else None
    return [Stacked(None, count, operation.get_attr("element_dtype"), item)]


def _from_tensor(operation: Operation, tensor: tf.Tensor, shape: tf.Tensor) -> Sequence[Stacked]:
    del operation, shape
    count, *item = _sizes(tensor)
    return [Stacked(tensor, count, tensor.dtype, tuple(item))]


def _set_item(operation: Operation, given: Stacked, at: tf.Tensor, item: tf.Tensor) -> Sequence[Stacked]:
    del operation
    given = replace(given, item=_sizes(item) if given.item is None else given.item)
    tensor = given.elements()
    at = at if given.base is None else at - given.base
    start = tf.stack([at, *[tf.constant(0, at.dtype)] * item.shape.rank])
    updated = dynamic_update_slice(tensor, tf.expand_dims(item, 0), start)
    updated.set_shape(tensor.shape)
    return [replace(given, tensor=updated)]


def _get_item(operation: Operation, given: Stacked, at: tf.Tensor, shape: tf.Tensor) -> Sequence[tf.Tensor]:
    del operation, shape
    return [tf.gather(given.elements(), at)]


def _stack(operation: Operation, given: Stacked, shape: tf.Tensor) -> Sequence[tf.Tensor]:
    del operation, shape
    return [given.elements()]


def _gather(operation: Operation, given: Stacked, places: tf.Tensor, shape: tf.Tensor) -> Sequence[tf.Tensor]:
    del operation, shape
    return [tf.gather(given.elements(), places)]


def _length(operation: Operation, given: Stacked) -> Sequence[tf.Tensor]:
    del operation
    return [tf.convert_to_tensor(given.count, tf.int32)]


def _refused(operation: Operation, *inputs: Any) -> Sequence[Any]:
    del inputs
    raise NotFixed(operation.type)


STACKS: Mapping[str, Callable[..., Sequence[Any]]] = {
    **dict.fromkeys(LISTS, _refused),
    "TensorListFromTensor": _from_tensor,
    "TensorListGather": _gather,
    "TensorListGetItem": _get_item,
    "TensorListLength": _length,
    "TensorListReserve": _reserve,
    "TensorListSetItem": _set_item,
    "TensorListStack": _stack,
}
