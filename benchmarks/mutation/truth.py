"""Whether a mutant that passed is as right as what it was made of, by the float64 truth on fresh feeds.

A weight may be so small, or a branch so dead, that a fault does not change what a model computes by more than its own
rounding does. Such a mutant is *equal*: on every output, and on every kind of feed (those of one place in the plan of
feeds, over all seeds),

    rms(mutant - truth) <= (1 + max(0.05, 3 / sqrt(n))) * hypot(right, floor)

where `right` is the rms error of a right float32 computation of the same model, the larger of that of the unmutated
artifact and that of eager Keras, over the n values; 1/sqrt(n) is about how much the ratio of two such estimates moves
by chance; and `floor` is what writing the truth itself as float32 costs. Outputs that are no floats must be the same.
Anything else is a fault that verification missed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnexport.artifact.goldens import Golden
from rnnexport.core.errors import ForeignCode, MismatchError, reason
from rnnexport.targets.base import Target
from rnnexport.verification.tolerance import Tolerance

_SIGMAS = 3.0
_LEAST = 0.05
Runs = list[dict[str, np.ndarray]]


@dataclass(frozen=True)
class Figures:
    """How far a mutant is from the truth, at the output and kind of feed where it is worst.

    Attributes:
        output: which output.
        feed: the label of the kind of feed.
        mutant: its rms error.
        original: that of the unmutated artifact.
        source: that of eager Keras.
        bound: what an equal mutant may have.
        change: the largest change of any output of any feed, in units of the tolerance.
    """

    output: str
    feed: str
    mutant: float
    original: float
    source: float
    bound: float
    change: float

    @property
    def equal(self) -> bool:
        """Whether the mutant can't be told from what is right."""
        return self.mutant <= self.bound

    @property
    def excess(self) -> float:
        """The error in units of what an equal mutant may have."""
        return self.mutant / self.bound if self.bound else math.inf

    def to_json(self) -> dict[str, str | float]:
        """As plain values."""
        return dict(vars(self))


def run_all(kind: Target, path: Path, calls: Sequence[Golden]) -> Runs:
    """What the artifact gives for every call.

    Raises:
        MismatchError: it can't be run on one of them.
    """
    with kind.runner(path, "cpu") as runner, ForeignCode(_refused):
        return [runner.run(golden.feed) for golden in calls]


def _refused(error: BaseException) -> MismatchError:
    return MismatchError(f"the runtime raised {reason(error)}", "a result", "-")


def figures(fresh: Sequence[Sequence[Golden]], original: Runs, mutant: Runs, tolerance: Tolerance) -> Figures:
    """How far a mutant is from the truth.

    Args:
        fresh: calls, by seed; those of one place are of one kind.
        original: what the unmutated artifact gives for all of them, one seed after the other.
        mutant: what the mutant gives for them.
        tolerance: of the artifact, to put the change into words.
    """
    calls = [golden for seed in fresh for golden in seed]
    change = max(_change(*each, tolerance) for each in zip(calls, original, mutant, strict=True))
    found = [_worst_of(name, kind, change) for name, kind in _kinds(fresh, original, mutant)]
    return max(found, key=lambda one: (one.excess, one.mutant))


@dataclass(frozen=True, eq=False)
class _Kind:
    """The values of one output over all feeds of one kind, in one row."""

    label: str
    truth: np.ndarray
    source: np.ndarray
    original: np.ndarray
    mutant: np.ndarray


def _kinds(fresh: Sequence[Sequence[Golden]], original: Runs, mutant: Runs) -> Iterator[tuple[str, _Kind]]:
    width = len(fresh[0])
    for at in range(width):
        column = [seed[at] for seed in fresh]
        rows = range(at, width * len(fresh), width)
        for name in column[0].expected:
            yield (
                name,
                _Kind(
                    column[0].label,
                    _row([golden.truth.get(name, golden.expected[name]) for golden in column]),
                    _row([golden.expected[name] for golden in column]),
                    _row([original[row][name] for row in rows]),
                    _row([mutant[row][name] for row in rows]),
                ),
            )


def _row(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([array.astype(np.float64).ravel() for array in arrays])


def _worst_of(name: str, kind: _Kind, change: float) -> Figures:
    mutant, original, source = (_rms(each - kind.truth) for each in (kind.mutant, kind.original, kind.source))
    floor = np.finfo(np.float32).eps / 4 * _rms(kind.truth)
    slack = 1 + max(_LEAST, _SIGMAS / math.sqrt(kind.truth.size))
    bound = slack * math.hypot(max(original, source), floor)
    if np.array_equal(kind.mutant, kind.original):
        bound = max(bound, mutant)  # bit for bit the same
    return Figures(name, kind.label, mutant, original, source, bound, change)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _change(
    golden: Golden, original: Mapping[str, np.ndarray], mutant: Mapping[str, np.ndarray], tolerance: Tolerance
) -> float:
    """The largest change in units of the tolerance."""
    return max(
        float(np.max(np.abs(mutant[name].astype(float) - original[name].astype(float)) / tolerance.bound(wanted)))
        for name, wanted in golden.expected.items()
    )
