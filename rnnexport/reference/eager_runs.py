"""A source run in eager Keras on the feeds of a signature.

A feed for which the source raises, or gives no finite number, says nothing of an artifact: another one takes its place.

Whether a model follows from its file: a load whose variables start from its weights has to compute the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from rnnexport.artifact.goldens import Arrays
from rnnexport.core.errors import ConversionError
from rnnexport.core.signature import TIME, Signature
from rnnexport.reference.certainty import largest_excess
from rnnexport.reference.domain import Judge, Learner
from rnnexport.verification.compare import excess
from rnnexport.verification.feeds import PLANNED, REQUIRED, Feed, beside, wanted
from rnnexport.verification.tolerance import Tolerance

if TYPE_CHECKING:
    from rnnexport.source.model import SourceModel

Runs = list[tuple[Feed, Arrays]]
# Timesteps to add where a model takes none of the planned lengths: it may cut its sequence into frames.
_LONGER = (0, 64, 256, 1024, 4096)
_RUNS = 4  # of the first feeds, the one of large values among them
_TODO = (
    "compute them in call() and train again, or make them weights (add_weight(trainable=False)), or export the trained "
    "model itself, from Python"
)


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


def require_determined(source: SourceModel, signature: Signature, runs: Iterable[tuple[Feed, Arrays]]) -> None:
    """Refuse a file whose weights do not say what it computes; warn of a live model whose file would be another model.

    Args:
        source: the model.
        signature: what goes in and comes out.
        runs: feeds, with what the source gave for them.

    Raises:
        ConversionError: names the layers, and what they hold that no file does.
    """
    if source.again is None:
        return
    from rnnexport.source.held import changed_values, listed

    try:
        other = source.again()
    except ConversionError:
        if source.file is None:
            return  # no file can be made of it, then
        raise
    others = changed_values(source, other)
    apart = _apart(replace(other, api=source.api), signature, runs, exactly=bool(others))
    if not apart:
        return
    what = f"{listed(others)}, made when the model is built" if others else "something made when the model is built"
    if source.file is None:
        warnings.warn(
            f"{source.name} computes with {what}: exported as it is, but a saved file would lose that (a copy of its "
            f"configuration and weights is {apart:.2g} off)",
            stacklevel=2,
        )
        return
    raise ConversionError(
        f"{source.file.path.name} computes with {what}, which no file holds: made of its weights it is {apart:.2g} off",
        "a model that follows from its file",
        _TODO,
    )


def _apart(other: SourceModel, signature: Signature, runs: Iterable[tuple[Feed, Arrays]], *, exactly: bool) -> float:
    """The largest difference of an output from that of `other`; 0 for what is rounding, unless `exactly`."""
    from rnnexport.source.eager import reference

    found = [(expected, reference(other, signature, feed.arrays)) for feed, expected in islice(runs, _RUNS)]
    pairs = [(one[name], two[name]) for one, two in found for name in one]
    return max((_difference(*pair) for pair in pairs if _differ(*pair, exactly=exactly)), default=0.0)


def _differ(one: np.ndarray, other: np.ndarray, *, exactly: bool) -> bool:
    if exactly or one.shape != other.shape or not np.issubdtype(one.dtype, np.inexact):
        return not np.array_equal(one, other, equal_nan=np.issubdtype(one.dtype, np.inexact))
    return excess(other, one, Tolerance()) > 1


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    if one.shape != other.shape:
        return np.inf
    return float(np.nanmax(np.abs(np.subtract(one, other, dtype=np.float64)), initial=0.0))
