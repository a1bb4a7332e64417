"""Layers whose Python code lets a shape decide, and some that only seem to, for either Keras."""

from __future__ import annotations

import functools

import tensorflow as tf

LIMIT = 40


def is_long(steps):
    return steps is not None and steps > 30


class Literal:
    def call(self, x):
        if x.shape[1] is not None and x.shape[1] > 64:
            return x * 2.0
        return x


class Rows:
    def call(self, x):
        rows = x.shape[0]
        return x + 1.0 if rows is not None and rows > 16 else x


class Attribute:
    limit = 20

    def call(self, x):
        return x * 3.0 if min(x.shape[1] or 1, self.limit) == self.limit else x


class Global:
    def call(self, x):
        return x * 3.0 if (x.shape[1] or 0) >= LIMIT else x


class HandedOn:
    def call(self, x):
        return x * 3.0 if is_long(x.shape[1]) else x


class Positions:
    def build(self, shape):
        self.positions = self.add_weight(shape=(50, shape[-1]), name="positions")
        self.built = True

    def call(self, x):
        return x + self.positions[: x.shape[1]]


class VeryLong:
    def call(self, x):
        return x * 3.0 if x.shape[1] is not None and x.shape[1] > 3000 else x


class BySize:
    def call(self, x):
        rows = tf.shape(x)[0]
        assert len(x.shape) == 3
        return x + tf.zeros((rows, 1, 1))


class Features:
    def call(self, x):
        return x * 2.0 if x.shape[-1] > 2 else x


class Guarded:
    def call(self, x):
        steps = tf.shape(x)[1] if x.shape[1] is None else x.shape[1]
        return x * tf.cast(steps, x.dtype)


_ALL = (Literal, Rows, Attribute, Global, HandedOn, Positions, VeryLong, BySize, Features, Guarded)


@functools.cache
def shape_layers(k):
    """The classes as layers of one Keras, by name."""
    return {kind.__name__: type(kind.__name__, (kind, k.layers.Layer), {"__module__": __name__}) for kind in _ALL}


def with_layer(k, kind):
    """Sequences of 3 features through that layer alone."""
    x = k.Input((None, 3), name="x")
    return k.Model(x, shape_layers(k)[kind](name="looking")(x), name="shapes")
