"""What TensorFlow traces in another way than it computes: as in eager mode, or as what converters know.

1. The branch of a `tf.cond` that is taken: the other one, which eager mode never runs, may not fit the shapes that are
   known in a graph (`keras.ops.inner`).
       Before: cond(rank(x) == 0, lambda: x * y, lambda: tensordot(x, y))      After: tensordot(x, y)
2. Filter banks of the mel scale: differences of nearly equal frequencies, of which rounding decides a hundredth of a
   thousandth, so that those of the model are the ones that its own arithmetic gives.
       Before: (upper - frequencies) / (upper - center)                        After: a constant
3. `tf.nn.ctc_loss`, which TensorFlow writes with functions of its first version, is its recursion over time,
       alpha_t[s] = p_t[z_s] (alpha_(t-1)[s] + alpha_(t-1)[s - 1] + alpha_(t-1)[s - 2], where a label follows another)
   of the labels with blanks around each, z (S = 2 L + 1 places), in logarithms (A. Graves et al., 2006, equations 6 to
   8).

Lookups as operators on constants: a graph has no place for TensorFlow's tables when it is frozen.

Before: LookupTableFind(table, keys, default)     After: Where(Gather(sorted, at) == keys, Gather(values, at), default)

with `at` the place among the sorted keys of the table. Words are sorted, and looked up, by a number made of their
bytes, which is another for each of them, and compared as words.

Convolutions of both Keras, traced in a form that every converter has.

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

import numpy as np
import tensorflow as tf

from rnnexport.compat.tensorflow import lookup_ops, smart_constant_value
from rnnexport.source.api import attributes_set

_FILTERS = "linear_to_mel_weight_matrix"
_lock = threading.RLock()
NUMBERS = 2**62  # that a word may become
_CLASSES = (lookup_ops.InitializableLookupTableBase, lookup_ops.MutableHashTable)
_tables_lock = threading.Lock()
# The one that Keras 3 looks in, and that of tf_keras, whose SeparableConv1D looks in a third.
_MODULES = (tf.nn, tf.compat.v2.nn)
_OF_VOLUMES = 5  # axes of filters
_convolutions_lock = threading.Lock()


@contextmanager
def known_values() -> Iterator[None]:
    """Inside this block branches and filter banks of TensorFlow are so. One thread at a time."""
    original = tf.cond

    def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any], name: str | None = None) -> Any:
        known = _known(pred) if isinstance(pred, tf.Tensor) else None
        if known is None:
            return original(pred, true_fn, false_fn, name)
        found = true_fn() if known else false_fn()
        return found[0] if isinstance(found, list | tuple) and len(found) == 1 else found

    with _lock, attributes_set([tf, tf.compat.v2], {"cond": cond}), known_filters(tf.signal, tf.compat.v2.signal):
        yield


def _known(condition: tf.Tensor) -> bool | None:
    """What a condition is; False for all of several of which one is."""
    found = smart_constant_value(condition)
    if found is None and condition.op.type == "All" and condition.op.inputs[0].op.type == "Pack":
        parts = [smart_constant_value(part) for part in condition.op.inputs[0].op.inputs]
        return False if any(part is not None and not part for part in parts) else None
    return None if found is None else bool(found)


@contextmanager
def known_filters(*owners: Any) -> Iterator[None]:
    """Inside this block filter banks of these modules or classes are computed at once, where they can be."""
    with _lock, ExitStack() as stack:
        for owner in owners:
            stack.enter_context(attributes_set([owner], {_FILTERS: _at_once(getattr(owner, _FILTERS))}))
        yield


def _at_once(original: Callable[..., Any]) -> Callable[..., Any]:
    # Stands in for that function, whatever is passed to it.
    def matrix(*args: Any, **options: Any) -> Any:
        if any(isinstance(value, tf.Tensor) for value in (*args, *options.values())):
            return original(*args, **options)
        with tf.init_scope():
            return original(*args, **options)

    return matrix


@contextmanager
def losses_written() -> Iterator[None]:
    """Inside this block the loss is so. One thread at a time."""
    original = tf.nn.ctc_loss

    def ctc_loss(
        labels: Any,
        logits: Any,
        label_length: Any,
        logit_length: Any,
        logits_time_major: bool = True,
        unique: Any = None,
        blank_index: int | None = None,
        name: str | None = None,
    ) -> Any:
        is_dense = not isinstance(labels, tf.SparseTensor)
        if not is_dense or any(one is None for one in (label_length, logit_length, blank_index)):
            return original(labels, logits, label_length, logit_length, logits_time_major, unique, blank_index, name)
        logits = tf.convert_to_tensor(logits)
        scores_BTC = tf.transpose(logits, [1, 0, 2]) if logits_time_major else logits
        blank = blank_index % tf.shape(logits)[2]
        labels_BL, labels_B, steps_B = map(tf.convert_to_tensor, (labels, label_length, logit_length))
        return _loss(labels_BL, labels_B, steps_B, scores_BTC, blank)

    with _lock, attributes_set([tf.nn, tf.compat.v2.nn], {"ctc_loss": ctc_loss}):
        yield


def _loss(labels_BL: Any, labels_B: Any, steps_B: Any, scores_BTC: Any, blank: Any) -> Any:
    """Of a row of labels each, of which the first `labels_B` count, and steps, of which the first `steps_B` do."""
    none = tf.constant(scores_BTC.dtype.min / 4, scores_BTC.dtype)  # the logarithm of nearly nothing
    blank = tf.cast(blank, labels_BL.dtype)
    blanks_BL = tf.zeros_like(labels_BL) + blank
    pairs_B2L = tf.reshape(tf.stack([blanks_BL, labels_BL], 2), [tf.shape(labels_BL)[0], -1])
    z_BS = tf.concat([pairs_B2L, blanks_BL[:, :1]], 1)
    before_BS = tf.pad(z_BS[:, :-2], [[0, 0], [2, 0]])
    follows_BS = tf.logical_and(tf.not_equal(z_BS, blank), tf.not_equal(z_BS, before_BS))
    scores_BTS = tf.gather(tf.nn.log_softmax(scores_BTC), z_BS, batch_dims=1, axis=2)
    place_S = tf.range(tf.shape(z_BS)[1])

    def step(t: Any, alpha_BS: Any) -> tuple[Any, Any]:
        one, two = (tf.pad(alpha_BS[:, :-n], [[0, 0], [n, 0]], constant_values=none) for n in (1, 2))
        ways = tf.stack([alpha_BS, one, tf.where(follows_BS, two, none)])
        after = tf.reduce_logsumexp(ways, 0) + tf.gather(scores_BTS, t, axis=1)
        return t + 1, tf.ensure_shape(tf.where(t < tf.cast(steps_B, t.dtype)[:, None], after, alpha_BS), alpha_BS.shape)

    first_BS = tf.where(place_S < 2, scores_BTS[:, 0], none)
    steps = tf.shape(scores_BTS)[1]
    _, alpha_BS = tf.while_loop(lambda t, _: t < steps, step, (tf.constant(1), first_BS))
    ends_B1 = 2 * tf.cast(labels_B, place_S.dtype)[:, None]
    is_end_BS = tf.logical_or(tf.equal(place_S, ends_B1), tf.equal(place_S, ends_B1 - 1))
    total_B = tf.reduce_logsumexp(tf.where(is_end_BS, alpha_BS, none), 1)
    return tf.where(total_B < none / 2, tf.constant(float("inf"), total_B.dtype), -total_B)


@contextmanager
def constant_tables() -> Iterator[None]:
    """Inside this block a table from integers to numbers is looked up so. One thread at a time."""
    with _tables_lock:
        originals = [one.lookup for one in _CLASSES]
        try:
            for one, original in zip(_CLASSES, originals, strict=True):
                one.lookup = _constant(original)
            yield
        finally:
            for one, original in zip(_CLASSES, originals, strict=True):
                one.lookup = original


def _constant(original: Any) -> Any:
    def lookup(self: Any, keys: Any, *arguments: Any, **options: Any) -> Any:
        is_text = self.key_dtype == tf.string
        if not (self.key_dtype.is_integer or is_text) or not tf.is_tensor(keys):
            return original(self, keys, *arguments, **options)
        with tf.init_scope():
            known, values = self.export()
            numbers = _numbers(known).numpy()
            known, values = known.numpy(), values.numpy()
        if len(np.unique(numbers)) < len(numbers):
            return original(self, keys, *arguments, **options)
        order = np.argsort(numbers)
        keys = keys if is_text else tf.cast(keys, self.key_dtype)
        return _found(keys, known[order], numbers[order], values[order], self._default_value)

    return lookup


def _numbers(keys: Any) -> Any:
    return tf.strings.to_hash_bucket_fast(keys, NUMBERS) if keys.dtype == tf.string else keys


def _found(keys: Any, known: np.ndarray, numbers: np.ndarray, values: np.ndarray, default: Any) -> Any:
    default = tf.convert_to_tensor(default)
    if not len(known):
        return tf.broadcast_to(default, tf.shape(keys))
    flat = tf.reshape(keys, [-1])
    # As `tf.searchsorted`, with a row that is seen to be constant: see `source.vocabulary`.
    places = tf.raw_ops.LowerBound(sorted_inputs=tf.constant(numbers[None]), values=_numbers(flat)[None])[0]
    at = tf.minimum(places, len(known) - 1)
    found = tf.where(tf.equal(tf.gather(tf.constant(known), at), flat), tf.gather(tf.constant(values), at), default)
    return tf.ensure_shape(tf.reshape(found, tf.shape(keys)), keys.shape)


@contextmanager
def convolutions_written(conv_class: Any = None) -> Iterator[None]:
    """Inside this block convolutions have these forms. One thread at a time.

    Args:
        conv_class: the class of tf_keras that compiles them.
    """
    with _convolutions_lock, ExitStack() as stack:
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
