"""Medians of several candidates, measured in turns, so that a change of the machine's speed meets them all alike."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter_ns
from typing import Any

_NS = 1e9
_LONG = 5_000_000  # nanoseconds; filling the caches is nothing beside it


@dataclass(frozen=True)
class Budget:
    """How long to measure.

    Attributes:
        seconds: for all candidates of one row; whole rounds are finished.
        turn_seconds: how long a candidate runs before the next one's turn.
        turn_calls: how many calls a turn has at most.
        rounds: how many rounds there are at least, whatever they take.
        clock: gives nanoseconds; `process_time_ns` where the host is shared, and calls take one thread.
    """

    seconds: float = 2.0
    turn_seconds: float = 0.01
    turn_calls: int = 20
    rounds: int = 9
    clock: Callable[[], int] = perf_counter_ns


def interleaved_medians(candidates: Mapping[str, Callable[[], Any]], budget: Budget) -> dict[str, float]:
    """The median seconds of one call of each candidate.

    Candidates run in turns, in another order each round: whoever follows a long product finds another clock and other
    caches than the rest. For the caches, the first call of a turn is not counted where calls are short.
    """
    samples: dict[str, list[int]] = {name: [] for name in candidates}
    long = {name: _nanoseconds(candidate, budget.clock) > _LONG for name, candidate in candidates.items()}
    order, names = random.Random(0), list(candidates)
    end = perf_counter_ns() + int(budget.seconds * _NS)
    rounds = 0
    while candidates and (rounds < budget.rounds or perf_counter_ns() < end):
        for name in order.sample(names, len(names)):
            if not long[name]:
                candidates[name]()
            samples[name] += _turn(candidates[name], budget)
        rounds += 1
    return {name: median(times) / _NS for name, times in samples.items()}


def _turn(candidate: Callable[[], Any], budget: Budget) -> list[int]:
    """The nanoseconds of each call of one turn, at least one."""
    times: list[int] = []
    while len(times) < budget.turn_calls and sum(times) < budget.turn_seconds * _NS:
        times.append(_nanoseconds(candidate, budget.clock))
    return times


def _nanoseconds(candidate: Callable[[], Any], clock: Callable[[], int]) -> int:
    start = clock()
    candidate()
    return clock() - start


def geometric_mean(values: Iterable[float]) -> float | None:
    """Of what there is; None of nothing."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else None
