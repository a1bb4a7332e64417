"""Einsum as transpositions, one product of matrices and sums: the converter has a few equations alone.

a_(B,L,K), b_(B,K,R) -> c_(B,L,R): of the letters of two operands, B are in both and in the result, K in both alone, L
and R in one and the result. What is in one operand alone is summed there; a letter that one has twice is its diagonal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import tensorflow as tf

from rnnexport.conversion.equations import written_out
from rnnexport.targets.tflite.forms.form import Form, Operation, Size, fixed, product, reshaped, sizes

_MOST_RANK = 6  # of what LiteRT transposes and multiplies


@dataclass(frozen=True, eq=False)
class _Lettered:
    """A tensor with a letter for each axis, none twice."""

    letters: str
    tensor: tf.Tensor

    def sized(self) -> dict[str, Size]:
        return dict(zip(self.letters, sizes(self.tensor), strict=True))

    def ordered(self, letters: str) -> tf.Tensor:
        order = [self.letters.index(letter) for letter in letters]
        return self.tensor if order == sorted(order) else tf.transpose(self.tensor, order)

    def summed(self, kept: set[str]) -> _Lettered:
        """Without the letters that are not kept."""
        axes = [at for at, letter in enumerate(self.letters) if letter not in kept]
        if not axes:
            return self
        return _Lettered("".join(one for one in self.letters if one in kept), tf.reduce_sum(self.tensor, axes))


def _einsum(operation: Operation, *inputs: tf.Tensor) -> tf.Tensor | None:
    if any(one.shape.rank is None for one in inputs) or inputs[0].dtype.is_complex:
        return None
    told = written_out(operation.get_attr("equation").decode(), [one.shape.rank for one in inputs])
    if told is None:
        return None
    *given, result = told
    operands = [_diagonal(letters, one) for letters, one in zip(given, inputs, strict=True)]
    if len(result) > _MOST_RANK or not _agree(operands):
        return None
    known = [one for one in operands if one is not None]
    found, *rest = [one.summed(_others(known, at) | set(result)) for at, one in enumerate(known)]
    if rest:
        found = _joined(found, rest[0], result)
    return found.ordered(result)


def _others(operands: Sequence[_Lettered], at: int) -> set[str]:
    return {letter for place, one in enumerate(operands) if place != at for letter in one.letters}


def _diagonal(letters: str, tensor: tf.Tensor) -> _Lettered | None:
    """The operand with each letter once; None where a diagonal has no known size."""
    for letter in dict.fromkeys(letters):
        while letters.count(letter) > 1:
            first, second = [at for at, one in enumerate(letters) if one == letter][:2]
            if not fixed(tensor, first, second):
                return None
            rest = [at for at in range(len(letters)) if at not in (first, second)]
            size, lead = int(tensor.shape[first]), [sizes(tensor)[at] for at in rest]
            flat = reshaped(tf.transpose(tensor, [*rest, first, second]), [*lead, size * size])
            tensor = flat[..., :: size + 1]
            letters = "".join(letters[at] for at in rest) + letter
    return _Lettered(letters, tensor)


def _agree(operands: Sequence[_Lettered | None]) -> bool:
    """Whether no letter is broadcast: it has one size, or none that is known."""
    found: dict[str, set[int | None]] = {}
    for one in operands:
        if one is None:
            return False
        for letter, size in zip(one.letters, one.tensor.shape, strict=True):
            found.setdefault(letter, set()).add(size)
    return all(1 not in several or several == {1} for several in found.values())


def _joined(one: _Lettered, other: _Lettered, result: str) -> _Lettered:
    """Two operands as one, the letters of which are those of the result."""
    both = [letter for letter in one.letters if letter in other.letters]
    batch = "".join(letter for letter in result if letter in both)
    inner = "".join(letter for letter in both if letter not in result)
    left = "".join(letter for letter in result if letter in one.letters and letter not in both)
    right = "".join(letter for letter in result if letter in other.letters and letter not in both)
    dims = one.sized() | other.sized()
    if any(not isinstance(dims[letter], int) for letter in right) and all(isinstance(dims[x], int) for x in left):
        one, other, left, right = other, one, right, left  # LiteRT wants an open size among the rows
    letters = batch + left + right
    lead, B, L, R, K = ([dims[letter] for letter in part] for part in (letters, batch, left, right, inner))
    a, b = one.ordered(batch + left + inner), other.ordered(batch + inner + right)
    if inner and one.tensor.dtype.is_floating:
        rows = [product(B)] if B else []
        c = tf.matmul(reshaped(a, [*rows, product(L), product(K)]), reshaped(b, [*rows, product(K), product(R)]))
        return _Lettered(letters, reshaped(c, lead))
    rows = [product(B)]
    c = reshaped(a, [*rows, product(L), 1, product(K)]) * reshaped(
        tf.transpose(reshaped(b, [*rows, product(K), product(R)]), [0, 2, 1]), [*rows, 1, product(R), product(K)]
    )
    return _Lettered(letters, reshaped(tf.reduce_sum(c, -1) if inner else c, lead))


EINSUM: Mapping[str, Form] = {"Einsum": _einsum}
