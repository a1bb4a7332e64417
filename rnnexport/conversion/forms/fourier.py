"""Discrete Fourier transforms as products with matrices: X[k] = sum over i of x[i] * exp(-2 pi i k / n * sqrt(-1)).

Angles are reduced before they are angles, by (i * k) mod n, and cosines and sines taken in float64, so that what is
rounded to the dtype of the model is the matrix, once. A length that is known gives constants, any other is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from rnnexport.conversion.forms.values import ComplexPair, Form, FormError, Tensor, Value

# The largest matrix, in numbers: 64 MB in float32.
_LARGEST = 2**24


def _angles(rows: Tensor, columns: Tensor, n: Tensor) -> Tensor:
    """2 pi ((i k) mod n) / n, in float64."""
    if all(isinstance(size, int) for size in (rows, columns, n)):
        if rows * columns > _LARGEST:
            raise FormError(f"of {n} numbers")
        return 2 * np.pi * (np.outer(np.arange(rows), np.arange(columns)) % n) / n
    i, k = tf.range(tf.cast(rows, tf.int64)), tf.range(tf.cast(columns, tf.int64))
    reduced = tf.math.floormod(i[:, None] * k[None, :], tf.cast(n, tf.int64))
    return tf.cast(reduced, tf.float64) * (tf.constant(2 * np.pi, tf.float64) / tf.cast(n, tf.float64))


def _matrix(function: Callable[..., Tensor], angles: Tensor, dtype: tf.DType, factor: Tensor | None = None) -> Tensor:
    """`function`, np.cos or np.sin, of angles, in the dtype of a model; columns or rows may have a factor each."""
    if isinstance(angles, np.ndarray):
        exact = function(angles)
        found = tf.constant(exact if factor is None else exact * factor, tf.float64)
    else:
        exact = tf.cos(angles) if function is np.cos else tf.sin(angles)
        found = exact if factor is None else exact * factor
    return tf.cast(found, dtype)


def _size(x: Tensor, axis: int) -> Tensor:
    size = x.shape[axis]
    return tf.shape(x)[axis] if size is None else size


def _fitted(x: Tensor, n: Tensor) -> Tensor:
    """The last axis cut, or filled up with zeros, to n."""
    size = _size(x, -1)
    if isinstance(size, int) and isinstance(n, int):
        if size >= n:
            return x if size == n else _first(x, n)
        missing: Tensor = n - size
    else:
        x, missing = _first(x, n), tf.maximum(n - size, 0)
    rank = x.shape.rank
    return tf.pad(x, tf.concat([tf.zeros([rank - 1, 2], tf.int32), [[0, missing]]], 0))


def _first(x: Tensor, n: Tensor) -> Tensor:
    """The first n along the last axis; a slice with an ellipsis is not converted where a rank is not known."""
    return x[(*[slice(None)] * (x.shape.rank - 1), slice(0, n))]


def _length(given: Value) -> Tensor:
    """The length that an operator is told."""
    known = tf.get_static_value(given)
    return given[0] if known is None else int(known[0])


def _half(n: Tensor) -> Tensor:
    return n // 2 + 1


def _of_real(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """RFFT: the first half of the frequencies; the others are conjugates of these."""
    del operation
    x, n = inputs[0], _length(inputs[1])
    angles = _angles(n, _half(n), n)
    x = _fitted(x, n)
    return [ComplexPair(_times(x, _matrix(np.cos, angles, x.dtype)), -_times(x, _matrix(np.sin, angles, x.dtype)))]


def _to_real(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """IRFFT: each frequency that has a conjugate counts twice, and of the others the real part alone."""
    del operation
    z, n = inputs[0], _length(inputs[1])
    half = _half(n)
    angles = _angles(half, n, n)
    counts: Tensor
    if isinstance(n, int):
        counts = np.where((np.arange(half) == 0) | (2 * np.arange(half) == n), 1.0, 2.0)[:, None] / n
    else:
        at = tf.range(half)
        once = tf.logical_or(tf.equal(at, 0), tf.equal(2 * at, n))
        counts = tf.where(once, tf.constant(1.0, tf.float64), tf.constant(2.0, tf.float64))[:, None]
        counts = counts / tf.cast(n, tf.float64)
    real, imag = _fitted(z.real, half), _fitted(z.imag, half)
    cosines, sines = (_matrix(function, angles, real.dtype, counts) for function in (np.cos, np.sin))
    return [_times(real, cosines) - _times(imag, sines)]


def _along_last(z: ComplexPair, inverse: bool) -> ComplexPair:
    n = _size(z.real, -1)
    angles = _angles(n, n, n)
    factor = None if not inverse else (1 / n if isinstance(n, int) else 1 / tf.cast(n, tf.float64))
    cosines, sines = (_matrix(function, angles, z.real.dtype, factor) for function in (np.cos, np.sin))
    if inverse:
        real = _times(z.real, cosines) - _times(z.imag, sines)
        return ComplexPair(real, _times(z.imag, cosines) + _times(z.real, sines))
    return ComplexPair(_times(z.real, cosines) + _times(z.imag, sines), _times(z.imag, cosines) - _times(z.real, sines))


def _of_complex(axes: int, inverse: bool) -> Form:
    """FFT and IFFT along the last axes, one after the other."""

    def form(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
        del operation
        (z,) = inputs
        rank = z.real.shape.rank
        for axis in range(1, axes + 1):
            order = [at for at in range(rank) if at != rank - axis] + [rank - axis]
            back = list(np.argsort(order))
            if axis > 1:
                z = ComplexPair(tf.transpose(z.real, order), tf.transpose(z.imag, order))
            z = _along_last(z, inverse)
            if axis > 1:
                z = ComplexPair(tf.transpose(z.real, back), tf.transpose(z.imag, back))
        return [z]

    return form


def _times(x: Tensor, matrix: Tensor) -> Tensor:
    """Rows times a matrix; a single row is a vector."""
    if x.shape.rank == 1:
        return tf.matmul(x[None, :], matrix)[0]
    return tf.matmul(x, matrix)


FORMS: Mapping[str, Form] = {
    "FFT": _of_complex(1, False),
    "FFT2D": _of_complex(2, False),
    "FFT3D": _of_complex(3, False),
    "IFFT": _of_complex(1, True),
    "IFFT2D": _of_complex(2, True),
    "IFFT3D": _of_complex(3, True),
    "IRFFT": _to_real,
    "RFFT": _of_real,
}
