"""The truth of a source at one boundary: what goes in and comes out, goldens, and how closely they can be met.

The goldens that a model itself asks for, run by eager Keras, and what all goldens reach.

A source at one boundary as `describe` gives it, without all that only a verification needs.

No float64 run, no conditioning, no search for branches. The first feeds stay: forms of recurrences are compared on
them, and a source that takes none of them is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from rnnexport.artifact.goldens import Arrays, Golden, Recipe
from rnnexport.core.coverage import Coverage
from rnnexport.core.errors import ConversionError
from rnnexport.core.signature import Boundary, Signature
from rnnexport.reference.certainty import narrowest, tolerance_for, tolerance_of, without_daring
from rnnexport.reference.conditioning import Conditioning, require_conditioned, with_luck
from rnnexport.reference.domain import Judge, Learner
from rnnexport.reference.eager_runs import beside_runs, require_determined, require_repeatable, runs_of
from rnnexport.reference.float64 import Float64Run, doubt, with_truth
from rnnexport.reference.search import BranchFeed, Sides, search
from rnnexport.verification.feeds import Feed
from rnnexport.verification.tolerance import Tolerance

if TYPE_CHECKING:
    from rnnexport.ir.from_onnx import Converted, NotConverted
    from rnnexport.source.model import SourceModel
    from rnnexport.source.trace import TracedModel

_COVERAGE = Coverage()
_SEED = 0


@dataclass(frozen=True, eq=False)
class Described:
    """A source at one boundary.

    Attributes:
        signature: what goes in and comes out.
        goldens: feeds, what eager Keras gave for them, what an independent run in float64 gives, and how far rounding
            alone moves that.
        tolerance: the default one, or that of a narrow dtype; wider where the source itself is less certain, and how
            much rounding moves each of its values is not known.
        traced: the model as a graph, its recurrences not unrolled; None where it could not be traced.
        no_truth: why there is no float64 run to measure by; empty where there is one.
        coverage: what the goldens reach, and what was left out of them.
        no_witness: why a single reading gave that run; empty where two agree, or there is none.
        fault: where the converter does not compute what the source does; empty where it does, as far as can be told.
        converted: `traced` in ONNX, or why it can't be; None where there is no graph.
    """

    signature: Signature
    goldens: tuple[Golden, ...]
    tolerance: Tolerance
    traced: TracedModel | None
    no_truth: str = ""
    coverage: Coverage = _COVERAGE
    no_witness: str = ""
    fault: str = ""
    converted: Converted | NotConverted | None = None


def describe_with_truth(source: SourceModel, boundary: Boundary, seed: int = 0) -> Described:
    """Find the signature of `source`, and run it in eager Keras, and in float64, on the feeds of `seed`.

    Raises:
        UsageError: `boundary` asks for what the model does not allow.
        ConversionError: the source can't be run on enough feeds, or does not follow from its file.
    """
    signature, traced, no_truth = traced_at(source, boundary)
    runs, learner = runs_of(source, signature, seed, Judge(source, signature, traced))
    require_repeatable(source, signature, runs[0])
    require_determined(source, signature, runs)
    goldens = tuple(
        golden_of(feed, expected, seed)
        for feed, expected in (*runs, *beside_runs(signature, learner), *learner.chunk_runs())
    )
    converted = None if traced is None else _converted(traced)
    run, dtype = Float64Run(traced, no_truth, converted), narrowest(source, traced)
    tolerance, conditioning = tolerance_for(dtype), Conditioning(run, signature, dtype)
    found, no_truth = _measured(goldens, run, conditioning, tolerance)
    goldens = without_daring(map(_bare, found)) if no_truth else found
    require_conditioned(source.name, goldens, tolerance, cast=bool(source.cast))
    if not any(golden.spread for golden in goldens):
        tolerance = tolerance_of(source, signature, runs, traced)
    notes = learner.notes() + uncertain_outputs(found, goldens)
    asked = branch_goldens(source, traced, goldens, seed, learner)
    more = asked.goldens
    if not no_truth:
        more, no_truth = _measured(more, run, conditioning, tolerance)
        if no_truth:
            goldens, more = without_daring(map(_bare, goldens)), tuple(map(_bare, more))
            tolerance = tolerance_of(source, signature, runs, traced)
    known = Described(signature, (*goldens, *more), tolerance, traced, no_truth, asked.coverage(notes))
    return replace(known, no_witness=run.no_witness, fault=run.fault, converted=converted)


def _converted(traced: TracedModel) -> Converted | NotConverted:
    from rnnexport.conversion.convert import conversion

    return conversion(traced)


def _measured(
    goldens: tuple[Golden, ...], run: Float64Run, conditioning: Conditioning, tolerance: Tolerance
) -> tuple[tuple[Golden, ...], str]:
    """The goldens with their truth and its spread, and why that can't be the truth; empty where it can."""
    found = conditioning.with_spreads(with_truth(goldens, conditioning.signature, run))
    no_truth = run.no_truth or doubt(found, tolerance)
    return tuple(with_luck(golden, tolerance) for golden in found), no_truth


