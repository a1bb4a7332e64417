"""Convolutions of both Keras, traced in a form that every converter has.

1. Dilated, padding="same", over an open length: TensorFlow computes its padding from the length, in 60 operators.
       Before: convolution(x_BTI, "SAME", dilations=d)      After: convolution(pad(x_BTI), "VALID", dilations=d)
   Without strides the padding is d * (k - 1) steps, half of it, rounded down, in front.
2. Of volumes in groups: no runtime but XLA has a kernel of one.
       Before: convolution(x_BXYZI, filters of I/G channels)      After: G convolutions of slices, side by side
3. In groups: tf_keras compiles a function of its own, which is kept for later calls, those in eager mode too.
4. With channels in front of space: on a CPU TensorFlow has kernels of some of them, in some graphs.
       Before: convolution(x_BIXY, "NCHW")                  After: transposed(convolution(transposed(x_BIXY), "NHWC"))
       Before: bias_add(x_BIXYZ, b_I, "NCDHW")              After: x_BIXYZ + b_I111
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import tensorflow as tf

from rnnexport.source.api import attributes_set

# The one that Keras 3 looks in, and that of tf_keras, whose SeparableConv1D looks in a third.
_MODULES = (tf.nn, tf.compat.v2.nn)
_OF_VOLUMES = 5  # axes of filters
_lock = threading.Lock()


@contextmanager
def convolutions_written(conv_class: Any = None) -> Iterator[None]:
    """Inside this block convolutions have these forms. One thread at a time.

    Args:
        conv_class: the class of tf_keras that compiles them.
    """
    with _lock, ExitStack() as stack:
        values = {
            "bias_add": _bias_added(tf.nn.bias_add),
            "convolution": _channels_last(_in_slices(_padded_first(tf.nn.convolution, "filters"))),
            "depthwise_conv2d": _channels_last(_padded_first(tf.nn.depthwise_conv2d, "filter")),
            "separable_conv2d": _channels_last(_padded_first(tf.nn.separable_conv2d, "depthwise_filter")),
        }
        values |= {name: _channels_last(getattr(tf.nn, name)) for name in ("conv_transpose", "conv3d_transpose")}
        older = _channels_last(_padded_first(tf.compat.v1.nn.separable_conv2d, "depthwise_filter", "rate"))
        stack.enter_context(attributes_set(_MODULES, values))
        stack.enter_context(attributes_set([tf.compat.v1.nn], {"separable_conv2d": older}))
        if conv_class is not None:
            plain = {"_jit_compiled_convolution_op": lambda layer, x, kernel: layer.convolution_op(x, kernel)}
            stack.enter_context(attributes_set([conv_class], plain))
        yield


def _channels_last(original: Callable[..., Any]) -> Callable[..., Any]:
    """A function of TensorFlow, its channels behind space."""
    signature = inspect.signature(original)

    # Stands in for that function, whatever is passed to it.
    @wraps(original)
    def convolution(*args: Any, **options: Any) -> Any:
        given = signature.bind(*args, **options).arguments
        if not _is_first(given.get("data_format")) or not isinstance(given.get("padding", ""), str):
            return original(**given)
        rank = len(given["input"].shape)
        behind = [0, *range(2, rank), 1]
        given["input"], given["data_format"] = tf.transpose(given["input"], behind), None
        for name in {"strides", "dilations"} & set(given):
            if isinstance(given[name], Sequence) and len(given[name]) == rank:
                given[name] = [given[name][axis] for axis in behind]
        if "output_shape" in given:
            given["output_shape"] = tf.gather(given["output_shape"], behind)
        return tf.transpose(original(**given), [0, rank - 1, *range(1, rank - 1)])

    return convolution


def _bias_added(original: Callable[..., Any]) -> Callable[..., Any]:
    """`bias_add`, of whose form with channels in front of space converters have that behind convolutions alone."""

    @wraps(original)
    def bias_add(value: Any, bias: Any, data_format: str | None = None, name: str | None = None) -> Any:
        rank = len(value.shape) if hasattr(value, "shape") else None
        if not _is_first(data_format) or rank is None:
            return original(value, bias, data_format, name)
        return tf.add(value, tf.reshape(bias, [-1, *[1] * (rank - 2)]), name)

    return bias_add


def _padded_first(original: Callable[..., Any], filters: str, dilations: str = "dilations") -> Callable[..., Any]:
    """A function of TensorFlow, the padding in front of it. `filters` and `dilations` are names of its arguments."""
    signature = inspect.signature(original)

    # Stands in for that function, whatever is passed to it.
    @wraps(original)
    def convolution(*args: Any, **options: Any) -> Any:
        bound = signature.bind(*args, **options)
        bound.apply_defaults()
        given = bound.arguments
        sizes = given[filters].shape.as_list()[:-2]
        if _is_same(given, sizes, given[dilations]):
            given["input"], given["padding"] = _padded(given["input"], sizes, given[dilations]), "VALID"
        return original(**given)

    return convolution


def _in_slices(original: Callable[..., Any]) -> Callable[..., Any]:
    """`convolution`, that of volumes in groups as one of each group."""

    # Stands in for that function, whatever else is passed to it.
    @wraps(original)
    def convolution(input: Any, filters: Any, *args: Any, **options: Any) -> Any:
        channels, each = input.shape[-1], filters.shape[-2]
        if len(filters.shape) != _OF_VOLUMES or channels in (None, each):
            return original(input, filters, *args, **options)
        parts = (tf.split(whole, channels // each, axis=-1) for whole in (input, filters))
        return tf.concat([original(*part, *args, **options) for part in zip(*parts, strict=True)], axis=-1)

    return convolution


def _is_same(given: Mapping[str, Any], sizes: Sequence[int], dilations: Any) -> bool:
    """Whether a convolution is padded to the size of its input, and it is known by how much."""
    same = isinstance(given["padding"], str) and given["padding"].upper() == "SAME"
    strides = _spatial(given["strides"], len(sizes))
    dilated = max(_spatial(dilations, len(sizes))) > 1
    return same and dilated and max(strides) == 1


def _padded(x: Any, sizes: Sequence[int], dilations: Any) -> Any:
    totals = [rate * (size - 1) for rate, size in zip(_spatial(dilations, len(sizes)), sizes, strict=True)]
    around = [[total // 2, total - total // 2] for total in totals]
    return tf.pad(x, [*[[0, 0]] * (len(x.shape) - len(sizes) - 1), *around, [0, 0]])


def _spatial(value: int | Sequence[int] | None, rank: int) -> list[int]:
    """One for each axis of space, of a value for all, or for each, or for each axis of the input."""
    if value is None or isinstance(value, int):
        return [value or 1] * rank
    given = list(value)
    return given * rank if len(given) == 1 else given if len(given) == rank else given[1 : 1 + rank]


def _is_first(data_format: str | None) -> bool:
    """Whether channels come before space."""
    return (data_format or "").startswith("NC")
