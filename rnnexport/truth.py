"""The truth of a source at one boundary: what goes in and comes out, goldens, and how closely they can be met."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rnnexport.errors import ConversionError
from rnnexport.goldens import Arrays, Golden, Recipe
from rnnexport.signature import Boundary, Signature, timesteps
from rnnexport.verification.compare import excess
from rnnexport.verification.feeds import LONG, REQUIRED, Feed, chunks, feeds, long_feed, rounded, wanted
from rnnexport.verification.tolerance import Tolerance

if TYPE_CHECKING:
    from rnnexport.codegen.oracle import Oracle
    from rnnexport.source.model import SourceModel
    from rnnexport.source.trace import TracedModel

# How far apart two right computations may be, in units of what one rounding step of the inputs does to the source.
_ROUNDING_STEPS = 2.0
# Decimal digits of each dtype that a model may compute in, and the rtol past which agreement would say nothing.
_PRECISIONS = {"bfloat16": 2, "float16": 3, "float32": 7, "float64": 15}
# The rtol that a narrow dtype needs whatever the inputs are: ten of its rounding steps, since every timestep rounds.
_NARROW = {"bfloat16": 5e-2, "float16": 1e-2}
_USUAL = Tolerance()
_UNCERTAIN = 4  # feeds that the certainty of a source is measured on: the first, the one of large values among them
_WIDEST = {"bfloat16": 1e-1, "float16": 5e-2, "float32": 1e-3, "float64": 1e-3}


@dataclass(frozen=True, eq=False)
class Described:
    """A source at one boundary.

    Attributes:
        signature: what goes in and comes out.
        goldens: feeds, what eager Keras gave for them, and what an independent run in float64 gives.
        tolerance: the default one; wider where the source itself is no more certain than that.
        traced: the model as a graph, its recurrences not unrolled; None where it could not be traced.
        no_truth: why there is no float64 run to measure by; empty where there is one.
    """

    signature: Signature
    goldens: tuple[Golden, ...]
    tolerance: Tolerance
    traced: TracedModel | None
    no_truth: str = ""


def describe_with_truth(source: SourceModel, boundary: Boundary, seed: int = 0) -> Described:
    """Find the signature of `source`, and run it in eager Keras, and in float64, on the feeds of `seed`.

    Raises:
        UsageError: `boundary` asks for what the model does not allow.
        ConversionError: the source can't be run on enough feeds.
    """
    from rnnexport.source.describe import describe

    signature = describe(source, boundary)
    runs = _runs(source, signature, seed)
    _require_repeatable(source, signature, runs[0])
    tolerance = tolerance_of(source, signature, runs)
    runs += _long_run(source, signature, seed) + _chunk_runs(source, signature, seed)
    goldens = tuple(
        Golden(feed.label, feed.arrays, expected, recipe=Recipe(seed, feed.index), carries=feed.carries)
        for feed, expected in runs
    )
    traced, no_truth = _traced(source, signature)
    run = exact(traced, no_truth)
    goldens = _certain(_with_truth(goldens, signature, run), tolerance, signature)
    no_truth = run.no_truth or _doubt(goldens, tolerance)
    if no_truth:
        goldens = tuple(replace(golden, truth={}) for golden in goldens)
    return Described(signature, goldens, tolerance, traced, no_truth)


def tolerance_of(source: SourceModel, signature: Signature, runs: Sequence[tuple[Feed, Arrays]]) -> Tolerance:
    """The default one, or `_ROUNDING_STEPS` times what one rounding step of the inputs does to the source.

    Args:
        source: the model.
        signature: what goes in and comes out.
        runs: feeds, with what the source gave for them.
    """
    from rnnexport.source.reference import reference

    narrowest = _narrowest(source)
    moved = [
        _excess(expected, reference(source, signature, rounded(feed, 10.0 ** -_PRECISIONS[narrowest]).arrays))
        for feed, expected in runs[:_UNCERTAIN]
    ]
    least = _NARROW.get(narrowest, 0.0) / Tolerance().rtol
    return _widened(max(*moved, least / _ROUNDING_STEPS) * _ROUNDING_STEPS, _WIDEST[narrowest])


class Exact:
    """A model in float64, or why there is none."""

    def __init__(self, oracle: Oracle | None, no_truth: str) -> None:
        self._oracle = oracle
        self.no_truth = no_truth

    def run(self, feed: Arrays, expected: Arrays) -> dict[str, np.ndarray]:
        """The float64 outputs for `feed` of those that are real in `expected`; nothing where it can't be run."""
        if self._oracle is None or self.no_truth:
            return {}
        try:
            outputs = self._oracle.run(feed)
        except ConversionError as error:
            self.no_truth = error.found
            return {}
        floats = {name: array for name, array in expected.items() if np.issubdtype(array.dtype, np.floating)}
        if any(outputs[name].shape != array.shape for name, array in floats.items()):
            self.no_truth = "outputs have other shapes in float64: one of them counts steps of a real number"
            return {}
        return {name: outputs[name] for name in floats}


def exact(traced: TracedModel | None, no_truth: str = "") -> Exact:
    """The float64 run of a traced model."""
    if traced is None or no_truth:
        return Exact(None, no_truth)
    from rnnexport.codegen.oracle import NoOracle, oracle

    found = oracle(traced)
    return Exact(None, found.reason) if isinstance(found, NoOracle) else Exact(found, "")


