"""Reports and inspections as tables for a terminal."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rnnexport.inspection import Inspection
from rnnexport.report.recurrences import recurrences_table
from rnnexport.signature import Signature
from rnnexport.targets.registry import model_name
from rnnexport.verification.compare import Tolerance
from rnnexport.verification.report import ArtifactReport, Report

_STYLE = {"passed": "green", "mismatch": "bold red", "not run": "yellow"}


def report_table(report: Report) -> RenderableType:
    """A line an artifact and provider; below it, what is wrong, in full."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("artifact", "target", "provider", "verdict"):
        table.add_column(title, overflow="fold")
    for title in ("feeds", "values", "max abs error"):
        table.add_column(title, justify="right", no_wrap=True)
    for item in report.artifacts:
        verdict = Text("verified" if item.status == "passed" else item.status, _STYLE[item.status])
        table.add_row(Path(item.artifact).name, item.target, item.provider, verdict, *_numbers(item))
    notes = [Text(note, overflow="fold") for item in report.artifacts for note in _notes(item)]
    return Group(table, *notes)


def matrix_table(report: Report) -> RenderableType:
    """A line a model, a column a target, each cell the verdict and the largest absolute error."""
    targets = list(dict.fromkeys(item.target for item in report.artifacts))
    rows: dict[str, dict[str, Text]] = {}
    for item in report.artifacts:
        verdict = f"verified {item.max_abs:.1e}" if item.status == "passed" else item.status
        name = model_name(item.artifact, item.target)
        rows.setdefault(name, {})[item.target] = Text(verdict, _STYLE[item.status])
    title = "artifacts in their own runtimes against eager Keras; the largest absolute error"
    table = Table("model", *targets, box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for name, cells in rows.items():
        table.add_row(name, *(cells.get(target, Text("-")) for target in targets))
    return Group(table, *(Text(note) for item in report.artifacts for note in _notes(item)))


def _numbers(item: ArtifactReport) -> tuple[str, str, str]:
    if not item.feeds:
        return "-", "-", "-"
    values = sum(comparison.count for feed in item.feeds for comparison in feed.outputs)
    return str(len(item.feeds)), str(values), f"{item.max_abs:.1e}"


def _notes(item: ArtifactReport) -> list[str]:
    notes = []
    if item.tolerance != Tolerance():
        bounds = f"rtol {item.tolerance.rtol:g}, atol {item.tolerance.atol:g}"
        notes.append(f"{item.artifact} ({item.provider}): judged with {bounds}, which are not the defaults")
    if item.status != "passed":
        notes.append(f"{item.artifact} ({item.provider}): {item.first_problem()}")
    if set(item.computed_in) - {"float32"}:
        dtypes = "; ".join(f"{dtype}: {', '.join(layers)}" for dtype, layers in sorted(item.computed_in.items()))
        notes.append(f"{item.artifact}: computes in {dtypes}")
    notes += [f"{item.artifact}: fault of rnnexport in {one.name}: {one.fault}" for one in item.lowering if one.fault]
    if item.placement:
        total = sum(item.placement.values())
        shares = ", ".join(f"{name} {count} of {total}" for name, count in sorted(item.placement.items()))
        notes.append(f"{item.artifact} ({item.provider}): node runs by provider: {shares}")
    return notes


def inspection_tables(inspection: Inspection) -> RenderableType:
    """Facts, then layers, then operators. The signature has a view of its own."""
    parts: list[RenderableType] = [_pairs(dict(inspection.facts))]
    if inspection.layers:
        layers = Table("class", "name", box=box.SIMPLE_HEAD, pad_edge=False, title="layers", title_justify="left")
        for class_name, name in inspection.layers:
            layers.add_row(class_name, name)
        parts.append(layers)
    if inspection.weights:
        weights = Table("layer", "weights", box=box.SIMPLE_HEAD, pad_edge=False, title="weights", title_justify="left")
        for name, shapes in inspection.weights:
            weights.add_row(name, shapes)
        parts.append(weights)
    if inspection.signature is not None:
        parts.append(signature_table(inspection.signature))
    if inspection.lowering:
        parts.append(recurrences_table(inspection.lowering))
    if inspection.operators:
        ordered = sorted(inspection.operators.items(), key=lambda pair: (-pair[1], pair[0]))
        parts.append(Text("operators: " + ", ".join(f"{name} {count}" for name, count in ordered)))
    return Group(*parts)


def signature_table(signature: Signature) -> RenderableType:
    """Inputs, outputs and states, a line each."""
    table = Table("", "name", "dtype", "shape", box=box.SIMPLE_HEAD, pad_edge=False)
    for kind, specs in (("input", signature.inputs), ("output", signature.outputs)):
        for spec in specs:
            table.add_row(kind, spec.name, spec.dtype, f"({', '.join(map(str, spec.shape))})")
    for state in signature.states:
        shape = f"({', '.join(map(str, state.input.shape))})"
        table.add_row("state", f"{state.input.name} -> {state.output.name}", state.input.dtype, shape)
    return table


def _pairs(values: dict[str, str]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in values.items():
        table.add_row(label, value)
    return table
