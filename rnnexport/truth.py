"""The truth of a source at one boundary: what goes in and comes out, goldens, and how closely they can be met."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from rnnexport.errors import ConversionError
from rnnexport.proof import Arrays, Golden
from rnnexport.signature import Boundary, Signature
from rnnexport.verification.compare import Tolerance, excess
from rnnexport.verification.feeds import REQUIRED, WANTED, Feed, feeds, rounded

if TYPE_CHECKING:
    from rnnexport.source.model import SourceModel

# How far apart two right computations may be, in units of what one rounding step of the inputs does to the source.
_ROUNDING_STEPS = 2.0
# Decimal digits of each dtype that a model may compute in, and the rtol past which agreement would say nothing.
_PRECISIONS = {"bfloat16": 2, "float16": 3, "float32": 7, "float64": 15}
# The rtol that a narrow dtype needs whatever the inputs are: ten of its rounding steps, since every timestep rounds.
_NARROW = {"bfloat16": 5e-2, "float16": 1e-2}
_WIDEST = {"bfloat16": 1e-1, "float16": 5e-2, "float32": 1e-3, "float64": 1e-3}


@dataclass(frozen=True, eq=False)
class Described:
    """A source at one boundary.

    Attributes:
        signature: what goes in and comes out.
        goldens: feeds, and what eager Keras gave for them.
        tolerance: the default one; wider where the source itself is no more certain than that.
    """

    signature: Signature
    goldens: tuple[Golden, ...]
    tolerance: Tolerance


def describe_with_truth(source: SourceModel, boundary: Boundary, seed: int = 0) -> Described:
    """Find the signature of `source`, and run it in eager Keras on the feeds of `seed`.

    Raises:
        UsageError: `boundary` asks for what the model does not allow.
        ConversionError: the source can't be run on enough feeds.
    """
    from rnnexport.source.describe import describe

    signature = describe(source, boundary)
    runs = _runs(source, signature, seed)
    _require_repeatable(source, signature, runs[0])
    goldens = tuple(Golden(feed.label, feed.arrays, expected) for feed, expected in runs)
    return Described(signature, goldens, _tolerance(source, signature, runs))


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
        if len(runs) == WANTED:
            break
    if len(runs) < REQUIRED:
        raise ConversionError(
            refusals[0].found, "a model that runs at the lengths it declares", "fix the length with --timesteps N"
        )
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


def _tolerance(source: SourceModel, signature: Signature, runs: list[tuple[Feed, Arrays]]) -> Tolerance:
    """The default one, or `_ROUNDING_STEPS` times what one rounding step of the inputs does to the source."""
    from rnnexport.source.api import layers_by_dtype
    from rnnexport.source.reference import reference

    narrowest = min(layers_by_dtype(source.api.layers(source.model)), key=_PRECISIONS.__getitem__, default="float32")
    moved = [
        _excess(expected, reference(source, signature, rounded(feed, 10.0 ** -_PRECISIONS[narrowest]).arrays))
        for feed, expected in islice(runs, REQUIRED)
    ]
    least = _NARROW.get(narrowest, 0.0) / Tolerance().rtol
    return _widened(max(*moved, least / _ROUNDING_STEPS) * _ROUNDING_STEPS, _WIDEST[narrowest])


def _excess(one: Arrays, other: Arrays) -> float:
    """The largest difference in units of the default tolerance."""
    return max((excess(other[name], one[name], Tolerance()) for name in one), default=0.0)


def _widened(factor: float, widest: float) -> Tolerance:
    """The default tolerance, or that times `factor` rounded up to two digits, to an rtol of `widest` at most."""
    if not factor > 1:
        return Tolerance()
    digit = 10.0 ** (math.floor(math.log10(factor)) - 1)
    steps = min(math.ceil(factor / digit) * digit, widest / Tolerance().rtol)
    return Tolerance(Tolerance().rtol * steps, Tolerance().atol * steps)
