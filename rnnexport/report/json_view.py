"""A report as JSON, for a release job: schema 2, described in `schema_2.json`. NaN and infinities are null."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from rnnexport.artifact.provenance import Provenance
from rnnexport.core.placement import Placement
from rnnexport.report.words import against_truth, bounds_of, wrong
from rnnexport.verification.compare import Comparison
from rnnexport.verification.report import ArtifactReport, FeedReport, Located, Report
from rnnexport.verification.statistics import EDGES, Errors
from rnnexport.verification.tolerance import Bounds, Tolerance, Tolerances
from rnnexport.version import __version__

SCHEMA = 2


def to_json(report: Report) -> str:
    """The whole report, indented, with a trailing newline. The same report gives the same text."""
    value = {
        "schema": SCHEMA,
        "rnnexport": __version__,
        "passed": report.passed,
        "exit_code": report.exit_code,
        "run": None if report.run is None else report.run.to_json(),
        "histogram_edges": list(EDGES),
        "artifacts": [artifact_value(item) for item in report.artifacts],
    }
    return to_text(value)


def to_text(value: Mapping[str, Any]) -> str:
    """A value as JSON, indented, with a trailing newline; null for every number that JSON can't say."""
    return json.dumps(_plain(value), indent=2, allow_nan=False) + "\n"


def artifact_value(item: ArtifactReport) -> dict[str, Any]:
    """One artifact on one provider, as values of JSON, non-finite numbers besides."""
    against = against_truth(item)
    return {
        "artifact": item.artifact,
        "target": item.target,
        "provider": item.provider,
        "status": item.status,
        "truth": item.truth,
        "max_abs_error": item.max_abs,
        "rmse_of_artifact": None if against is None else against.artifact.rmse,
        "rmse_of_source": None if against is None else against.source.rmse,
        "no_truth": item.no_truth,
        "coverage": item.coverage.to_json() | {"share": item.coverage.share},
        "no_witness": item.no_witness,
        "problem": item.first_problem(),
        "problems": wrong(item),
        "located": _located(item.located),
        "tolerances": _tolerances(item.tolerances),
        "bounds": _bounds(bounds_of(item)),
        "settings": dict(item.settings),
        "placement": _placement(item.placement, item.provider),
        "computed_in": {dtype: list(layers) for dtype, layers in item.computed_in.items()},
        "lowering": [recurrence.to_json() for recurrence in item.lowering],
        "provenance": _provenance(item.provenance),
        "files": [file.to_json() for file in item.files],
        "outputs": [_comparison(comparison) for comparison in item.outputs()],
        "feeds": [_feed(feed) for feed in item.feeds],
    }


def _feed(feed: FeedReport) -> dict[str, Any]:
    return {"label": feed.label, "steps": feed.steps, "outputs": list(map(_comparison, feed.outputs))}


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "output": comparison.name,
        "passed": comparison.passed,
        "problem": comparison.problem,
        "first_bad_index": None if comparison.first_bad is None else list(comparison.first_bad),
        "first_bad_timestep": comparison.first_timestep,
        "tolerance": _tolerance(comparison.tolerance),
        "bounds": _bounds(comparison.bounds),
        "errors": _errors(comparison.errors),
        "artifact_against_truth": _errors(comparison.artifact_error),
        "source_against_truth": _errors(comparison.source_error),
    }


def _errors(errors: Errors | None) -> dict[str, Any] | None:
    if errors is None:
        return None
    return {
        "values": errors.count,
        "out_of_tolerance": errors.bad,
        "max_abs": errors.max_abs,
        "max_rel": errors.max_rel,
        "max_ulp": errors.max_ulp,
        "rmse": errors.rmse,
        "cosine": errors.cosine if errors.count else None,
        "histogram": list(errors.histogram),
        "by_timestep": list(errors.by_timestep),
        "timesteps_a_point": errors.span,
    }


def _tolerance(tolerance: Tolerance) -> dict[str, float]:
    return {"rtol": tolerance.rtol, "atol": tolerance.atol}


def _bounds(bounds: Bounds) -> dict[str, Any]:
    return {"wider": bounds.wider, "coarse": bounds.coarse, "largest": bounds.largest}


def _tolerances(tolerances: Tolerances) -> dict[str, Any]:
    asked = tolerances.override
    return {
        "usual": tolerances.usual,
        "default": _tolerance(tolerances.default),
        "override": {
            "rtol": asked.rtol,
            "atol": asked.atol,
            "rtols": dict(asked.rtols),
            "atols": dict(asked.atols),
        },
    }


def _located(located: Located | None) -> dict[str, Any] | None:
    if located is None:
        return None
    return {
        "sentence": located.sentence,
        "columns": list(located.columns),
        "rows": [list(row) for row in located.rows],
    }


def _placement(placement: Placement | None, provider: str) -> dict[str, Any] | None:
    if placement is None:
        return None
    return {
        "counts": dict(placement.counts()),
        "share": placement.share(provider),
        "recurrent_share": placement.recurrent_share(provider),
        "nodes": [node.to_json() for node in placement.nodes],
    }


def _provenance(provenance: Provenance | None) -> dict[str, Any] | None:
    """What the artifact says of itself, without the values it carries."""
    if provenance is None:
        return None
    signature = provenance.signature
    return {
        "source": dict(provenance.source),
        "keras_api": provenance.keras_api,
        "options": dict(provenance.options),
        "versions": dict(provenance.versions),
        "tolerance": dict(provenance.tolerance),
        "semantics": list(provenance.semantics),
        "inputs": [spec.to_json() for spec in signature.inputs],
        "outputs": [spec.to_json() for spec in signature.outputs],
        "states": [
            {"layer": state.layer, "input": state.input.to_json(), "output": state.output.to_json()}
            for state in signature.states
        ],
    }


def _plain(value: Any) -> Any:
    """`value` with null for every number that JSON can't say."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
