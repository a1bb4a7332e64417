"""The numerical check: a form against the untouched Loop, on what the Loop sees in the model and on random inputs.

The derivation of a form is the proof; this is a second look at it, and at the code that emitted it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir

Feed = Mapping[str, np.ndarray]
# Runs a model on each feed and gives its outputs by name. The runtime is not this package's to know.
Run = Callable[[ir.Model, Sequence[Feed]], list[dict[str, np.ndarray]]]

# Sums in another order differ by rounding; a wrong gate differs by more than a hundredth.
_RTOL, _ATOL = 1e-4, 1e-5
# `_ATOL` is a share of the largest output, of one that is no smaller than this: what is inside may be larger, and the
# kernels of activations are off by some 1e-7 wherever they are.
_SMALLEST = 1.0
# How much further than its source moves under one rounding step of its inputs may the form be.
_NOISE = 30.0
_SCALES = (1.0, 1e-3, 30.0)
# Numbers in all that is seen of a recurrence from which random inputs have the shapes of the smaller half of it alone:
# of one that is wide, each step costs, and the long sequences are among what is seen.
_MUCH = 1 << 17


def trials(seen: Sequence[Sequence[np.ndarray]], frozen: Sequence[bool], seed: int) -> Iterator[list[np.ndarray]]:
    """Inputs to compare on: those seen, then random ones of the same shapes, small, medium and extreme.

    Args:
        seen: what the inputs were in runs of the model.
        frozen: for each input, whether it has to stay as it is: lengths, and what is zero by its nature.
        seed: of the random numbers.
    """
    rng = np.random.default_rng(seed)
    yield from map(list, seen)
    for arrays in _smaller(seen):
        for scale in _SCALES:
            yield [array if keep else _random(array, scale, rng) for array, keep in zip(arrays, frozen, strict=True)]


def _smaller(seen: Sequence[Sequence[np.ndarray]]) -> list[Sequence[np.ndarray]]:
    """Those whose shapes random inputs have."""
    sizes = [sum(array.size for array in arrays) for arrays in seen]
    if sum(sizes) <= _MUCH:
        return list(seen)
    order = sorted(range(len(seen)), key=sizes.__getitem__)
    return [seen[at] for at in order[: (len(seen) + 1) // 2]]


def _random(array: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    if array.dtype == bool and array.ndim:  # a scalar is the condition of a loop
        return rng.random(array.shape) < 0.7
    if np.issubdtype(array.dtype, np.floating):
        return np.asarray(rng.standard_normal(array.shape) * scale, array.dtype)
    return array


def nudged(arrays: Sequence[np.ndarray], frozen: Sequence[bool], seed: int) -> list[np.ndarray]:
    """The inputs moved by about one rounding step, each element up or down."""
    rng = np.random.default_rng(seed)
    return [array if keep else _nudged(array, rng) for array, keep in zip(arrays, frozen, strict=True)]


def _nudged(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if not np.issubdtype(array.dtype, np.floating):
        return array
    # In the dtype of the array: the neighbour of a float32 in float64 would be rounded back.
    towards = np.where(rng.random(array.shape) < 0.5, np.inf, -np.inf).astype(array.dtype)
    return np.asarray(np.nextafter(array, towards))


def disagreement(wanted: Sequence[np.ndarray], moved: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> str:
    """Where the outputs of a form are not those of the Loop; empty where they are.

    Args:
        wanted: the outputs of the Loop.
        moved: its outputs on nudged inputs, which tell how far rounding alone may lead.
        found: the outputs of the form.
    """
    for at, (right, near, ours) in enumerate(zip(wanted, moved, found, strict=True)):
        if right.shape != ours.shape or right.dtype != ours.dtype:
            return f"output {at} is {ours.dtype} {ours.shape}, and of the Loop {right.dtype} {right.shape}"
        if not np.issubdtype(right.dtype, np.floating):
            if not np.array_equal(right, ours):
                return f"output {at} differs"
            continue
        error, largest = _worst(right.astype(np.float64), near.astype(np.float64), ours.astype(np.float64))
        if error > 1:
            return f"output {at} differs by {largest:.1e}, {error:.0f} times what rounding explains"
    return ""


def _worst(right: np.ndarray, near: np.ndarray, ours: np.ndarray) -> tuple[float, float]:
    """The largest error as a multiple of what is allowed, and as it is. Where the Loop overflows nothing is asked."""
    finite = np.isfinite(right) & np.isfinite(near)
    if not finite.any():
        return 0.0, 0.0
    right, near, ours = (np.where(finite, array, 0.0) for array in (right, near, ours))
    error = np.abs(ours - right)
    # Each lane by itself: one that is chaotic excuses no other.
    moved = np.abs(near - right).max(axis=tuple(range(right.ndim - 1)), keepdims=True)
    allowed = _ATOL * max(float(np.abs(right).max()), _SMALLEST) + _RTOL * np.abs(right) + _NOISE * moved
    ratio = np.where(np.isnan(error), np.inf, error / allowed)
    at = np.unravel_index(int(ratio.argmax()), ratio.shape)
    return float(ratio[at]), float(error[at])
