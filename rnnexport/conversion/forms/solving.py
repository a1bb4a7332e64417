"""Linear equations of a few unknowns, their elimination written out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    n = _count(matrix)
    return [solution(matrix, tf.zeros_like(matrix) + tf.eye(n, dtype=matrix.dtype))]


def _count(matrix: Tensor) -> int:
    n = matrix.shape[-1]
    if n is None:
        raise FormError("of an open number of unknowns")
    if n > _LARGEST:
        raise FormError(f"of {n} unknowns, more than {_LARGEST},")
    return int(n)


def solution(matrix: Tensor, right: Tensor) -> Tensor:
    """X of `matrix @ x = right`, `[..., N, N]` and `[..., N, K]`."""
    n = _count(matrix)
    rows, _ = _eliminated(tf.concat([matrix, right], -1), n)
    found: list[Tensor] = []
    for at in reversed(range(n)):
        known = rows[..., at, n:]
        for column, value in zip(range(n - 1, at, -1), found, strict=False):
            known = known - rows[..., at, column, None] * value
        found.append(known / rows[..., at, at, None])
    return tf.stack(found[::-1], -2)


def _eliminated(rows: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """The upper triangle that the first n columns become, and whether an odd number of rows changed places."""
    numbers = tf.range(n)
    is_odd = tf.zeros_like(rows[..., 0, 0], tf.bool)
    for at in range(n):
        candidates = tf.where(numbers >= at, tf.abs(rows[..., :, at]), tf.constant(-1, rows.dtype))
        chosen = tf.argmax(candidates, -1, tf.int32)
        is_chosen = tf.equal(numbers, chosen[..., None])[..., None]
        pivot = tf.reduce_sum(tf.where(is_chosen, rows, tf.zeros_like(rows)), -2, keepdims=True)
        replaced = rows[..., at, None, :]
        is_odd = tf.math.logical_xor(is_odd, tf.not_equal(chosen, at))
        rows = tf.where(is_chosen, replaced, rows)
        rows = tf.where(tf.equal(numbers, at)[:, None], pivot, rows)
        if at + 1 < n:
            factors = rows[..., :, at, None] / pivot[..., at, None]
            below = tf.where((numbers > at)[:, None], factors, tf.zeros_like(factors))
            rows = rows - below * pivot
    return rows, is_odd


def _determinant(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """The product of the diagonal, its sign turned where an odd number of rows changed places."""
    del operation
    (matrix,) = inputs
    n = _count(matrix)
    rows, is_odd = _eliminated(matrix, n)
    total = rows[..., 0, 0]
    for at in range(1, n):
        total = total * rows[..., at, at]
    return [tf.where(is_odd, -total, total)]


def _log_determinant(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """LogMatrixDeterminant: the sign, and the logarithm of the size."""
    del operation
    (matrix,) = inputs
    n = _count(matrix)
    rows, is_odd = _eliminated(matrix, n)
    diagonal = tf.linalg.diag_part(rows)
    sign = tf.reduce_prod(tf.sign(diagonal), -1)
    return [tf.where(is_odd, -sign, sign), tf.reduce_sum(tf.math.log(tf.abs(diagonal)), -1)]


def _triangle_solved(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """MatrixTriangularSolve: the other half of the matrix is not looked at."""
    matrix, right = inputs
    n, lower = _count(matrix), operation.get_attr("lower")
    if operation.get_attr("adjoint"):
        matrix, lower = tf.linalg.matrix_transpose(matrix), not lower
    found: dict[int, Tensor] = {}
    for at in range(n) if lower else reversed(range(n)):
        known = right[..., at, :]
        for column, value in found.items():
            known = known - matrix[..., at, column, None] * value
        found[at] = known / matrix[..., at, at, None]
    return [tf.stack([found[at] for at in range(n)], -2)]


def _cholesky(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """The lower triangle L of L Lᵀ, column by column."""
    del operation
    (matrix,) = inputs
    n = _count(matrix)
    rest, columns = matrix, []
    for at in range(n):
        root = tf.sqrt(rest[..., at, at, None])
        column = tf.concat([tf.zeros_like(rest[..., :at, at]), root, rest[..., at + 1 :, at] / root], -1)
        columns.append(column)
        rest = rest - column[..., :, None] * column[..., None, :]
    return [tf.stack(columns, -1)]


FORMS: Mapping[str, Form] = {
    "Cholesky": _cholesky,
    "LogMatrixDeterminant": _log_determinant,
    "MatrixDeterminant": _determinant,
    "MatrixInverse": _inverse,
    "MatrixSolve": _solved,
    "MatrixTriangularSolve": _triangle_solved,
}
