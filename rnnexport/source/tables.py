"""Lookups as operators on constants: a graph has no place for TensorFlow's tables when it is frozen.

Before: LookupTableFind(table, keys, default)     After: Where(Gather(sorted, at) == keys, Gather(values, at), default)

with `at` the place among the sorted keys of the table. Words are sorted, and looked up, by a number made of their
bytes, which is another for each of them, and compared as words.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.compat.tensorflow import lookup_ops

NUMBERS = 2**62  # that a word may become
_CLASSES = (lookup_ops.InitializableLookupTableBase, lookup_ops.MutableHashTable)
_lock = threading.Lock()


@contextmanager
def constant_tables() -> Iterator[None]:
    """Inside this block a table from integers to numbers is looked up so. One thread at a time."""
    with _lock:
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
