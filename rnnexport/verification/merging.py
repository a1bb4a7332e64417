"""The reports of all shards as that of a single run, to the last digit: sums are exact, the rest is counts and maxima.

What is no data is in the first shard alone. What is said of all values together (precision, and whether anything was
compared at all) is said anew of the sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

from rnnexport.core.errors import UsageError
from rnnexport.core.plain import plain
from rnnexport.verification.compare import merged_by_name
from rnnexport.verification.report import ArtifactReport, FeedReport
from rnnexport.verification.verdict import problems_of, status_of

# What each shard says of itself; all else is the same in all of them.
_OWN = {"artifact", "status", "feeds", "problems", "placement", "settings", "located"}


def merged(parts: Sequence[ArtifactReport]) -> ArtifactReport:
    """One artifact on one provider, over all shards, which come in their order.

    Raises:
        UsageError: they are not of one run.
    """
    first = parts[0]
    for other in parts[1:]:
        if name := _difference(first, other):
            raise UsageError(
                f"shards of {first.artifact} on {first.provider} whose {name} differs",
                "those of one artifact, source, data and set of options",
                "run the shards again, all alike",
            )
    for part in parts:
        if part.status == "mismatch" and not part.feeds:  # it crashed, or can't be fed
            return replace(part, artifact=first.artifact)
    located = next((part.located for part in parts if part.located is not None), None)
    whole = replace(first, feeds=_feeds(parts), located=located)
    wiring = next((problem.text for problem in first.problems if problem.kind == "states"), "")
    problems = problems_of(whole, (), wiring)
    status = status_of(problems, whole.feeds)
    absent = next((part for part in parts if part.status == "not run"), None)
    if absent is not None and status == "passed":
        return replace(whole, status="not run", problems=absent.problems)
    return replace(whole, status=status, problems=problems, located=None if status == "passed" else located)


def _feeds(parts: Sequence[ArtifactReport]) -> tuple[FeedReport, ...]:
    """Those of the first shard, its data those of all."""
    data = [feed for part in parts for feed in part.feeds if feed.kind == "data"]
    outputs = tuple(merged_by_name(comparison for feed in data for comparison in feed.outputs).values())
    return tuple(replace(feed, outputs=outputs) if feed.kind == "data" else feed for feed in parts[0].feeds)


def _difference(one: ArtifactReport, other: ArtifactReport) -> str:
    """The first thing in which they differ and must not; empty where there is none."""
    names = [field.name for field in fields(one) if field.name not in _OWN]
    return next((name for name in names if plain(getattr(one, name)) != plain(getattr(other, name))), "")
