"""Finding where an artifact departs from its source, and saying it in a report. The comparing is in `verification`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rnnexport.artifact.goldens import Arrays
from rnnexport.artifact.layer_map import LayerMap, LayerValue
from rnnexport.artifact.provenance import Proof
from rnnexport.core.errors import RnnExportError, UsageError
from rnnexport.isolation.runner import inner_values
from rnnexport.targets.base import Target
from rnnexport.verification.diagnosis.locate import Location, Step, locate
from rnnexport.verification.diagnosis.record import layer_map_of
from rnnexport.verification.diagnosis.search import search
from rnnexport.verification.report import ArtifactReport, Located
from rnnexport.verification.run_artifact import whole_feed
from rnnexport.verification.tolerance import Tolerance
from rnnexport.verification.where import Where

# The golden that layer maps are made of: one with padding and states of its own, where the model has these.
LAYER_MAP_GOLDEN = 2
_COLUMNS = ("layer", "class", "value", "computed by", "max abs error", "allowed", "verdict")
_SHOWN = 12  # rows of the table: those around the departure


def recorded_layer_map(
    target: Target, path: Path, layers: Sequence[LayerValue], feed: Arrays, tolerance: Tolerance, where: Where
) -> LayerMap | None:
    """The layer map of a finished artifact; None where nothing inside it can be looked at.

    Args:
        target: its format.
        path: where it is.
        layers: what the source's layers gave for `feed`.
        feed: of the golden `LAYER_MAP_GOLDEN`.
        tolerance: of the verification.
        where: it is run, on the CPU.
    """
    if not layers:
        return None
    try:
        inner = inner_values(target, path, feed, where.provider, where.tf32, where.limits)
    except RnnExportError:
        return None  # a layer map is a help; whether the artifact runs is for the verification to say
    found = layer_map_of(layers, inner, LAYER_MAP_GOLDEN, rtol=tolerance.rtol, atol=tolerance.atol)
    return found if found.marks else None


def with_departure(report: ArtifactReport, *searches: Callable[[], Location]) -> ArtifactReport:
    """The report of a mismatch with the place where it begins; unchanged for any other verdict.

    Args:
        report: of the artifact.
        searches: what looks for the place, the best first; the first that finds one is told, else the last.
    """
    if report.status != "mismatch" or not report.feeds:
        return report
    located = None
    for look in searches:
        try:
            location = look()
        except RnnExportError as error:
            located = located or Located(f"It can't be located: {error.found}.")
            continue
        located = _told(location)
        if location.departure is not None:
            break
    return replace(report, located=located)


def by_layer_map(own: Proof, tolerance: Tolerance, target: Target, path: Path, where: Where) -> Location:
    """The first value of the layer map inside the artifact that is another one now.

    Raises:
        UsageError: it has none; and as `Target.inner_values`.
    """
    layer_map = own.layer_map()
    if layer_map is None:
        raise UsageError("the artifact tells nothing of its layers", "a layer map", "give --source MODEL")
    feed = whole_feed(own.goldens[layer_map.golden], own.provenance.signature)
    inner = inner_values(target, path, feed, where.provider, where.tf32, where.limits)
    return locate(layer_map, inner, rtol=tolerance.rtol, atol=tolerance.atol)


def by_layers(
    layers: Sequence[LayerValue], feed: Arrays, tolerance: Tolerance, target: Target, path: Path, where: Where
) -> Location:
    """The first value of the source's layers for `feed` that is nowhere in the artifact. Raises as the other."""
    inner = inner_values(target, path, feed, where.provider, where.tf32, where.limits)
    return search(layers, inner, rtol=tolerance.rtol, atol=tolerance.atol)


def _told(location: Location) -> Located:
    steps = location.steps
    departs = next((at for at, step in enumerate(steps) if step.state == "departs"), 0)
    start = max(0, min(departs - _SHOWN // 2, len(steps) - _SHOWN))
    behind = departs if location.departure is not None else len(steps)
    shown = range(start, min(start + _SHOWN, len(steps)))
    return Located(location.sentence(), _COLUMNS, tuple(_row(steps[at], behind=at > behind) for at in shown))


def _row(step: Step, *, behind: bool) -> tuple[str, ...]:
    """One value; of those behind the first that departs nothing is known, for they follow from it."""
    error = "-" if math.isnan(step.error) else f"{step.error:.1e}"
    verdict = step.state if step.state != "absent" else "not searched" if behind else "not in the artifact"
    return step.layer, step.class_name, step.output, step.recurrence or "-", error, f"{step.allowed:.1e}", verdict
