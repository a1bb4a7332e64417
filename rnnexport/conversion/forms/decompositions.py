"""Matrices of a few rows taken apart: by elimination, by reflections, by rotations; M rows, N columns.

What constants alone decide is computed by TensorFlow's own kernel. Of the rest QR and LU have TensorFlow's values,
signs and all. Eigenvalues and singular values are in its order; the signs of their vectors are those of its kernel
alone, so vectors are computed for what reads them, such as a pseudo-inverse, where signs cancel, and not given out.

QR by Householder's reflections, LU with partial pivoting, rotations of disjoint pairs of columns at once: G. H. Golub
and C. F. Van Loan, Matrix Computations, sections 5.2, 3.4, 8.5 (Jacobi) and 8.6.3 (one-sided Jacobi).

Linear equations of a few unknowns, their elimination written out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import tensorflow as tf

from rnnexport.conversion.forms.values import Form, FormError, Tensor, Value

# A step of QR is some twenty operators; rotations are steps of a loop.
_LARGEST = 32
Turned = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]  # a matrix and vectors after one round
_SWEEPS = 10  # they converge quadratically: seven are enough for 32 columns in float64
# Each unknown is some twenty operators.
_MOST_UNKNOWNS = 32


def _lu(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """Lu: both triangles in one matrix, and the order of the rows."""
    (matrix,) = inputs
    n = count_of(matrix)
    numbers = tf.range(n)
    order = tf.zeros_like(columns_of(matrix, 0), operation.outputs[1].dtype)
    order += tf.cast(tf.expand_dims(numbers, -1), order.dtype)
    for at in range(n):
        (matrix, order), (pivot, _), factors, _ = pivoted((matrix, order), at)
        rest = tf.where(numbers > at, matrix - factors * pivot, matrix)
        is_below = tf.expand_dims(numbers > at, -1)
        matrix = tf.where(tf.logical_and(is_below, tf.equal(numbers, at)), factors, rest)
    return [matrix, tf.squeeze(order, -1)]


def _qr(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """Qr: column by column, the sign of the diagonal turned away from that of the column."""
    (matrix,) = inputs
    M, N = _sizes(matrix)
    numbers, least = tf.range(M), matrix.dtype.as_numpy_dtype(np.finfo(matrix.dtype.as_numpy_dtype).tiny)
    q = tf.zeros_like(tf.matmul(matrix, matrix, transpose_b=True)) + tf.eye(M, dtype=matrix.dtype)
    for at in range(min(M, N)):
        column, first = columns_of(matrix, at), columns_of(rows_of(matrix, at), at)
        is_below, is_here = (tf.expand_dims(which, -1) for which in (numbers > at, tf.equal(numbers, at)))
        below = tf.where(is_below, column, tf.zeros_like(column))
        rest = tf.reduce_sum(tf.square(below), -2, keepdims=True)
        is_done = rest <= least
        size = tf.sqrt(tf.square(first) + rest)
        corner = tf.where(is_done, first, tf.where(first >= 0.0, -size, size))
        one = tf.ones_like(first)
        vector = tf.where(is_here, one, below / tf.where(is_done, one, first - corner))
        factor = tf.where(is_done, tf.zeros_like(first), (corner - first) / tf.where(is_done, one, corner))
        matrix = matrix - factor * vector * tf.matmul(vector, matrix, transpose_a=True)
        q = q - factor * tf.matmul(q, vector) * tf.linalg.matrix_transpose(vector)
        exact = tf.where(is_here, corner, tf.where(is_below, tf.zeros_like(column), columns_of(matrix, at)))
        matrix = tf.where(tf.equal(tf.range(N), at), exact, matrix)
    if not operation.get_attr("full_matrices") and M > N:
        q, matrix = columns_of(q, *range(N)), rows_of(matrix, *range(N))
    return [q, matrix]


def _eigen(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """SelfAdjointEigV2, of the lower triangle: the least eigenvalue first."""
    (matrix,) = inputs
    _require_inner(operation.outputs[1], "whose eigenvectors are given out with signs that are its kernel's own")
    N = count_of(matrix)
    lower = tf.linalg.band_part(matrix, -1, 0)
    matrix = lower + tf.linalg.matrix_transpose(lower) - tf.eye(N, dtype=matrix.dtype) * matrix
    rounds = _Rounds.of(N)

    def turned(at: Tensor, matrix: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        first, second = (tf.gather(tf.constant(pairs), at) for pairs in (rounds.first, rounds.second))
        flat = tf.reshape(matrix, [-1, N * N])
        one, other, both = (
            tf.gather(flat, place, axis=-1) for place in (first * (N + 1), second * (N + 1), first * N + second)
        )
        turn = rounds.rotation(at, one, other, both)
        matrix = tf.matmul(turn, tf.matmul(tf.reshape(matrix, [-1, N, N]), turn), transpose_a=True)
        return matrix, tf.matmul(vectors, turn)

    flat = tf.reshape(matrix, [-1, N, N])
    flat, vectors = rounds.all(turned, flat, tf.zeros_like(flat) + tf.eye(N, dtype=matrix.dtype))
    values = tf.reduce_sum(flat * tf.eye(N, dtype=matrix.dtype), -1)
    order = tf.argsort(values)
    picked = tf.one_hot(order, N, dtype=matrix.dtype, axis=1)
    vectors = tf.matmul(vectors, picked)
    return [tf.reshape(tf.sort(values), tf.shape(matrix)[:-1]), tf.reshape(vectors, tf.shape(matrix))]


def _singular(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """Svd: columns turned until they are orthogonal; their lengths, the largest first, are the singular values."""
    (matrix,) = inputs
    for vectors in operation.outputs[1:]:
        _require_inner(vectors, "whose singular vectors are given out with signs that are its kernel's own")
    M, N = _sizes(matrix)
    is_wide = M < N
    tall = tf.linalg.matrix_transpose(matrix) if is_wide else matrix
    M, N = max(M, N), min(M, N)
    if M != N and operation.get_attr("compute_uv") and operation.get_attr("full_matrices"):
        raise FormError("with full_matrices of a matrix that is not square, which full_matrices=False has a form of,")
    rounds = _Rounds.of(N)

    def turned(at: Tensor, tall: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        first, second = (tf.gather(tall, tf.gather(tf.constant(p), at), axis=-1) for p in (rounds.first, rounds.second))
        one, other, both = (tf.reduce_sum(x * y, -2) for x, y in ((first, first), (second, second), (first, second)))
        turn = rounds.rotation(at, one, other, both)
        return tf.matmul(tall, turn), tf.matmul(vectors, turn)

    flat = tf.reshape(tall, [-1, M, N])
    right = tf.zeros_like(flat[:, :N]) + tf.eye(N, dtype=matrix.dtype)
    flat, right = rounds.all(turned, flat, right)
    values = tf.sqrt(tf.reduce_sum(tf.square(flat), -2))
    picked = tf.one_hot(tf.argsort(-values), N, dtype=matrix.dtype, axis=1)
    lengths = tf.expand_dims(values, -2)
    left = tf.where(lengths > 0.0, flat / tf.where(lengths > 0.0, lengths, tf.ones_like(lengths)), 0.0)
    batch = tf.shape(matrix)[:-2]
    sides = [
        tf.reshape(tf.matmul(side, picked), tf.concat([batch, [rows, N]], 0)) for side, rows in ((left, M), (right, N))
    ]
    values = tf.reshape(-tf.sort(-values), tf.concat([batch, [N]], 0))
    return [values, *(reversed(sides) if is_wide else sides)]


@dataclass(frozen=True, eq=False)
class _Rounds:
    """Pairs of N columns, so that each pair is in one round, and each column once in a round (P pairs in R rounds).

    Attributes:
        first: of each pair, (R, P); `second` the other.
        same: where the cosine of each pair stands in a flat rotation, (R, P, N * N); `crossed` the sine.
        alone: 1 where a column is in no pair, (R, N * N).
    """

    first: np.ndarray
    second: np.ndarray
    same: np.ndarray
    crossed: np.ndarray
    alone: np.ndarray

    @staticmethod
    def of(N: int) -> _Rounds:
        """All of them, as in a tournament."""
        players = [*range(N), *([] if N % 2 == 0 else [N])]
        half, rounds = len(players) // 2, []
        for at in range(len(players) - 1):
            ring = [players[0], *map(int, np.roll(players[1:], at))]
            met = [sorted((ring[i], ring[-1 - i])) for i in range(half)]
            rounds.append([pair for pair in met if pair[1] < N])
        pairs = np.array(rounds, np.int32).reshape(len(rounds), -1, 2)
        unit = np.eye(N, dtype=np.float32)
        row = unit[pairs[..., 0]], unit[pairs[..., 1]]
        own = [np.einsum("rpi,rpj->rpij", one, other) for one, other in (row, row[::-1])]
        same = sum(np.einsum("rpi,rpj->rpij", one, one) for one in row)
        shape = (*pairs.shape[:2], N * N)
        alone = unit - same.sum(1)
        return _Rounds(
            pairs[..., 0],
            pairs[..., 1],
            same.reshape(shape),
            (own[0] - own[1]).reshape(shape),
            alone.reshape(-1, N * N),
        )

    def rotation(self, at: Tensor, one: Tensor, other: Tensor, both: Tensor) -> Tensor:
        """(B, N, N): turns the pairs of a round so that `both` becomes 0; products of a column with itself, (B, P)."""
        dtype = both.dtype
        is_done = tf.equal(both, 0.0)
        ratio = (other - one) / tf.where(is_done, tf.ones_like(both), 2.0 * both)
        tangent = tf.where(ratio >= 0.0, 1.0, -1.0) / (tf.abs(ratio) + tf.sqrt(1.0 + tf.square(ratio)))
        tangent = tf.where(is_done, tf.zeros_like(both), tangent)
        cosine = 1.0 / tf.sqrt(1.0 + tf.square(tangent))
        same, crossed, alone = (
            tf.gather(tf.constant(part, dtype), at) for part in (self.same, self.crossed, self.alone)
        )
        flat = tf.matmul(cosine, same) + tf.matmul(cosine * tangent, crossed) + alone
        N = int(np.sqrt(self.alone.shape[-1]))
        return tf.reshape(flat, [-1, N, N])

    def all(self, turned: Turned, matrix: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Both after all rounds, again and again."""
        count = len(self.first)
        if not self.first.size:
            return matrix, vectors

        def step(at: Tensor, matrix: Tensor, vectors: Tensor) -> tuple[Tensor, ...]:
            return at + 1, *turned(tf.math.floormod(at, count), matrix, vectors)

        shapes = [tf.TensorShape([]), matrix.shape, vectors.shape]
        _, matrix, vectors = tf.while_loop(
            lambda at, *_: at < _SWEEPS * count, step, [tf.constant(0), matrix, vectors], shape_invariants=shapes
        )
        return matrix, vectors


