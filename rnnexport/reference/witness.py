"""Whether two readings of a source in float64 are one: that of the converter, and TensorFlow's own.

Both round to float64 alone, so that what is between them is a thousand times less than what float32 hides. How much
that may be follows from the conditioning of each value: what relative moves of 1e-10 of the inputs and the weights do
to it. A chaotic model may be far off its own twin, a tame one may not.

A converter may also compute with the constants of an operator, and keep the result in float32: three times 0.3 is 0.9,
of which it has 0.90000004. What one rounding of all short constants does is let pass besides; no weight is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from rnnexport.artifact.goldens import Arrays

if TYPE_CHECKING:
    from rnnexport.source.double import Double
    from rnnexport.source.trace import TracedModel

# A relative move of inputs and weights that two right readings may differ by.
_AGREEMENT = 1e-10
# The move that is made to measure its effect, a power of 2; small, so that a chaotic model answers it linearly.
_MOVED = 2.0**-40
_DRAWS = 2  # of the signs of the moves: a value may be moved by none of one draw
_SHARE = 0.1  # of the largest effect among the units of a row, for a value that no draw moved
# What rounding leaves of values that cancel out, in units of the largest output.
_ROUNDING = 1e-13
_STEP = 2.0**-23  # of float32, relative
_BLOCK = 1 << 20  # values that are moved at once: sorting them takes several times their memory


def disagreement(found: Arrays, wanted: Arrays, allowed: Arrays | None = None) -> str:
    """Where two readings of one source differ, in a few words; empty where they agree.

    Args:
        found: outputs by name in float64; of other dtypes where they are not real.
        wanted: those of the other reading, and others.
        allowed: how far each value may be off besides rounding, and besides 1e-10 of itself.
    """
    for name, one in found.items():
        other = wanted[name]
        if other.dtype.kind not in "biufc":
            continue  # text
        if one.shape != other.shape:
            return f"{name} has shape {one.shape}, not {other.shape}"
        apart, bound = _apart(one, other), _least(other) + (0.0 if allowed is None else allowed[name])
        wrong = (apart > bound) | (np.isnan(one) != np.isnan(other))
        if np.any(wrong):
            at = np.unravel_index(int(np.argmax(np.where(wrong, apart, -1.0))), apart.shape)
            return f"{name}{list(map(int, at))} is {one[at]:.10g}, not {other[at]:.10g}"
    return ""


def where_numbers(found: Arrays, wanted: Arrays, source: Arrays) -> dict[str, np.ndarray]:
    """What was found, but what is wanted wherever that or the source is no number of float32: that says nothing.

    Past the range of float32 a reading in float64 goes on, and what it then makes of infinities is a matter of form.
    """
    return {
        name: np.where(np.isfinite(source[name]) & np.isfinite(_narrow(wanted[name])), array, wanted[name])
        if array.dtype.kind == "f" and source[name].shape == array.shape == wanted[name].shape
        else array
        for name, array in found.items()
    }


def _narrow(array: np.ndarray) -> np.ndarray:
    """In float32, infinite where that does not reach."""
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Allowed:
    """How far another reading may be off, measured only where rounding is not enough.

    Attributes:
        traced: the source.
        graph: the same in float64.
        feed: its inputs and states.
        wanted: what it gives for these.
    """

    traced: TracedModel
    graph: Double
    feed: Arrays
    wanted: Arrays

    def disagreement(self, found: Arrays) -> str:
        """See the function of that name."""
        told = disagreement(found, self.wanted)
        told = told and disagreement(found, self.wanted, self._moves)
        return told and disagreement(found, self.wanted, self._moves_and_constants)

    @cached_property
    def _moves(self) -> dict[str, np.ndarray]:
        return moves_of(self.graph, self.feed, self.wanted)

    @cached_property
    def _moves_and_constants(self) -> dict[str, np.ndarray]:
        rounded = _constants_of(self.traced, self.feed, self.wanted)
        return {name: effect + 2 * rounded[name] for name, effect in self._moves.items()}


def moves_of(graph: Double, feed: Arrays, wanted: Arrays, relative: float = _AGREEMENT) -> dict[str, np.ndarray]:
    """What relative moves of inputs and weights do to each output.

    Args:
        graph: the source in float64.
        feed: its inputs and states.
        wanted: what it gives for these.
        relative: the size of the moves. Of small ones a still smaller one is made, and its effect scaled.

    Returns:
        The effect by output; infinite where a value is another whole number, or is no number any more.
    """
    made = min(relative, _MOVED) if relative <= _AGREEMENT else relative

    def runs() -> Iterator[Arrays]:
        for draw in range(_DRAWS):
            rng = np.random.default_rng([draw, 14])
            inputs = {name: _moved(array, made, rng) for name, array in feed.items()}
            weights = {tensor: _moved(array, made, rng) for tensor, array in graph.weights.items()}
            yield graph.run(inputs, weights)

    return {name: effect * (relative / made) for name, effect in _effects(runs(), wanted).items()}


def _constants_of(traced: TracedModel, feed: Arrays, wanted: Arrays) -> dict[str, np.ndarray]:
    """What one rounding of all short constants does to each output."""
    from rnnexport.emit.numpy.expression import meant
    from rnnexport.source.double import Double, double

    def runs() -> Iterator[Arrays]:
        for draw in range(_DRAWS):
            rng = np.random.default_rng([draw, 15])
            graph = double(traced, lambda array, rng=rng: _moved(meant(array), _STEP, rng))  # type: ignore[misc]
            if isinstance(graph, Double):
                yield graph.run(feed)

    return _effects(runs(), wanted)


def _effects(runs: Iterator[Arrays], wanted: Arrays) -> dict[str, np.ndarray]:
    """The largest difference of any of the runs from what is wanted."""
    effects = {name: np.zeros(array.shape) for name, array in wanted.items()}
    for run in runs:
        for name, array in run.items():
            if array.dtype.kind in "biufc":
                apart = _apart(array, wanted[name]) if array.shape == wanted[name].shape else np.inf
                effects[name] = np.maximum(effects[name], apart)
    return {name: _pooled(effect) for name, effect in effects.items()}


def _pooled(effect: np.ndarray) -> np.ndarray:
    if not effect.ndim or not effect.size:
        return effect
    return np.asarray(np.maximum(effect, _SHARE * effect.max(axis=-1, keepdims=True)))


def _apart(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How far values are apart; 0 where they are equal, both NaN too, and infinite where one is no number."""
    if not np.issubdtype(other.dtype, np.inexact):
        return np.where(one == other, 0.0, np.inf)
    with np.errstate(invalid="ignore", over="ignore"):
        same = (one == other) | (np.isnan(one) & np.isnan(other))
        apart = np.abs(one - other)
    return np.where(same, 0.0, np.where(np.isfinite(apart), apart, np.inf))


