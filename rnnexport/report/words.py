"""What several views of a report say in the same words, and the figures they share."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from rnnexport.core.placement import Placement
from rnnexport.verification.compare import Comparison
from rnnexport.verification.report import ArtifactReport, FeedReport, Report, Status
from rnnexport.verification.statistics import Errors
from rnnexport.verification.tolerance import Bounds, Tolerances

# What no text can hold, what a terminal would obey, and what would turn the reading direction of the text around it.
_HOSTILE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")

VERDICTS: Mapping[Status, str] = {"passed": "verified", "mismatch": "mismatch", "not run": "not run"}


@dataclass(frozen=True)
class Against:
    """The errors against the float64 truth, over all feeds and outputs."""

    source: Errors
    artifact: Errors


@dataclass(frozen=True)
class Totals:
    """A report in a few figures: how many artifacts there are of each status, what was compared, the largest error."""

    passed: int
    mismatch: int
    not_run: int
    feeds: int
    values: int
    max_abs: float
    noun: str

    @property
    def artifacts(self) -> int:
        """All of them, each provider for itself; `noun` says what is counted."""
        return self.passed + self.mismatch + self.not_run


def harmless(text: str) -> str:
    """`text` with a replacement character for each that is none to be seen; line ends and tabs stay."""
    return _HOSTILE.sub("\ufffd", text)


def number(value: float) -> str:
    """A figure with two digits: `3.1e-07`, `0`, `nan`, `inf`."""
    return "0" if value == 0 else f"{value:.1e}"


def short_name(artifact: str) -> str:
    """The name of an artifact without its folder."""
    return Path(artifact).name or artifact


def values_of(item: ArtifactReport) -> int:
    """How many values were compared."""
    return sum(comparison.errors.count for feed in item.feeds for comparison in feed.outputs)


def against_truth(item: ArtifactReport) -> Against | None:
    """Source and artifact against float64; None where no output has a truth."""
    comparisons = [comparison for feed in item.feeds for comparison in feed.outputs]
    source = [one.source_error for one in comparisons if one.source_error is not None]
    artifact = [one.artifact_error for one in comparisons if one.artifact_error is not None]
    if not source or not artifact:
        return None
    return Against(reduce(Errors.merged, source), reduce(Errors.merged, artifact))


def rmse_pair(item: ArtifactReport) -> str:
    """`source / artifact`: how far each is from float64; a dash where there is no truth."""
    against = against_truth(item)
    return "-" if against is None else f"{number(against.source.rmse)} / {number(against.artifact.rmse)}"


def totals(report: Report) -> Totals:
    """The report in a few figures. The largest error is NaN where nothing could be compared."""
    count = [item.status for item in report.artifacts].count
    errors = [item.max_abs for item in report.artifacts if item.feeds]
    names = {item.artifact for item in report.artifacts}
    return Totals(
        passed=count("passed"),
        mismatch=count("mismatch"),
        not_run=count("not run"),
        feeds=sum(len(item.feeds) for item in report.artifacts),
        values=sum(map(values_of, report.artifacts)),
        max_abs=math.nan if not errors or any(map(math.isnan, errors)) else max(errors),
        noun="artifact" if len(names) == len(report.artifacts) else "artifact-provider pair",
    )


def wrong(item: ArtifactReport) -> list[str]:
    """Everything that is wrong: each output once, with the first feed that shows it; then the artifact as a whole."""
    bad: dict[str, list[tuple[str, Comparison]]] = {}
    for feed in item.feeds:
        for comparison in feed.outputs:
            if not comparison.passed:
                bad.setdefault(comparison.name, []).append((feed.label, comparison))
    told = []
    for name, cases in bad.items():
        label, first = cases[0]
        where = f"{label}; wrong in {len(cases)} of {plural(len(item.feeds), 'feed')}" if len(item.feeds) > 1 else label
        told.append(f"{name}: {first.problem} ({where})")
    return told + [problem.text for problem in item.problems]


def steps_line(feed: FeedReport, tolerances: Tolerances) -> str:
    """How far a long sequence strays: the largest error, that of both sides against float64, and what is allowed."""
    outputs = [one for one in feed.outputs if one.errors.by_timestep]
    if not outputs:
        return f"{feed.label}: nothing was compared"
    most = max(outputs, key=lambda one: _size(one.errors.max_abs))
    curve, span = most.errors.by_timestep, most.errors.span
    first = span * max(range(len(curve)), key=lambda at: _size(curve[at]))
    last = min(first + span, feed.steps) - 1
    where = f"step {first}" if first == last else f"steps {first} to {last}"
    told = [f"{feed.label}: largest error {number(most.errors.max_abs)}"]
    if most.errors.max_abs != 0:
        told[0] += f" ({most.name}, {where})"
    if most.source_error is not None and most.artifact_error is not None:
        source, artifact = number(most.source_error.max_abs), number(most.artifact_error.max_abs)
        told.append(f"largest from float64: source {source}, artifact {artifact}")
    allowed = tolerances.of(most.name, 1), tolerances.of(most.name, feed.steps)
    told.append(f"allowed: {allowed[0]}" + (f", growing to {allowed[1]}" if allowed[0] != allowed[1] else ""))
    return "; ".join(told)


def _size(error: float) -> float:
    return math.inf if math.isnan(error) else error


def exact_outputs(item: ArtifactReport) -> frozenset[str]:
    """The outputs that are compared exactly, whatever the tolerance: integers, bools and text."""
    if item.provenance is None:
        return frozenset()
    specs = item.provenance.signature.all_outputs
    return frozenset(spec.name for spec in specs if not spec.dtype.startswith(("float", "bfloat", "complex")))


def settings_line(settings: Mapping[str, str]) -> str:
    """`tf32 off, precision f32`."""
    return ", ".join(f"{name} {value}" for name, value in sorted(settings.items()))


def placement_line(placement: Placement, provider: str) -> str:
    """Where the nodes ran, and which share of the recurrent ones ran where they were asked to."""
    counts = placement.counts()
    total = sum(counts.values())
    where = ", ".join(f"{name} {count} of {total}" for name, count in sorted(counts.items()))
    recurrent = placement.recurrent_share(provider)
    if placement.opaque:
        share = (
            f"not known how many of the recurrent nodes on {provider}: {plural(len(placement.opaque), 'part')} compiled"
        )
    elif recurrent is None:
        share = "no recurrent node"
    else:
        share = f"{percent(recurrent)} of the recurrent nodes on {provider}"
    return f"nodes by provider: {where}; {share}"


def bounds_line(item: ArtifactReport) -> str:
    """How many values had a wider bound than the tolerance; empty where none had."""
    found = bounds_of(item)
    if not found.wider:
        return ""
    count = values_of(item)
    usual, coarse = percent(1 - found.wider / count), percent(found.coarse / count)
    told = f"bounds: {usual} of values were held to the tolerance; rounding alone moves the others further"
    told += f", where up to {found.largest:.3g} times the tolerance was allowed" if found.largest > 1 else ""
    return told + (f"; {coarse} may be off by over a hundredth, where a comparison says little" if found.coarse else "")


def bounds_of(item: ArtifactReport) -> Bounds:
    """How many values of all feeds had a wider bound."""
    return reduce(Bounds.merged, (one.bounds for feed in item.feeds for one in feed.outputs), Bounds())


def computed_line(item: ArtifactReport) -> str:
    """The layers by the dtype they compute in; empty where that is float32 alone, in the artifact as well."""
    cast = "" if item.provenance is None else str(item.provenance.options.get("cast", ""))
    if not cast and not set(item.computed_in) - {"float32"}:
        return ""
    told = "; ".join(f"{dtype}: {', '.join(layers)}" for dtype, layers in sorted(item.computed_in.items()))
    return f"{told}; cast to {cast} in the artifact, which is up to {item.max_abs:.2g} off for it" if cast else told


def percent(share: float) -> str:
    """A share of 0 to 1 in percent, never rounded to none or to all of it: `<1%`, `>99%`."""
    if 0 < share < 0.01:
        return "<1%"
    return ">99%" if 0.99 < share < 1 else f"{share:.0%}"


def plural(count: int, noun: str) -> str:
    """`1 feed`, `2 feeds`, `12,345 values`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
