"""What is known while a graph is traced, computed then, as in eager mode.

1. The branch of a `tf.cond` that is taken: the other one, which eager mode never runs, may not fit the shapes that are
   known in a graph (`keras.ops.inner`).
       Before: cond(rank(x) == 0, lambda: x * y, lambda: tensordot(x, y))      After: tensordot(x, y)
2. Filter banks of the mel scale: differences of nearly equal frequencies, of which rounding decides a hundredth of a
   thousandth, so that those of the model are the ones that its own arithmetic gives.
       Before: (upper - frequencies) / (upper - center)                        After: a constant
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import tensorflow as tf

from rnnexport.compat.tensorflow import smart_constant_value
from rnnexport.source.api import attributes_set

_FILTERS = "linear_to_mel_weight_matrix"
_lock = threading.RLock()


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
