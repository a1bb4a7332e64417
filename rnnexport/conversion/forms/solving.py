"""Linear equations of a few unknowns, their elimination written out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

import tensorflow as tf

from rnnexport.conversion.forms.values import Form, FormError, Tensor, Value

# Each unknown is some twenty operators.
_LARGEST = 32


def _solved(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """MatrixSolve: Gauss's elimination with the largest of each column, then the unknowns, the last one first."""
    matrix, right = inputs
    if operation.get_attr("adjoint"):
        matrix = tf.linalg.matrix_transpose(matrix)
    return [solution(matrix, right)]


def _inverse(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    (matrix,) = inputs
    if operation.get_attr("adjoint"):
        matrix = tf.linalg.matrix_transpose(matrix)
    n = count_of(matrix)
    return [solution(matrix, tf.zeros_like(matrix) + tf.eye(n, dtype=matrix.dtype))]


def count_of(matrix: Tensor) -> int:
    """The number of columns, as many as rows. Raises FormError for too many, and for an open number."""
    n = matrix.shape[-1]
    if n is None:
        raise FormError("of an open number of unknowns")
    if n > _LARGEST:
        raise FormError(f"of {n} unknowns, more than {_LARGEST},")
    return int(n)


def solution(matrix: Tensor, right: Tensor) -> Tensor:
    """X of `matrix @ x = right`, `[..., N, N]` and `[..., N, K]`."""
    n = count_of(matrix)
    matrix, right, _ = _eliminated(matrix, right, n)
    found: list[Tensor] = []
    for at in reversed(range(n)):
        found.insert(0, _unknown(rows_of(matrix, at), rows_of(right, at), at, range(at + 1, n), found))
    return _joined(found, 2)


def _unknown(row: Tensor, known: Tensor, at: int, others: Sequence[int], values: Sequence[Tensor]) -> Tensor:
    """One row of unknowns: what the others leave of `known`, over the number at `at`; rows are `[..., 1, N]`."""
    if others:
        known = known - tf.matmul(columns_of(row, *others), _joined(values, 2))
    return known / columns_of(row, at)


def _joined(parts: Sequence[Tensor], from_last: int) -> Tensor:
    # Neither is a join along an axis that is counted from the last.
    return tf.concat(parts, parts[0].shape.rank - from_last)


def rows_of(matrix: Tensor, *at: int) -> Tensor:
    """Some rows."""
    # Slices with an ellipsis are not converted where a rank is not known, as in loops.
    return tf.gather(matrix, list(at), axis=-2)


def columns_of(matrix: Tensor, *at: int) -> Tensor:
    """Some columns."""
    return tf.gather(matrix, list(at), axis=-1)


def pivoted(arrays: Sequence[Tensor], at: int) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
    """A row of a matrix changed for the one with the largest number of that column, among those from there on.

    Args:
        arrays: the matrix, and others whose rows change with it.
        at: the row, and the column.

    Returns:
        The arrays, their rows there, how often that row is in each row below it, and which row is there now.
    """
    matrix = arrays[0]
    numbers = tf.range(count_of(matrix))
    sizes = tf.abs(tf.squeeze(columns_of(matrix, at), -1))
    chosen = tf.argmax(tf.where(numbers >= at, sizes, tf.constant(-1, matrix.dtype)), -1, tf.int32)
    is_chosen = tf.expand_dims(tf.equal(numbers, tf.expand_dims(chosen, -1)), -1)
    is_here, is_below = (tf.expand_dims(which, -1) for which in (tf.equal(numbers, at), numbers > at))
    pivots = [tf.reduce_sum(tf.where(is_chosen, x, tf.zeros_like(x)), -2, keepdims=True) for x in arrays]
    changed = [
        tf.where(is_here, pivot, tf.where(is_chosen, rows_of(x, at), x))
        for x, pivot in zip(arrays, pivots, strict=True)
    ]
    factors = columns_of(changed[0], at) / columns_of(pivots[0], at)
    return changed, pivots, tf.where(is_below, factors, tf.zeros_like(factors)), chosen


def _eliminated(matrix: Tensor, right: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """The upper triangle that a matrix becomes, its other side, and whether an odd number of rows changed places."""
    is_odd = tf.zeros_like(tf.squeeze(columns_of(rows_of(matrix, 0), 0), [-2, -1]), tf.bool)
    for at in range(n):
        (matrix, right), pivots, factors, chosen = pivoted((matrix, right), at)
        is_odd = tf.math.logical_xor(is_odd, tf.not_equal(chosen, at))
        matrix, right = (x - factors * pivot for x, pivot in zip((matrix, right), pivots, strict=True))
    return matrix, right, is_odd


def _diagonal(matrix: Tensor, n: int) -> list[Tensor]:
    return [tf.squeeze(columns_of(rows_of(matrix, at), at), [-2, -1]) for at in range(n)]


def _determinant(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """The product of the diagonal, its sign turned where an odd number of rows changed places."""
    del operation
    (matrix,) = inputs
    n = count_of(matrix)
    triangle, _, is_odd = _eliminated(matrix, matrix, n)
    total = reduce(tf.multiply, _diagonal(triangle, n))
    return [tf.where(is_odd, -total, total)]


def _log_determinant(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """LogMatrixDeterminant: the sign, and the logarithm of the size."""
    del operation
    (matrix,) = inputs
    n = count_of(matrix)
    triangle, _, is_odd = _eliminated(matrix, matrix, n)
    diagonal = _diagonal(triangle, n)
    sign = reduce(tf.multiply, map(tf.sign, diagonal))
    size = reduce(tf.add, [tf.math.log(tf.abs(one)) for one in diagonal])
    return [tf.where(is_odd, -sign, sign), size]


def _triangle_solved(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """MatrixTriangularSolve: the other half of the matrix is not looked at."""
    matrix, right = inputs
    n, lower = count_of(matrix), operation.get_attr("lower")
    if operation.get_attr("adjoint"):
        matrix, lower = tf.linalg.matrix_transpose(matrix), not lower
    found: dict[int, Tensor] = {}
    for at in range(n) if lower else reversed(range(n)):
        found[at] = _unknown(rows_of(matrix, at), rows_of(right, at), at, list(found), list(found.values()))
    return [_joined([found[at] for at in range(n)], 2)]


def _cholesky(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """The lower triangle L of L Lᵀ, column by column."""
    del operation
    (rest,) = inputs
    n, columns = count_of(rest), []
    for at in range(n):
        is_below = tf.expand_dims(tf.range(n) >= at, -1)
        column = columns_of(rest, at) / tf.sqrt(columns_of(rows_of(rest, at), at))
        columns.append(tf.where(is_below, column, tf.zeros_like(column)))
        rest = rest - tf.matmul(columns[-1], columns[-1], transpose_b=True)
    return [_joined(columns, 1)]


FORMS: Mapping[str, Form] = {
    "Cholesky": _cholesky,
    "LogMatrixDeterminant": _log_determinant,
    "MatrixDeterminant": _determinant,
    "MatrixInverse": _inverse,
    "MatrixSolve": _solved,
    "MatrixTriangularSolve": _triangle_solved,
}
