"""Recurrences at run time: a cell over the steps of sequences, and a loop that decides by itself when to end."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def scan(
    cell: Callable[..., tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]],
    sequences: tuple[np.ndarray, ...],
    states: tuple[np.ndarray, ...],
    constants: tuple[np.ndarray, ...] = (),
    length: int | None = None,
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Call `outputs, states = cell(*elements, *states, *constants)` in every step; sequences are time first.

    Returns:
        The outputs of all steps, time first, and the states after the last. Without a step these are the first states.
    """
    T = len(sequences[0]) if length is None else length
    if T < 1:  # what zeros give tells the shapes of the outputs
        outputs, _ = cell(*[np.zeros(x.shape[1:], x.dtype) for x in sequences], *states, *constants)
        return tuple(np.empty((0, *y.shape), y.dtype) for y in outputs), states
    stacked: tuple[np.ndarray, ...] = ()
    for t in range(T):
        outputs, states = cell(*[x[t] for x in sequences], *states, *constants)
        if t == 0:
            stacked = tuple(np.empty((T, *y.shape), y.dtype) for y in outputs)
        for whole, y in zip(stacked, outputs, strict=True):
            whole[t] = y
    return stacked, states


def repeat(
    body: Callable[..., tuple[np.ndarray, tuple[np.ndarray, ...], tuple[np.ndarray, ...]]],
    limit: int | None,
    go_on: bool | np.ndarray,
    states: tuple[np.ndarray, ...],
    constants: tuple[np.ndarray, ...] = (),
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Call `go_on, states, outputs = body(step, go_on, *states, *constants)` while `go_on`, at most `limit` times.

    Returns:
        The outputs of all steps, time first, and the states after the last. Without a step these are the first states.
    """
    step, collected = 0, list[tuple[np.ndarray, ...]]()
    while go_on and (limit is None or step < limit):
        go_on, states, outputs = body(np.int64(step), np.bool_(go_on), *states, *constants)
        collected.append(outputs)
        step += 1
    if not collected:  # what the step gives tells the shapes of the outputs
        _, _, outputs = body(np.int64(0), np.bool_(True), *states, *constants)
        return tuple(np.empty((0, *np.shape(y)), np.asarray(y).dtype) for y in outputs), states
    return tuple(np.stack(steps) for steps in zip(*collected, strict=True)), states
