"""Einsum of one or two operands as transpositions and one product of matrices.

    Before: Einsum(x_ABC, w_CDE, "abc,cde->abde")     After: Reshape(MatMul(x_ABC, Reshape(w, [C, D*E])), [0, 0, D, E])

tf2onnx has a form for each, which it searches for among all orders of the letters: seconds, and four times the nodes.
Of the letters of a_(B,L,K), b_(B,K,R) -> c_(B,L,R), B are in both operands and in the result, K in both operands alone,
L and R in one operand and the result. Equations that this has no form for are left to tf2onnx: diagonals, sizes that
are multiplied and not known, and operands of an unknown rank.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rnnexport.conversion.equations import written_out
from rnnexport.conversion.handlers.making import Handler, Rewrite, Tensor

Sizes = Mapping[str, "int | None"]


@dataclass(frozen=True)
class _Operand:
    """A tensor with a letter for each axis, none twice."""

    letters: str
    tensor: Tensor


def _einsum(node: Rewrite) -> None:
    told = _read(node)
    if told is None or not _by_matrices(node, *told):
        equation = node.attribute("equation", b"").decode().replace(" ", "")
        node.last("Einsum", *node.inputs, equation=equation)


def _by_matrices(node: Rewrite, operands: Sequence[_Operand], result: str, sizes: Sizes) -> bool:
    """Whether it was written; nothing is, where it is not."""
    kept = set(result)
    if len(operands) == 1:
        found = _summed(node, operands[0], kept)
        _last(node, found, result)
        return True
    one, other = operands
    both = set(one.letters) & set(other.letters)
    inner = "".join(letter for letter in one.letters if letter in both - kept)
    batch = "".join(letter for letter in result if letter in both)
    left, right = ("".join(letter for letter in result if letter in set(part.letters) - both) for part in operands)
    if inner and _swapped(left, right, result, sizes):
        one, other, left, right = other, one, right, left
    if inner and not all(_flat(part, sizes) for part in (inner, right)) and len(inner + right) > 1:
        return False
    one, other = _summed(node, one, kept | both), _summed(node, other, kept | both)
    if inner:
        _last(node, _product(node, one, other, (batch, left, inner, right), sizes), result)
    else:
        node.last("Mul", _aligned(node, one, result), _aligned(node, other, result))
    return True


def _swapped(left: str, right: str, result: str, sizes: Sizes) -> bool:
    """Whether the second operand is better on the left: what is on the right is made one dimension."""
    if _flat(left, sizes) != _flat(right, sizes):
        return not _flat(right, sizes)
    if (len(left) > 1) != (len(right) > 1):
        return len(right) > 1 and not all(sizes[letter] for letter in right)
    return bool(left and right) and result.index(right[0]) < result.index(left[0]) and len(right) == 1


def _flat(letters: str, sizes: Sizes) -> bool:
    """Whether the letters can be made one dimension, and that be made these letters again."""
    return len(letters) <= 1 or all(sizes[letter] is not None for letter in letters)


def _product(node: Rewrite, one: _Operand, other: _Operand, parts: tuple[str, str, str, str], sizes: Sizes) -> _Operand:
    """The product of two operands of which (batch, left, inner, right) are the letters."""
    batch, left, inner, right = parts
    a = _ordered(node, one, batch + left + inner)
    if len(inner) > 1:
        a = _reshaped(node, a, [0] * len(batch + left) + [-1])
    b = _ordered(node, other, batch + inner + right)
    if len(inner) > 1 or len(right) != 1:
        b = _reshaped(node, b, [0] * len(batch) + [_size(inner, sizes), _size(right, sizes)])
    if batch and len(left) > 1:  # what is left stays apart: the product is broadcast over it
        axes = [len(batch) + at for at in range(len(left) - 1)]
        b = node("Unsqueeze", b, node.constant(np.array(axes, np.int64)))
    if not left:
        a = node("Unsqueeze", a, node.constant(np.array([len(batch)], np.int64)))
    c = node("MatMul", a, b)
    if not left or len(right) != 1:
        lead = [0] * len(batch + left)
        c = _reshaped(node, c, [*lead, *((sizes[letter] or -1) for letter in right)])
    return _Operand(batch + left + right, c)


def _size(letters: str, sizes: Sizes) -> int:
    known = [sizes[letter] for letter in letters]
    return -1 if None in known else math.prod(size for size in known if size is not None)


def _reshaped(node: Rewrite, tensor: Tensor, shape: Sequence[int]) -> Tensor:
    return node("Reshape", tensor, node.constant(np.array(shape, np.int64)))


def _summed(node: Rewrite, operand: _Operand, kept: set[str]) -> _Operand:
    """Without the letters that are not kept."""
    axes = [at for at, letter in enumerate(operand.letters) if letter not in kept]
    if not axes:
        return operand
    tensor = node("ReduceSum", operand.tensor, node.constant(np.array(axes, np.int64)), keepdims=0)
    return _Operand("".join(letter for letter in operand.letters if letter in kept), tensor)


def _ordered(node: Rewrite, operand: _Operand, letters: str) -> Tensor:
    order = [operand.letters.index(letter) for letter in letters]
    return operand.tensor if order == sorted(order) else node("Transpose", operand.tensor, perm=order)


def _aligned(node: Rewrite, operand: _Operand, result: str) -> Tensor:
    """The operand with all letters of the result, those that it has not of size 1."""
    tensor = _ordered(node, operand, "".join(letter for letter in result if letter in operand.letters))
    axes = [at for at, letter in enumerate(result) if letter not in operand.letters]
    return node("Unsqueeze", tensor, node.constant(np.array(axes, np.int64))) if axes else tensor


def _last(node: Rewrite, found: _Operand, result: str) -> None:
    if found.letters == result:
        node.last("Identity", found.tensor)
    else:
        node.last("Transpose", found.tensor, perm=[found.letters.index(letter) for letter in result])


def _read(node: Rewrite) -> tuple[list[_Operand], str, Sizes] | None:
    """The operands, the letters of the result, and what is known of the size of each letter."""
    equation, ranks = node.attribute("equation", b"").decode(), [node.rank(one) for one in node.inputs]
    known = [rank for rank in ranks if rank is not None]
    if "->" not in equation or len(ranks) > 2 or len(known) < len(ranks):
        return None
    told = written_out(equation, known)
    if told is None:
        return None
    *letters, result = told
    sizes: dict[str, int | None] = {}
    for part, tensor in zip(letters, node.inputs, strict=True):
        for letter, size in zip(part, node.shape(tensor) or (), strict=True):
            if 1 in (size, sizes.get(letter, size)) and sizes.get(letter, size) != size:
                return None  # one may be broadcast
            sizes[letter] = size if sizes.get(letter) is None else sizes[letter]
    if any(len(set(part)) < len(part) for part in (*letters, result)) or not set(result) <= set(sizes):
        return None
    return [_Operand(part, tensor) for part, tensor in zip(letters, node.inputs, strict=True)], result, sizes


HANDLERS: Mapping[str, Handler] = {"Einsum": _einsum}
