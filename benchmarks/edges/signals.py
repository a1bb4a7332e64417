"""Complex numbers, Fourier transforms, linear equations and places among boundaries, as cases of the table."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf

from benchmarks.edges.case import Case

_BOUNDARIES = [-2.5, 0.0, 1.5]


def signal_cases() -> Iterator[Case]:
    """In the order of the table."""
    family = "complex numbers"
    yield Case("complex_abs", family, "ab", lambda a, b: tf.abs(tf.complex(a, b)))
    yield Case("complex_angle", family, "ab", lambda a, b: tf.math.angle(tf.complex(a, b)))
    yield Case("complex_multiply", family, "r", lambda r: _parts(_z(r) * _w(r)), conditioned=True)
    yield Case("complex_divide", family, "r", lambda r: _parts(_z(r) / (_w(r) + 7.0)), conditioned=True)
    yield Case("complex_exp", family, "r", lambda r: _parts(tf.exp(_z(r))), conditioned=True)
    family = "of signals"
    yield Case("rfft", family, "r", lambda r: _parts(tf.signal.rfft(r)), conditioned=True)
    yield Case("irfft", family, "r", lambda r: tf.signal.irfft(tf.complex(r[:, :4], r[:, 2:])), conditioned=True)
    yield Case("fft", family, "r", lambda r: _parts(tf.signal.fft(tf.complex(r, r[:, ::-1]))), conditioned=True)
    yield Case("stft", family, "r", lambda r: tf.abs(tf.signal.stft(r, 4, 2)), conditioned=True)
    yield Case("dct", family, "r", lambda r: tf.signal.dct(r), conditioned=True)
    family = "of matrices"
    yield Case("solve", family, "r", lambda r: tf.linalg.solve(_matrix(r), r[:, 4:, None]), conditioned=True)
    yield Case("inverse", family, "r", lambda r: tf.linalg.inv(_matrix(r)), conditioned=True)
    yield Case("determinant", family, "r", lambda r: tf.linalg.det(_matrix(r)), conditioned=True)
    family = "places"
    yield Case("bucketize", family, "x", lambda x: tf.raw_ops.Bucketize(input=x, boundaries=_BOUNDARIES))
    yield Case("searchsorted", family, "x", lambda x: tf.searchsorted(tf.constant([_BOUNDARIES], x.dtype), x))


def _z(r: tf.Tensor) -> tf.Tensor:
    near = tf.clip_by_value(r, -3.0, 3.0)
    return tf.complex(near, near[:, ::-1])


def _w(r: tf.Tensor) -> tf.Tensor:
    near = tf.clip_by_value(r, -2.0, 4.0)
    return tf.complex(near[:, ::-1], -near)


def _parts(z: tf.Tensor) -> tf.Tensor:
    return tf.stack([tf.math.real(z), tf.math.imag(z)], -1)


def _matrix(r: tf.Tensor) -> tf.Tensor:
    """Of two rows, never singular."""
    near = tf.clip_by_value(tf.where(tf.math.is_nan(r[:, :4]), tf.zeros_like(r[:, :4]), r[:, :4]), -1.0, 1.0)
    return tf.reshape(near, (-1, 2, 2)) + 3.0 * tf.eye(2, dtype=r.dtype)