def _sizes(matrix: Tensor) -> tuple[int, int]:
    M, N = matrix.shape[-2:]
    if M is None or N is None:
        raise FormError("of an open number of rows or columns")
    if max(M, N) > _LARGEST:
        raise FormError(f"of {M} by {N} numbers, more than {_LARGEST} rows or columns,")
    return int(M), int(N)


def _require_inner(tensor: Tensor, why: str) -> None:
    """FormError where a tensor is an output of the graph."""
    for reader in tensor.consumers():
        if reader.type == "Identity":
            if not reader.outputs[0].consumers():
                raise FormError(why)
            _require_inner(reader.outputs[0], why)


def _general(operation: tf.Operation, inputs: Sequence[Value]) -> list[Value]:
    """Eig."""
    del operation, inputs
    raise FormError("of a matrix that is not constant (eigh of a symmetric one has a form)")


# Computed by TensorFlow where they depend on constants alone.
FOLDED = frozenset({"Eig", "Lu", "MatrixLogarithm", "MatrixSquareRoot", "Qr", "SelfAdjointEigV2", "Svd"})


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
    if n > _MOST_UNKNOWNS:
        raise FormError(f"of {n} unknowns, more than {_MOST_UNKNOWNS},")
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
    "Eig": _general,
    "LogMatrixDeterminant": _log_determinant,
    "Lu": _lu,
    "MatrixDeterminant": _determinant,
    "MatrixInverse": _inverse,
    "MatrixSolve": _solved,
    "MatrixTriangularSolve": _triangle_solved,
    "Qr": _qr,
    "SelfAdjointEigV2": _eigen,
    "Svd": _singular,
}
