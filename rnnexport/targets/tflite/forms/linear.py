"""Linear algebra of small matrices, written out step by step, as LiteRT has none of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from rnnexport.targets.tflite.forms.form import Form, Operation, fixed

_MOST_ROWS = 32  # of a matrix: so many steps, of some ten operators each


def _small(*matrices: tf.Tensor) -> bool:
    return all(one.dtype.is_floating and fixed(one, -1, -2) for one in matrices) and (
        1 <= int(matrices[0].shape[-1]) <= _MOST_ROWS
    )


def _cholesky(operation: Operation, a: tf.Tensor) -> tf.Tensor | None:
    """Column by column; what is left of the matrix has the outer product of each taken away."""
    if not _small(a):
        return None
    n = int(a.shape[-1])
    columns = []
    for at in range(n):
        pivot = tf.sqrt(a[..., at : at + 1, at])
        column = a[..., :, at] / pivot
        column = column * tf.constant([0.0] * at + [1.0] * (n - at), a.dtype)
        columns.append(column)
        a = a - column[..., :, None] * column[..., None, :]
    return tf.stack(columns, -1)


def _triangular(operation: Operation, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor | None:
    if not _small(a) or not fixed(b, -1, -2):
        return None
    lower, adjoint = operation.get_attr("lower"), operation.get_attr("adjoint")
    if adjoint:
        a, lower = tf.linalg.matrix_transpose(a), not lower
    n = int(a.shape[-1])
    rows: dict[int, tf.Tensor] = {}
    for at in range(n) if lower else reversed(range(n)):
        right = b[..., at, :]
        for done, row in rows.items():
            right = right - a[..., at, done, None] * row
        rows[at] = right / a[..., at, at, None]
    return tf.stack([rows[at] for at in range(n)], -2)


def _eliminated(a: tf.Tensor, b: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Gauss and Jordan's elimination with the largest pivot of each column.

    Returns:
        The solution of a x = b, the pivots, and 1 or -1 for the order of the rows.
    """
    n = int(a.shape[-1])
    whole = tf.concat([a, b], -1)
    pivots, sign = [], tf.ones_like(a[..., 0, 0])
    for at in range(n):
        below = whole[..., at:, :]
        place = tf.argmax(tf.abs(below[..., at]), -1, output_type=tf.int32)
        chosen = tf.one_hot(place, n - at, dtype=a.dtype)[..., None]
        row = tf.reduce_sum(tf.where(chosen > 0, below, tf.zeros_like(below)), -2, keepdims=True)
        swapped = tf.where(chosen > 0, below[..., :1, :], below)  # the first row where the chosen one was
        pivot = row[..., at]
        pivots.append(pivot[..., 0])
        sign = sign * tf.where(tf.equal(place, 0), tf.ones_like(sign), -tf.ones_like(sign))
        scaled = row / pivot[..., None]
        others = [*([whole[..., :at, :]] if at else []), *([swapped[..., 1:, :]] if at < n - 1 else [])]
        left = [part - part[..., at, None] * scaled for part in others]
        whole = tf.concat([*left[: bool(at)], scaled, *left[bool(at) :]], -2)
    return whole[..., n:], tf.stack(pivots, -1), sign


def _solve(operation: Operation, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor | None:
    if not _small(a) or not fixed(b, -1, -2):
        return None
    return _eliminated(tf.linalg.matrix_transpose(a) if operation.get_attr("adjoint") else a, b)[0]


def _inverse(operation: Operation, a: tf.Tensor) -> tf.Tensor | None:
    if not _small(a):
        return None
    found = _eliminated(a, tf.zeros_like(a) + tf.eye(int(a.shape[-1]), dtype=a.dtype))[0]
    return tf.linalg.matrix_transpose(found) if operation.get_attr("adjoint") else found


def _determinant(operation: Operation, a: tf.Tensor) -> tf.Tensor | None:
    if not _small(a):
        return None
    _, pivots, sign = _eliminated(a, a[..., :1])
    return sign * tf.reduce_prod(pivots, -1)


def _log_determinant(operation: Operation, a: tf.Tensor) -> Sequence[tf.Tensor] | None:
    if not _small(a):
        return None
    _, pivots, sign = _eliminated(a, a[..., :1])
    return [sign * tf.reduce_prod(tf.sign(pivots), -1), tf.reduce_sum(tf.math.log(tf.abs(pivots)), -1)]


LINEAR: Mapping[str, Form] = {
    "Cholesky": _cholesky,
    "LogMatrixDeterminant": _log_determinant,
    "MatrixDeterminant": _determinant,
    "MatrixInverse": _inverse,
    "MatrixSolve": _solve,
    "MatrixTriangularSolve": _triangular,
}
