"""A source run in eager Keras on the feeds of a signature."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnnexport.errors import ConversionError
from rnnexport.goldens import Arrays
from rnnexport.reference.certainty import largest_excess
from rnnexport.signature import Signature
from rnnexport.verification.feeds import REQUIRED, Feed, chunks, feeds, long_feed, wanted

if TYPE_CHECKING:
    from rnnexport.source.model import SourceModel


def runs_of(source: SourceModel, signature: Signature, seed: int) -> list[tuple[Feed, Arrays]]:
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


def long_run(source: SourceModel, signature: Signature, seed: int) -> list[tuple[Feed, Arrays]]:
    """The long feed, where the source takes such a length."""
    from rnnexport.source.reference import reference

    feed = long_feed(signature, seed)
    try:
        return [] if feed is None else [(feed, reference(source, signature, feed.arrays))]
    except ConversionError:
        return []


def chunk_runs(source: SourceModel, signature: Signature, seed: int) -> list[tuple[Feed, Arrays]]:
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


def require_repeatable(source: SourceModel, signature: Signature, run: tuple[Feed, Arrays]) -> None:
    """What differs from itself can be compared with nothing, and must not pass for rounding."""
    from rnnexport.source.reference import reference

    feed, expected = run
    if largest_excess(expected, reference(source, signature, feed.arrays)) > 1:
        raise ConversionError(
            f"{source.name} gives different results for the same inputs",
            "a model whose outputs follow from its inputs and states",
            "look for randomness, or a counter in Python, that acts at inference",
        )