def _least(array: np.ndarray) -> np.ndarray:
    """What two right readings may differ by in any case."""
    if not np.issubdtype(array.dtype, np.inexact):
        return np.zeros(array.shape)
    size = np.where(np.isfinite(array), np.abs(array), 0.0)
    return np.asarray(_AGREEMENT * size + _ROUNDING * max(1.0, float(np.max(size, initial=0.0))))


def _moved(array: np.ndarray, relative: float, rng: np.random.Generator) -> np.ndarray:
    """Each value a little larger or smaller; whole numbers, and those that stand for something, as they are.

    A number that is there more than once may be one that marks padding, and is compared with.
    """
    if not np.issubdtype(array.dtype, np.inexact):
        return array
    if array.size > _BLOCK:
        flat = array.reshape(-1)
        parts = [_moved(flat[at : at + _BLOCK], relative, rng) for at in range(0, flat.size, _BLOCK)]
        return np.concatenate(parts).reshape(array.shape)
    wide = array.astype(np.complex128 if np.iscomplexobj(array) else np.float64)
    _, places, counts = np.unique(wide, return_inverse=True, return_counts=True)
    stays = (counts[places.reshape(wide.shape)] > 1) | ~np.isfinite(wide) | (wide == np.round(wide))
    return np.asarray(np.where(stays, wide, wide * (1 + relative * rng.choice([-1.0, 1.0], wide.shape))))
