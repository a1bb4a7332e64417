"""A source run in eager Keras on the feeds of a signature.

A feed for which the source raises, or gives no finite number, says nothing of an artifact: another one takes its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rnnexport.artifact.goldens import Arrays
from rnnexport.core.errors import ConversionError
from rnnexport.core.signature import TIME, Signature
from rnnexport.reference.certainty import largest_excess
from rnnexport.reference.domain import Judge, Learner
from rnnexport.verification.feeds import PLANNED, REQUIRED, Feed, beside, wanted

if TYPE_CHECKING:
    from rnnexport.source.model import SourceModel

Runs = list[tuple[Feed, Arrays]]
# Timesteps to add where a model takes none of the planned lengths: it may cut its sequence into frames.
_LONGER = (0, 64, 256, 1024, 4096)


def runs_of(source: SourceModel, signature: Signature, seed: int, judge: Judge | None = None) -> tuple[Runs, Learner]:
    """The first planned feeds that say something of the source, with what it gave for them, and what was learnt of it.

    Args:
        source: the model.
        signature: what goes in and comes out.
        seed: of the feeds.
        judge: what runs them; eager Keras by default.

    Raises:
        ConversionError: it raises, or gives no finite number, for nearly all of them.
    """
    first = Learner(source, signature, seed, judge=judge)
    for steps in _LONGER if TIME in signature.dynamic_dims else _LONGER[:1]:
        learner, runs = Learner(source, signature, seed, steps) if steps else first, []
        for index in range(PLANNED):
            if (run := learner.run(index)) is not None:
                runs.append((run.feed, run.expected))
            if len(runs) == wanted(signature):
                break
        if len(runs) >= REQUIRED:
            _require_values(source, runs)
            return runs, learner
        if not learner.too_short:
            break
    raise first.refusal()


def beside_runs(signature: Signature, learner: Learner) -> Runs:
    """The feeds that are taken besides the planned ones, where the source takes such sizes and values."""
    runs = [learner.run(index) for index in beside(signature)]
    return [(run.feed, run.expected) for run in runs if run is not None]


def _require_values(source: SourceModel, runs: Runs) -> None:
    """An output that is finite nowhere can be compared with nothing."""
    for name in runs[0][1]:
        if not any(np.any(_are_values(expected[name])) for _, expected in runs):
            raise ConversionError(
                f"output {name} of {source.name} is finite on none of {len(runs)} feeds",
                "numbers that can be compared",
                "mend the model, or drop that output",
            )


def require_repeatable(source: SourceModel, signature: Signature, run: tuple[Feed, Arrays]) -> None:
    """What differs from itself can be compared with nothing, and must not pass for rounding."""
    from rnnexport.source.eager import reference

    feed, expected = run
    if largest_excess(expected, reference(source, signature, feed.arrays)) > 1:
        raise ConversionError(
            f"{source.name} gives different results for the same inputs",
            "a model whose outputs follow from its inputs and states",
            "look for randomness, or a counter in Python, that acts at inference",
        )


def _are_values(array: np.ndarray) -> np.ndarray:
    """Which values are numbers; all of what is text."""
    return np.ones(array.shape, bool) if array.dtype.kind == "U" else np.isfinite(array)
