"""From the comparisons of all calls to the verdict: what is wrong with an artifact as a whole. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain

from rnnexport.verification.compare import merged_by_name
from rnnexport.verification.feeds import REQUIRED
from rnnexport.verification.precision import precision_problems
from rnnexport.verification.report import ArtifactReport, FeedReport, Problem, ProblemKind, Status

# Formats whose runtime sums in one order, see `precision`: XNNPACK, in LiteRT.
_IN_ORDER = ("tflite",)


def agree(feeds: Sequence[FeedReport]) -> bool:
    """Whether every output of every call passed."""
    return all(comparison.passed for feed in feeds for comparison in feed.outputs)


def problems_of(report: ArtifactReport, boundary: Sequence[str] = (), wiring: str = "") -> tuple[Problem, ...]:
    """What is wrong with an artifact besides single calls.

    Args:
        report: with its calls, its tolerances and its provenance.
        boundary: what is wrong with its boundary, in words.
        wiring: what is wrong with the wiring of states; empty where nothing is known to be.
    """
    found: tuple[tuple[ProblemKind, Sequence[str]], ...] = (
        ("boundary", boundary),
        ("states", [wiring] if wiring else []),
        # A source in float64 is nearer to the truth than any right artifact that is not.
        ("precision", [] if _is_narrower(report) else _precision(report)),
        ("values", _not_compared(report.feeds)),
    )
    return tuple(Problem(kind, text) for kind, texts in found for text in texts)


def status_of(problems: Sequence[Problem], feeds: Sequence[FeedReport]) -> Status:
    """The verdict on what was run."""
    return "passed" if not problems and agree(feeds) else "mismatch"


def _is_narrower(report: ArtifactReport) -> bool:
    """Whether the artifact was cast, from nothing narrower than it is."""
    if report.provenance is None or not report.provenance.options.get("cast"):
        return False
    dtypes = {*report.computed_in}
    return dtypes != {"float32"} and not {"float16", "bfloat16"} & dtypes


def _precision(report: ArtifactReport) -> list[str]:
    """Of each signature for itself, as each may have a fault of its own; of few calls it says nothing."""
    counted = [feed for feed in report.feeds if feed.kind != "derived"]
    found_in = partial(precision_problems, tolerances=report.tolerances, in_order=report.target in _IN_ORDER)
    problems = found_in([feed for feed in counted if not feed.entry])
    for entry in dict.fromkeys(feed.entry for feed in counted if feed.entry):
        own = [feed for feed in counted if feed.entry == entry]
        found = found_in(own) if len(own) >= REQUIRED else []
        problems += [f"{problem} (signature {entry})" for problem in found]
    return problems


def _not_compared(feeds: Sequence[FeedReport]) -> list[str]:
    """The outputs of which no call had a value to compare, in words: all were empty, or NaN."""
    outputs = merged_by_name(chain.from_iterable(feed.outputs for feed in feeds))
    return [
        f"no value of output {one.name} was compared" for one in outputs.values() if one.passed and not one.errors.count
    ]
