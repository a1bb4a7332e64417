"""Numbers of the weights that are not those of the source: one off, rounded to float16, rows of a table moved."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import partial

import numpy as np
import onnx
from onnx import numpy_helper

from benchmarks.mutation.view import Edit, View

OFF = 1e-3
# Numbers from here on are no weights: the lowering adds 1e9 to a gate to close it.
GIANT = 1e6


def weight_off(view: View) -> Iterator[Edit]:
    """One weight off by a thousandth of itself.

    Of every float constant with axes: its largest element in magnitude, and one other that is not 0, drawn by a
    generator that is seeded by the constant's shape. A drawn weight may be so small that the change is lost in the
    rounding of float32: the float64 truth has to show that.
    """
    for name, tensor in view.weights():
        array = numpy_helper.to_array(tensor)
        size = np.where(np.abs(array) < GIANT, np.abs(array), 0).ravel()
        largest = int(np.argmax(size))
        if not size[largest]:
            continue
        yield Edit(f"{name} largest", partial(_move, view, tensor, largest))
        others = np.setdiff1d(np.flatnonzero(size), [largest])
        if others.size:
            drawn = int(np.random.default_rng(zlib.crc32(str(array.shape).encode())).choice(others))
            yield Edit(f"{name} [{drawn}]", partial(_move, view, tensor, drawn))


def _move(view: View, tensor: onnx.TensorProto, at: int) -> None:
    array = numpy_helper.to_array(tensor).copy()
    array.reshape(-1)[at] *= 1 + OFF
    view.put(tensor, array)


def float16(view: View) -> Iterator[Edit]:
    """Weights rounded to float16: all of them, and each constant alone."""
    tensors = [(name, tensor) for name, tensor in view.weights() if _rounds(tensor)]

    if len(tensors) > 1:
        yield Edit("all weights", partial(_narrow, view, [tensor for _, tensor in tensors]))
    for name, tensor in tensors:
        yield Edit(name, partial(_narrow, view, [tensor]))


def _narrow(view: View, tensors: list[onnx.TensorProto]) -> None:
    for tensor in tensors:
        view.put(tensor, _narrowed(tensor))


def _narrowed(tensor: onnx.TensorProto) -> np.ndarray:
    array = numpy_helper.to_array(tensor)
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float16).astype(array.dtype)
    narrow = np.where(np.abs(array) < np.finfo(np.float16).max, narrow, array)
    return np.asarray(narrow)


def _rounds(tensor: onnx.TensorProto) -> bool:
    return not np.array_equal(_narrowed(tensor), numpy_helper.to_array(tensor))


def table_moved(view: View) -> Iterator[Edit]:
    """The rows of an embedding moved by one: ids that start from 1."""
    weights = dict(view.weights())
    for _, node in view.nodes("Gather"):
        table = weights.get(view.origin(node.input[0]))
        if table is not None and len(table.dims) == 2:
            yield Edit(table.name, partial(view.put, table, np.roll(numpy_helper.to_array(table), 1, 0)))


def conv_flipped(view: View) -> Iterator[Edit]:
    """A kernel of a convolution flipped along its spatial axes."""
    for _, node in view.nodes("Conv"):
        kernel = view.tensor(node.input[1])
        if kernel is not None and any(size > 1 for size in kernel.dims[2:]):
            axes = tuple(range(2, len(kernel.dims)))
            yield Edit(kernel.name, partial(view.put, kernel, np.flip(numpy_helper.to_array(kernel), axes)))
