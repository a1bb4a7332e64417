"""Lookups of integers as operators on constants: a graph has no place for TensorFlow's tables when it is frozen.

Before: LookupTableFind(table, keys, default)     After: Where(Gather(sorted, at) == keys, Gather(values, at), default)

with `at` the place among the sorted keys of the table. Tables of strings stay tables.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.ops import lookup_ops  # what Keras' lookup layers keep are instances of these

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
        if not self.key_dtype.is_integer or self.value_dtype == tf.string or not tf.is_tensor(keys):
            return original(self, keys, *arguments, **options)
        with tf.init_scope():
            known, values = (part.numpy() for part in self.export())
        order = np.argsort(known)
        return _found(tf.cast(keys, self.key_dtype), known[order], values[order], self._default_value)

    return lookup


def _found(keys: Any, known: np.ndarray, values: np.ndarray, default: Any) -> Any:
    default = tf.cast(default, values.dtype)
    if not len(known):
        return tf.zeros_like(keys, values.dtype) + default
    flat = tf.reshape(keys, [-1])
    # As `tf.searchsorted`, with a row that is seen to be constant: see `source.vocabulary`.
    places = tf.raw_ops.LowerBound(sorted_inputs=tf.constant(known[None]), values=flat[None])[0]
    at = tf.minimum(places, len(known) - 1)
    found = tf.where(tf.equal(tf.gather(tf.constant(known), at), flat), tf.gather(tf.constant(values), at), default)
    return tf.ensure_shape(tf.reshape(found, tf.shape(keys)), keys.shape)
