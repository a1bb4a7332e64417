"""A report as one HTML page that loads nothing: no script, no font, no picture from anywhere."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import TYPE_CHECKING

from rnnexport.artifact.provenance import Provenance
from rnnexport.core.errors import UsageError
from rnnexport.core.lowering import ALL_FORMS, LoweringDecision
from rnnexport.report import words
from rnnexport.report.charts import Curve, drift_chart, histogram_chart
from rnnexport.report.quantized import QuantizedView, quantized_view
from rnnexport.verification.compare import Comparison
from rnnexport.verification.report import ArtifactReport, FeedReport, Report
from rnnexport.verification.statistics import EDGES, Errors
from rnnexport.version import __version__

if TYPE_CHECKING:
    from jinja2 import Environment

# With more artifacts than these, those that passed are folded.
_OPEN = 3


@dataclass(frozen=True)
class _Drawn:
    """The charts of one output, as SVG; empty where they would show nothing."""

    name: str
    drift: str
    histogram: str


@dataclass(frozen=True)
class _Followed:
    """The drift of each output over a long sequence, and what is to be said of it."""

    label: str
    told: str
    drawn: tuple[_Drawn, ...]


@dataclass(frozen=True)
class _Section:
    """One artifact on one provider, as the page shows it."""

    anchor: str
    item: ArtifactReport
    unfolded: bool
    wrong: tuple[str, ...]
    outputs: tuple[Comparison, ...]
    drawn: tuple[_Drawn, ...]
    followed: tuple[_Followed, ...]
    equal: tuple[Comparison, ...]
    quantized: QuantizedView | None


def to_html(report: Report) -> str:
    """The whole report as one page. The same report gives the same text.

    Raises:
        UsageError: jinja2 is not installed.
    """
    environment = _environment()
    page = environment.get_template("page.html.j2").render(
        report=report,
        totals=words.totals(report),
        verdict=_verdict(report),
        sections=[_section(f"a{index}", item, report) for index, item in enumerate(report.artifacts, 1)],
        version=__version__,
    )
    return words.harmless(page)


def _environment() -> Environment:
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError as error:
        raise UsageError("jinja2 is not installed", "it, to write a page", "pip install jinja2") from error
    environment = Environment(
        loader=FunctionLoader(_resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: Mapping[str, Callable[..., object]] = {
        "number": words.number,
        "short_name": words.short_name,
        "rmse_pair": words.rmse_pair,
        "values_of": words.values_of,
        "bounds_line": words.bounds_line,
        "computed_line": words.computed_line,
        "exact_outputs": words.exact_outputs,
        "settings_line": words.settings_line,
        "angle": _angle,
        "source_facts": _source_facts,
        "told": _told,
        "forms": _forms,
    }
    environment.filters.update(filters)
    environment.globals.update(plural=words.plural, placement_line=words.placement_line, verdicts=words.VERDICTS)
    return environment


def _resource(name: str) -> str:
    return files("rnnexport.report").joinpath(name).read_text(encoding="utf-8")


def _verdict(report: Report) -> str:
    """The class of the verdict of the whole: `passed`, `mismatch`, `not-run`; `nothing` where nothing was verified."""
    if not report.artifacts:
        return "nothing"
    if report.passed:
        return "passed"
    return "mismatch" if any(item.status == "mismatch" for item in report.artifacts) else "not-run"


def _section(anchor: str, item: ArtifactReport, report: Report) -> _Section:
    outputs = item.outputs()
    measured = [one for one in outputs if one.errors.count]
    short = replace(item, feeds=tuple(feed for feed in item.feeds if not feed.steps))
    return _Section(
        anchor=anchor,
        item=item,
        unfolded=len(report.artifacts) <= _OPEN or item.status == "mismatch",
        wrong=tuple(words.wrong(item)),
        outputs=outputs,
        drawn=tuple(_drawn(one, allowed_of(one.name, item)) for one in short.outputs() if one.errors.count),
        followed=tuple(_followed(feed, item) for feed in item.feeds if feed.steps),
        equal=tuple(one for one in measured if one.errors.max_abs == 0),
        quantized=None if item.provenance is None else quantized_view(item.provenance.quantization),
    )


def allowed_of(name: str, item: ArtifactReport) -> float | None:
    """What is allowed of an output at a value of its usual (root mean square) size, in the strictest feed.

    None where it is compared exactly, or where the size is not finite.
    """
    if name in words.exact_outputs(item):
        return None
    found = []
    for feed in item.feeds:
        for one in feed.outputs:
            if one.name == name and one.errors.count:
                size = math.sqrt(one.errors.wanted_squares / one.errors.count)
                found.append(one.tolerance.atol + one.tolerance.rtol * size)
    usable = [value for value in found if math.isfinite(value) and value > 0]
    return min(usable) if usable else None


def curves_of(one: Comparison) -> list[Curve]:
    """The drift of an output: against its source, and of both against float64 where there is a truth."""
    curves = [_curve("artifact against source", "found", one.errors)]
    if one.source_error is not None and one.artifact_error is not None:
        curves.append(_curve("source against float64", "source", one.source_error))
        curves.append(_curve("artifact against float64", "artifact", one.artifact_error))
    return [curve for curve in curves if curve.values]


def _curve(label: str, kind: str, errors: Errors) -> Curve:
    return Curve(label, kind, errors.by_timestep, errors.span)


def _drawn(one: Comparison, allowed: float | None) -> _Drawn:
    """What is exactly equal needs no histogram, and a curve only where there is a truth that it may drift from."""
    curves = curves_of(one)
    equal = one.errors.max_abs == 0
    return _Drawn(
        name=one.name,
        drift=drift_chart(one.name, curves, allowed) if curves and (not equal or len(curves) > 1) else "",
        histogram="" if equal else histogram_chart(one.name, one.errors.histogram, EDGES, allowed),
    )


def _followed(feed: FeedReport, item: ArtifactReport) -> _Followed:
    """The line across is what is allowed of the first step."""
    drawn = []
    for one in feed.outputs:
        if curves := curves_of(one):
            size = math.sqrt(one.errors.wanted_squares / one.errors.count)
            first = item.tolerances.of(one.name, 1)
            allowed = None if one.name in words.exact_outputs(item) else first.atol + first.rtol * size
            drawn.append(_Drawn(one.name, drift_chart(one.name, curves, allowed), ""))
    return _Followed(feed.label, words.steps_line(feed, item.tolerances), tuple(drawn))


def _forms(recurrence: LoweringDecision) -> Sequence[tuple[str, str, str]]:
    """The forms that were looked at: form, `chosen`, `proven` or `refused`, reason."""
    told = []
    for form in ALL_FORMS:
        if form == recurrence.chosen:
            told.append((form, "chosen", recurrence.why))
        elif form in recurrence.proven:
            told.append((form, "proven", ""))
        elif form in recurrence.refused:
            told.append((form, "refused", recurrence.refused[form]))
    return told


def _source_facts(provenance: Provenance) -> list[tuple[str, str]]:
    """What is known of the source, its name and digest first."""
    first = {
        "name": "source",
        "sha256": "sha256 of the source",
        "writer": "written by",
        "keras_version": "written by Keras",
    }
    known = provenance.source
    labels = [name for name in first if name in known] + sorted(set(known) - set(first))
    return [(first.get(name, name.replace("_", " ")), known[name] or "none: a live model") for name in labels]


def _angle(errors: Errors) -> str:
    """1 - cosine, which tells more than a row of nines; without what the rounding of the sums adds to it."""
    if errors.max_abs == 0:
        return "0"
    return words.number(max(0.0, 1 - errors.cosine)) if math.isfinite(errors.cosine) else "nan"


def _told(value: object) -> str:
    """An option as text: words as they are, all else as JSON."""
    if value is None:
        return "not set"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