def _bare(golden: Golden) -> Golden:
    """The golden without a truth."""
    return replace(golden, truth={}, spread={})


def golden_of(feed: Feed, expected: Arrays, seed: int) -> Golden:
    """A feed of the plan, and what the source gave for it."""
    recipe = Recipe(seed, feed.index, domain=feed.domain.to_json())
    return Golden(feed.label, feed.arrays, expected, recipe=recipe, carries=feed.carries)


def uncertain_outputs(found: Sequence[Golden], kept: Sequence[Golden]) -> tuple[str, ...]:
    """Which goldens were not kept, a sentence each."""
    labels = [golden.label for golden in kept]
    return tuple(
        f"feed left out ({golden.label}): how certain the source is there is not known"
        for golden in found
        if golden.label not in labels
    )


def traced_at(source: SourceModel, boundary: Boundary) -> tuple[Signature, TracedModel | None, str]:
    """The signature, and the model as a graph, or why it can't be one: an export ends there, a comparison need not.

    The signature is given the vocabularies that the graph tells.

    Raises:
        UsageError: `boundary` asks for what the model does not allow.
    """
    from rnnexport.source.describe import describe
    from rnnexport.source.trace import trace
    from rnnexport.source.vocabulary import with_vocabularies

    signature = describe(source, boundary)
    try:
        traced = trace(source, signature, unroll=False)
    except ConversionError as error:
        return signature, None, str(error)
    signature = with_vocabularies(traced)
    return signature, replace(traced, signature=signature), ""


@dataclass(frozen=True, eq=False)
class BranchGoldens:
    """What a model asks for.

    Attributes:
        goldens: feeds on sides of branches that no planned feed reaches.
        sides: what all goldens reach; None where that is not known.
        unknown: why not.
    """

    goldens: tuple[Golden, ...] = ()
    sides: Sides | None = field(default=None)
    unknown: str = ""

    def coverage(self, notes: tuple[str, ...]) -> Coverage:
        """What is told of it, besides `notes`."""
        return Coverage(notes, unknown=self.unknown) if self.sides is None else self.sides.coverage(notes)


def branch_goldens(
    source: SourceModel, traced: TracedModel | None, goldens: Sequence[Golden], seed: int, learner: Learner
) -> BranchGoldens:
    """What the model asks for besides the goldens, which have whole feeds."""
    from rnnexport.source.branches import NotObservedError

    if traced is None:
        return BranchGoldens(unknown="the model can't be traced")
    try:
        chosen, sides = search(traced, goldens, seed, learner.domain)
    except NotObservedError as error:
        return BranchGoldens(unknown=str(error))
    found = []
    for one in chosen:
        if (expected := _expected(source, traced, one)) is not None:
            found.append(Golden(one.label, one.feed, expected))
            sides.reached |= one.sides
    return BranchGoldens(tuple(found), sides)


def _expected(source: SourceModel, traced: TracedModel, chosen: BranchFeed) -> Arrays | None:
    """What the source gives; None where it raises, or is not finite."""
    from rnnexport.source.eager import reference

    try:
        expected = reference(source, traced.signature, chosen.feed)
    except ConversionError:
        return None
    real = [array for array in expected.values() if np.issubdtype(array.dtype, np.inexact)]
    return expected if all(np.all(np.isfinite(array)) for array in real) else None


def describe_unverified(source: SourceModel, boundary: Boundary) -> Described:
    """The signature of `source`, its graph, and what eager Keras gives for the first feeds.

    Raises as `describe_with_truth`.
    """
    signature, traced, _ = traced_at(source, boundary)
    runs, _ = runs_of(source, signature, _SEED)
    goldens = tuple(golden_of(feed, expected, _SEED) for feed, expected in runs)
    return Described(signature, goldens, tolerance_for(narrowest(source, traced)), traced, "it was not verified")
