"""A call on a whole sequence, cut into calls on pieces of it, and their results joined again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from rnnexport.artifact.goldens import Arrays
from rnnexport.core.signature import TIME, Signature, TensorSpec, time_axis


def splits(steps: int) -> Iterator[tuple[int, ...]]:
    """The ways to cut a sequence: in two at every position, and at every position at once. Lengths of the pieces."""
    yield from ((at, steps - at) for at in range(1, steps))
    yield (1,) * steps


def sequence_length(feed: Arrays, signature: Signature) -> int:
    """The length of the shortest sequence whose length is open; 0 where there is none."""
    return min((feed[spec.name].shape[1] for spec in signature.inputs if _is_cut(spec)), default=0)


def cut(feed: Arrays, signature: Signature, lengths: Sequence[int]) -> Iterator[dict[str, np.ndarray]]:
    """The inputs of each piece, without states. What has no open length is given whole to all.

    Args:
        feed: the inputs of the whole.
        signature: what says which of them are sequences.
        lengths: of the pieces, which add up to `sequence_length`. A longer sequence is cut in the same proportions.
    """
    steps, done = sum(lengths), 0
    for length in lengths:
        yield {
            spec.name: _piece(feed[spec.name], done, done + length, steps) if _is_cut(spec) else feed[spec.name]
            for spec in signature.inputs
        }
        done += length


def in_turn(
    run: Callable[[Arrays], Arrays], signature: Signature, pieces: Iterable[Arrays], batch: int
) -> Iterator[tuple[dict[str, np.ndarray], Arrays]]:
    """The feed of each piece, the states carried from the initial ones on, and what `run` gives for it.

    Args:
        run: one call of a chunk.
        signature: of a chunk.
        pieces: what `cut` gave.
        batch: how many rows they have.
    """
    states = signature.fresh_states(batch)
    for piece in pieces:
        feed = {**piece, **states}
        found = run(feed)
        yield feed, found
        states = signature.carried(found)


def joined(pieces: Sequence[Arrays], signature: Signature) -> dict[str, np.ndarray]:
    """The outputs of the whole: those with timesteps one behind the other, of the others, and of states, the last."""
    last = pieces[-1]
    found = {name: np.concatenate([piece[name] for piece in pieces], axis) for name, axis in _axes(signature).items()}
    return {name: found.get(name, last[name]) for name in last}


def untimed(signature: Signature) -> list[str]:
    """The outputs without timesteps: after a piece they are what the sequence up to there gives."""
    return [spec.name for spec in signature.outputs if time_axis(spec, signature) is None]


def _axes(signature: Signature) -> Mapping[str, int]:
    axes = {spec.name: time_axis(spec, signature) for spec in signature.outputs}
    return {name: axis for name, axis in axes.items() if axis is not None}


def _is_cut(spec: TensorSpec) -> bool:
    size = spec.shape[1] if len(spec.shape) > 1 else 0
    return isinstance(size, str) and (size == TIME or size.endswith(f"_{TIME}"))


def _piece(array: np.ndarray, start: int, stop: int, steps: int) -> np.ndarray:
    length = array.shape[1]
    return array[:, start * length // steps : stop * length // steps]
