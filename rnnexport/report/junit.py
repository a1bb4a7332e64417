"""A report as JUnit XML, which every CI server shows: a suite an artifact and provider, a case a feed and output."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from rnnexport.report.words import bounds_line, number, placement_line, settings_line
from rnnexport.verification.compare import Comparison
from rnnexport.verification.report import ArtifactReport, Report
from rnnexport.verification.statistics import Errors

# What XML 1.0 can't say, not even as a reference: most control characters, halves of surrogate pairs, and
# two non-characters.
_UNSAYABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class _Case:
    """One test case. `failure` and `skipped` are empty where it passed."""

    classname: str
    name: str
    failure: str = ""
    skipped: str = ""
    figures: str = ""


def to_junit(report: Report) -> str:
    """The whole report as one XML document with a trailing newline.

    A class name is `artifact.provider.feed`, a case's name the output. What concerns an artifact as a whole has cases
    of its own, named by the kind of problem: `boundary`, `precision`, `placement` and so on. What was not run is
    skipped. A report of nothing fails.
    """
    root = ET.Element("testsuites", name="rnnexport verify")
    suites = [_suite(item) for item in report.artifacts] or [_nothing()]
    if report.run is not None:
        root.set("time", f"{report.run.seconds:.3f}")
        for suite in suites:
            suite.set("timestamp", report.run.started)
            suite.set("hostname", _said(report.run.host))
    root.extend(suites)
    for key in ("tests", "failures", "errors", "skipped"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in suites)))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _nothing() -> ET.Element:
    return _counted("rnnexport verify", [_Case("rnnexport", "artifacts", failure="no artifact was verified")])


def _suite(item: ArtifactReport) -> ET.Element:
    suite = _counted(f"{item.artifact} ({item.provider})", list(_cases(item)))
    properties = ET.Element("properties")
    for name, value in _properties(item):
        ET.SubElement(properties, "property", name=_said(name), value=_said(value))
    suite.insert(0, properties)
    return suite


def _counted(name: str, cases: list[_Case]) -> ET.Element:
    suite = ET.Element(
        "testsuite",
        name=_said(name),
        tests=str(len(cases)),
        failures=str(sum(bool(case.failure) for case in cases)),
        errors="0",
        skipped=str(sum(bool(case.skipped) for case in cases)),
    )
    suite.extend(map(_element, cases))
    return suite


def _element(case: _Case) -> ET.Element:
    element = ET.Element("testcase", classname=_said(case.classname), name=_said(case.name))
    if case.failure:
        ET.SubElement(element, "failure", message=_said(case.failure), type="mismatch").text = _said(case.failure)
    if case.skipped:
        ET.SubElement(element, "skipped", message=_said(case.skipped))
    if case.figures:
        ET.SubElement(element, "system-out").text = _said(case.figures)
    return element


def _cases(item: ArtifactReport) -> Iterator[_Case]:
    whole = f"{item.artifact}.{item.provider}"
    skipped = ""
    if item.status == "not run":
        # It may have feeds that agree: those that ran, but not where they were asked to, which proves nothing.
        skipped = "; ".join(problem.text for problem in item.problems) or "not run"
        yield _Case(whole, item.problems[0].kind if item.problems else "run", skipped=skipped)
    else:
        yield from _whole(item, whole)
    for feed in item.feeds:
        for comparison in feed.outputs:
            problem = "" if comparison.passed or skipped else comparison.problem or "out of tolerance"
            yield _Case(f"{whole}.{feed.label}", comparison.name, problem, skipped, _figures(comparison))


def _whole(item: ArtifactReport, classname: str) -> Iterator[_Case]:
    """A case for each kind of problem that was looked for."""
    by_kind: dict[str, list[str]] = {"boundary": []}
    if item.placement is not None:
        by_kind["placement"] = []
    if any(comparison.artifact_error is not None for feed in item.feeds for comparison in feed.outputs):
        by_kind["precision"] = []
    for problem in item.problems:
        by_kind.setdefault(problem.kind, []).append(problem.text)
    figures = {"placement": "" if item.placement is None else placement_line(item.placement, item.provider)}
    for kind, problems in by_kind.items():
        yield _Case(classname, kind, "; ".join(problems), figures=figures.get(kind, ""))
    failing = item.problems or not all(comparison.passed for feed in item.feeds for comparison in feed.outputs)
    if item.status == "mismatch" and not failing:
        # Whatever the reason, a mismatch must not look like a pass.
        yield _Case(classname, "verdict", "mismatch")


def _figures(comparison: Comparison) -> str:
    lines = [f"tolerance: {comparison.tolerance}"]
    against = (
        ("artifact against source", comparison.errors),
        ("source against float64", comparison.source_error),
        ("artifact against float64", comparison.artifact_error),
    )
    lines += [f"{title}: {_errors(errors)}" for title, errors in against if errors is not None]
    return "\n".join(lines)


def _errors(errors: Errors) -> str:
    return (
        f"{errors.count} values, {errors.bad} out of tolerance, max abs {number(errors.max_abs)}, "
        f"max rel {number(errors.max_rel)}, max ulp {errors.max_ulp:g}, rmse {number(errors.rmse)}, "
        f"cosine {errors.cosine:.9f}"
    )


def _properties(item: ArtifactReport) -> Iterator[tuple[str, str]]:
    yield "target", item.target
    yield "provider", item.provider
    yield "status", item.status
    yield "truth", item.truth
    yield "tolerances", str(item.tolerances)
    yield from ((f"sha256 {file.name}", file.sha256) for file in item.files)
    if item.settings:
        yield "settings", settings_line(item.settings)
    if item.located is not None:
        yield "located", item.located.sentence
    if item.no_truth:
        yield "no float64 truth", item.no_truth
    if bounds := bounds_line(item):
        yield "bounds", bounds
    yield from (("coverage", sentence) for sentence in item.coverage.sentences())
    if item.no_witness:
        yield "one float64 reading", item.no_witness
    if item.provenance is not None:
        yield from ((f"source {name}", value) for name, value in sorted(item.provenance.source.items()))


def _said(text: str) -> str:
    """`text` without what XML can't say."""
    return _UNSAYABLE.sub("", text)