def _traced(source: SourceModel, signature: Signature) -> tuple[TracedModel | None, str]:
    """The model as a graph, or why it can't be one: an export ends there, a comparison with the source need not."""
    from rnnexport.source.trace import trace

    try:
        return trace(source, signature, unroll=False), ""
    except ConversionError as error:
        return None, str(error)


def _with_truth(goldens: tuple[Golden, ...], signature: Signature, run: Exact) -> tuple[Golden, ...]:
    """The goldens with their float64 truth; with none at all where one of them has none."""
    found: list[Golden] = []
    for golden in goldens:
        feed = dict(golden.feed)
        if golden.carries:
            # A chunk goes on from the float64 states: rounding is not carried into the truth.
            before = {**found[-1].expected, **found[-1].truth}
            feed |= signature.carried(before)
        found.append(replace(golden, truth=run.run(feed, golden.expected)))
    return goldens if run.no_truth else tuple(found)


def _doubt(goldens: tuple[Golden, ...], tolerance: Tolerance) -> str:
    """Why the float64 run can't be the truth: its program was made of the source, and may have been made wrongly."""
    pairs = [(golden.expected[name], array) for golden in goldens for name, array in golden.truth.items()]
    if any(np.any(np.isfinite(expected) & ~np.isfinite(array)) for expected, array in pairs):
        return "the float64 program gives no number where eager Keras gives one"
    worst = max((_distance(golden, tolerance) for golden in goldens if golden.truth), default=0.0)
    return f"the float64 program is {worst:.1f} times the tolerance from eager Keras" if worst > 1 else ""


def _runs(source: SourceModel, signature: Signature, seed: int) -> list[tuple[Feed, Arrays]]:
    """The first feeds that the source can run, with what it gave for them."""
    from rnnexport.source.reference import reference

    runs: list[tuple[Feed, Arrays]] = []
    refusals: list[ConversionError] = []
    for feed in feeds(signature, seed):
        try:
            runs.append((feed, reference(source, signature, feed.arrays)))
        except ConversionError as error:
            # A length that the source itself can't run says nothing about an artifact; another one takes its place.
            refusals.append(error)
        if len(runs) == wanted(signature):
            break
    if len(runs) < REQUIRED:
        raise ConversionError(
            refusals[0].found, "a model that runs at the lengths it declares", "fix the length with --timesteps N"
        )
    return runs


def _long_run(source: SourceModel, signature: Signature, seed: int) -> list[tuple[Feed, Arrays]]:
    """The long feed, where the source takes such a length."""
    from rnnexport.source.reference import reference

    feed = long_feed(signature, seed)
    try:
        return [] if feed is None else [(feed, reference(source, signature, feed.arrays))]
    except ConversionError:
        return []


def _certain(goldens: Sequence[Golden], tolerance: Tolerance, signature: Signature) -> tuple[Golden, ...]:
    """The goldens without a long one at which the source itself is no closer to the truth than half the tolerance."""
    return tuple(
        golden
        for golden in goldens
        if golden.recipe is None
        or golden.recipe.index != LONG
        or _distance(golden, tolerance.for_length(timesteps(golden.feed, signature))) <= 1 / _ROUNDING_STEPS
    )


def _distance(golden: Golden, tolerance: Tolerance) -> float:
    """How far the source is from the truth, in units of what the tolerance allows; infinite without a truth."""
    if not golden.truth:
        return math.inf
    found = {name: golden.expected[name] for name in golden.truth}
    return _excess(golden.truth, found, tolerance)


def _chunk_runs(source: SourceModel, signature: Signature, seed: int) -> list[tuple[Feed, Arrays]]:
    """A sequence in chunks, each started from the states that the source itself had after the one before.

    A source that can't run such a length (its length is fixed, say) has none.
    """
    from rnnexport.source.reference import reference

    runs: list[tuple[Feed, Arrays]] = []
    for feed in chunks(signature, seed):
        carried = signature.carried(runs[-1][1]) if feed.carries else {}
        try:
            runs.append((feed, reference(source, signature, {**feed.arrays, **carried})))
        except ConversionError:
            return []
    return runs


def _require_repeatable(source: SourceModel, signature: Signature, run: tuple[Feed, Arrays]) -> None:
    """What differs from itself can be compared with nothing, and must not pass for rounding."""
    from rnnexport.source.reference import reference

    feed, expected = run
    if _excess(expected, reference(source, signature, feed.arrays)) > 1:
        raise ConversionError(
            f"{source.name} gives different results for the same inputs",
            "a model whose outputs follow from its inputs and states",
            "look for randomness, or a counter in Python, that acts at inference",
        )


def _narrowest(source: SourceModel) -> str:
    """The narrowest dtype that a layer computes in."""
    from rnnexport.source.api import layers_by_dtype

    return min(layers_by_dtype(source.api.layers(source.model)), key=_PRECISIONS.__getitem__, default="float32")


def _excess(one: Arrays, other: Arrays, tolerance: Tolerance = _USUAL) -> float:
    """The largest difference in units of the tolerance."""
    return max((excess(other[name], one[name], tolerance) for name in one), default=0.0)


def _widened(factor: float, widest: float) -> Tolerance:
    """The default tolerance, or that times `factor` rounded up to two digits, to an rtol of `widest` at most."""
    if not factor > 1:
        return Tolerance()
    digit = 10.0 ** (math.floor(math.log10(factor)) - 1)
    steps = min(math.ceil(factor / digit) * digit, widest / Tolerance().rtol)
    return Tolerance(Tolerance().rtol * steps, Tolerance().atol * steps)
