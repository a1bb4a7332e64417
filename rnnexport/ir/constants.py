"""The value of a term that depends on constants alone: weights as the step cuts, turns and joins them.

What clean-up of the whole graph can't fold, because it stands inside a loop. Only what models do to weights is here;
for every other operator the answer is None, which is always safe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

import numpy as np

from rnnexport.ir.terms import Term, below

# No constant is folded to more elements than this: a weight of 256 MB.
_LARGEST = 1 << 26
Fold = Callable[[Term, Sequence[np.ndarray]], "np.ndarray | Sequence[np.ndarray] | None"]


class Constants:
    """Values of terms, each found once."""

    def __init__(self) -> None:
        self._found: dict[Term, np.ndarray | None] = {}
        self._laid_out: dict[Term, np.ndarray] = {}

    def __call__(self, term: Term) -> np.ndarray | None:
        """The value of `term`, or None where it is not constant."""
        if term not in self._found:
            for part in below([term]):
                if part not in self._found:
                    self._found[part] = self._fold(part)
        return self._found[term]

    def laid_out(self, term: Term) -> np.ndarray | None:
        """The value in C order: one array, that all forms of a recurrence share."""
        if term not in self._laid_out and (found := self(term)) is not None:
            self._laid_out[term] = np.asarray(found, order="C")
        return self._laid_out.get(term)

    def _fold(self, term: Term) -> np.ndarray | None:
        if term.op == "Const":
            return np.asarray(term.array)
        if term.of_state or term.of_step or term.op not in FOLDS or not term.operands:
            return None
        given = [None if part is None else self._found[part] for part in term.inputs]
        if any(value is None and part is not None for value, part in zip(given, term.inputs, strict=True)):
            return None
        result = FOLDS[term.op](term, [value for value in given if value is not None])
        found = result[term.port] if isinstance(result, list) else result
        return None if found is None or np.size(found) > _LARGEST else np.asarray(found)


def _split(term: Term, given: Sequence[np.ndarray]) -> list[np.ndarray]:
    axis = term.attribute("axis", 0)
    if len(given) == 2:
        return np.split(given[0], np.cumsum(given[1])[:-1], axis)
    size, parts = given[0].shape[axis], len(term.call.results)
    step = -(-size // parts)  # the last part is the smaller one
    return np.split(given[0], range(step, step * parts, step), axis)


def slice_index(rank: int, given: Sequence[np.ndarray]) -> tuple[slice, ...]:
    """The index that a Slice of (starts, ends[, axes[, steps]]) is."""
    starts, ends = given[0], given[1]
    axes = given[2] if len(given) > 2 else np.arange(len(starts))
    steps = given[3] if len(given) > 3 else np.ones(len(starts), np.int64)
    index = [slice(None)] * rank
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # An end before the first element, stepping back, is what None means to Python.
        stop = None if step < 0 and end < -(1 << 30) else int(end)
        index[int(axis)] = slice(int(start), stop, int(step))
    return tuple(index)


def _slice(term: Term, given: Sequence[np.ndarray]) -> np.ndarray:
    return given[0][slice_index(given[0].ndim, given[1:])]


def _squeeze(term: Term, given: Sequence[np.ndarray]) -> np.ndarray:
    return given[0].squeeze(tuple(int(axis) for axis in given[1]) if len(given) > 1 else None)


def _unsqueeze(term: Term, given: Sequence[np.ndarray]) -> np.ndarray:
    return np.expand_dims(given[0], tuple(int(axis) for axis in given[1]))


def _reshape(term: Term, given: Sequence[np.ndarray]) -> np.ndarray | None:
    if term.attribute("allowzero", 0):
        return None
    shape = [given[0].shape[at] if size == 0 else int(size) for at, size in enumerate(given[1])]
    return given[0].reshape(shape)


def _transpose(term: Term, given: Sequence[np.ndarray]) -> np.ndarray:
    return given[0].transpose(term.attribute("perm"))


def _cast(term: Term, given: Sequence[np.ndarray]) -> np.ndarray | None:
    kind = term.dtype.numpy() if term.dtype is not None else None
    return given[0].astype(kind) if kind is not None and np.issubdtype(kind, np.number) else None


def _gather(term: Term, given: Sequence[np.ndarray]) -> np.ndarray:
    return np.take(given[0], given[1], axis=term.attribute("axis", 0))


def _concat(term: Term, given: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(list(given), axis=term.attribute("axis"))


def _div(term: Term, given: Sequence[np.ndarray]) -> np.ndarray | None:
    return given[0] / given[1] if np.issubdtype(given[0].dtype, np.floating) else None


def _numpy(function: Callable[..., np.ndarray]) -> Fold:
    return lambda term, given: function(*given)


FOLDS: dict[str, Fold] = {
    "Identity": lambda term, given: given[0],
    "Cast": _cast,
    "Split": _split,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Gather": _gather,
    "Concat": _concat,
    "Add": _numpy(np.add),
    "Sub": _numpy(np.subtract),
    "Mul": _numpy(np.multiply),
    "Div": _div,
    "Neg": _numpy(np.negative),
    "MatMul": _numpy(np.matmul),
    "Sqrt": _numpy(np.sqrt),
    "Reciprocal": _numpy(np.reciprocal),
    "Exp": _numpy(np.exp),
    "Expand": lambda term, given: np.broadcast_to(
        given[0], np.broadcast_shapes(given[0].shape, tuple(int(size) for size in given[1]))
    ),
    "Min": lambda term, given: reduce(np.minimum, given),
    "Max": lambda term, given: reduce(np.maximum, given),
}
