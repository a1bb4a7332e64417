"""A report as JSON, for a release job. NaN is not JSON, so an error that can't be measured is null."""

from __future__ import annotations

import json
import math
from typing import Any

from rnnexport.verification.compare import Comparison
from rnnexport.verification.report import ArtifactReport, Report

SCHEMA = 1


def to_json(report: Report) -> str:
    """The whole report, indented, with a trailing newline."""
    value = {
        "schema": SCHEMA,
        "passed": report.passed,
        "exit_code": report.exit_code,
        "artifacts": [_artifact(item) for item in report.artifacts],
    }
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def _artifact(item: ArtifactReport) -> dict[str, Any]:
    return {
        "artifact": item.artifact,
        "target": item.target,
        "provider": item.provider,
        "status": item.status,
        "truth": item.truth,
        "rtol": item.tolerance.rtol,
        "atol": item.tolerance.atol,
        "max_abs_error": _number(item.max_abs),
        "problem": item.first_problem(),
        "placement": dict(item.placement),
        "computed_in": {dtype: list(layers) for dtype, layers in item.computed_in.items()},
        "lowering": [recurrence.to_json() for recurrence in item.lowering],
        "feeds": [{"label": feed.label, "outputs": list(map(_comparison, feed.outputs))} for feed in item.feeds],
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "output": comparison.name,
        "passed": comparison.passed,
        "max_abs_error": _number(comparison.max_abs),
        "max_rel_error": _number(comparison.max_rel),
        "out_of_tolerance": comparison.bad,
        "values": comparison.count,
        "first_bad_index": None if comparison.first_bad is None else list(comparison.first_bad),
        "problem": comparison.problem,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
