"""Reports and inspections as tables for a terminal.

What became of the recurrences of a model, as a table for a terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rnnexport.core.lowering import ALL_FORMS, LoweringDecision
from rnnexport.core.signature import Signature, StateSpec
from rnnexport.report.terminal import said
from rnnexport.report.words import (
    VERDICTS,
    bounds_line,
    bounds_of,
    computed_line,
    number,
    placement_line,
    rmse_pair,
    settings_line,
    short_name,
    steps_line,
    values_of,
    wrong,
)
from rnnexport.targets.registry import model_name
from rnnexport.verification.compare import Comparison
from rnnexport.verification.report import ArtifactReport, Located, Report

if TYPE_CHECKING:
    from rnnexport.api.inspect import Inspection, LayerFacts

_STYLE = {"passed": "green", "mismatch": "bold red", "not run": "yellow"}
_WIDEST, _UNBOUND = 160, 1000
_FIRST = 3  # values of an array that are shown
_UNUSUAL = 100.0  # a bound of so many times the tolerance is told beside the verdict
_CHOSEN, _PROVEN, _REFUSED, _FAULT = "green", "", "yellow", "bold red"


def report_table(report: Report) -> RenderableType:
    """A line an artifact and provider; below it, what is wrong, in full, and what is not as usual."""
    return _ReportView(report)


@dataclass(frozen=True)
class _ReportView:
    """Never wider than 160 columns; where not all of the overview fits, some columns are left out."""

    report: Report

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        options = options.update(width=min(options.max_width, _WIDEST))
        whole = _overview(self.report, wide=True)
        fits = Measurement.get(console, options.update(width=_UNBOUND), whole).maximum <= options.max_width
        yield from console.render(_parts(self.report, fits), options)


def _parts(report: Report, wide: bool) -> Group:
    return Group(_overview(report, wide), *(note for item in report.artifacts for note in _notes(item)), *_ends(report))


def _overview(report: Report, wide: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    with_truth = any(rmse_pair(item) != "-" for item in report.artifacts)
    table.add_column("artifact", overflow="fold")
    if wide:
        table.add_column("target", no_wrap=True)
    table.add_column("provider", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    titles = [*(["feeds"] if wide else []), "values", "max abs error" if wide else "max error"]
    titles += [f"rmse to float64{' ' if wide else chr(10)}source / artifact"] if with_truth else []
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    for item in report.artifacts:
        verdict = said(VERDICTS[item.status], _STYLE[item.status])
        about = [item.target, item.provider] if wide else [item.provider]
        figures = _figures(item, wide) + ([rmse_pair(item)] if with_truth else [])
        table.add_row(said(short_name(item.artifact)), *map(said, about), verdict, *figures)
    return table


def _figures(item: ArtifactReport, wide: bool) -> list[str]:
    """Feeds where there is room, values, the largest error."""
    if not item.feeds:
        return ["-"] * (3 if wide else 2)
    return [*([str(len(item.feeds))] if wide else []), str(values_of(item)), number(item.max_abs)]


def matrix_table(report: Report) -> RenderableType:
    """A line a model, a column a target, each cell the verdict and the largest absolute error."""
    targets = list(dict.fromkeys(item.target for item in report.artifacts))
    rows: dict[str, dict[str, Text]] = {}
    for item in report.artifacts:
        verdict = f"verified {number(item.max_abs)}" if item.status == "passed" else item.status
        name = model_name(item.artifact, item.target)
        rows.setdefault(name, {})[item.target] = said(verdict, _STYLE[item.status])
    title = "artifacts in their own runtimes against eager Keras; the largest absolute error"
    table = Table("model", *targets, box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for name, cells in rows.items():
        table.add_row(said(name), *(cells.get(target, said("-")) for target in targets))
    return Group(table, *(note for item in report.artifacts for note in _notes(item)), *_ends(report))


def _notes(item: ArtifactReport) -> Iterator[RenderableType]:
    """What there is to say of one artifact below the table: nothing where all is as usual."""
    problems, remarks = wrong(item), _remarks(item)
    if not problems and not remarks and item.located is None:
        return
    head = said(f"{item.artifact} ({item.provider})", "bold")
    head.append(f": {VERDICTS[item.status]}", _STYLE[item.status])
    yield head
    for problem in problems:
        yield _indented(said(problem))
    if item.located is not None:
        yield from _located(item.located)
    for remark in remarks:
        yield _indented(said(remark, "dim"))


def _remarks(item: ArtifactReport) -> list[str]:
    told = [steps_line(feed, item.tolerances) for feed in item.feeds if feed.steps]
    if not item.tolerances.usual:
        told.append(f"judged with {item.tolerances}, which are not the defaults")
    if item.settings and item.provider != "cpu":  # there it is the compiler of a C program, which the other views name
        told.append(f"settings of {item.provider}: {settings_line(item.settings)}")
    if warning := item.settings.get("warning"):
        told.append(f"compiled, with a warning: {warning}")
    if item.placement is not None and (item.provider != "cpu" or item.placement.elsewhere(item.provider)):
        told.append(placement_line(item.placement, item.provider))
    told += item.coverage.remarks()
    if bounds_of(item).coarse or bounds_of(item).largest > _UNUSUAL:
        told.append(bounds_line(item))
    if computed := computed_line(item):
        told.append(f"computes in {computed}")
    return told + [f"fault of rnnexport in {one.name}: {one.fault}" for one in item.lowering if one.fault]


def _located(located: Located) -> Iterator[RenderableType]:
    yield _indented(said(located.sentence, "bold"))
    if located.rows:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for title in located.columns:
            table.add_column(said(title), overflow="fold")
        for row in located.rows:
            table.add_row(*map(said, row))
        yield _indented(table)


def _ends(report: Report) -> list[RenderableType]:
    """Why there is no float64 truth, or a single reading of it, each reason once."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for item in report.artifacts:
        for what, reason in (("no float64 truth", item.no_truth), ("one float64 reading alone", item.no_witness)):
            if reason:
                reasons.setdefault((what, reason), []).append(f"{short_name(item.artifact)} ({item.provider})")
    return [said(f"{what} for {', '.join(names)}: {why}", "dim") for (what, why), names in reasons.items()]


def _indented(part: RenderableType) -> RenderableType:
    return Padding(part, (0, 0, 0, 2))


def arrays_table(arrays: Mapping[str, np.ndarray]) -> RenderableType:
    """A line an array: its name, dtype and shape, the range of its numbers, and the first of them."""
    table = Table("", "dtype", "shape", "least", "largest", "first", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, array in arrays.items():
        ends, first = ("-", "-"), ", ".join(f"{one:.6g}" for one in array.ravel()[:_FIRST]) if array.size else "-"
        if array.size and array.dtype.kind in "fiu":
            ends = (f"{array.min():.6g}", f"{array.max():.6g}")
        table.add_row(said(name), str(array.dtype), str(tuple(map(int, array.shape))), *ends, said(first))
    return table


def compared_table(compared: Sequence[Comparison]) -> RenderableType:
    """A line an output, and what is wrong with it."""
    table = Table("output", "verdict", "values", "max abs error", "", box=box.SIMPLE_HEAD, pad_edge=False)
    for one in compared:
        verdict = said("equal" if one.passed else "different", _STYLE["passed" if one.passed else "mismatch"])
        count = str(one.errors.count)
        table.add_row(said(one.name), verdict, count, number(one.errors.max_abs), said(one.problem))
    return table


def inspection_tables(inspection: Inspection) -> RenderableType:
    """Facts, layers, what goes in and comes out, recurrences, operators."""
    parts: list[RenderableType] = [_pairs(dict(inspection.facts))]
    if inspection.layers:
        parts.append(_layers_table(inspection.layers))
    if inspection.weights:
        weights = Table("layer", "weights", box=box.SIMPLE_HEAD, pad_edge=False, title="weights", title_justify="left")
        for name, shapes in inspection.weights:
            weights.add_row(said(name), said(shapes))
        parts.append(weights)
    if inspection.signature is not None:
        parts.append(signature_table(inspection.signature))
    if inspection.lowering:
        parts.append(recurrences_table(inspection.lowering))
    if inspection.operators:
        ordered = sorted(inspection.operators.items(), key=lambda pair: (-pair[1], pair[0]))
        parts.append(said("operators: " + ", ".join(f"{name} {count}" for name, count in ordered)))
    return Group(*parts)


def _layers_table(layers: Sequence[LayerFacts]) -> Table:
    """A line a layer; what it gives and holds where that is known."""
    known = any(layer.parameters is not None for layer in layers)
    table = Table("class", "name", box=box.SIMPLE_HEAD, pad_edge=False, title="layers", title_justify="left")
    if known:
        table.add_column("gives", overflow="fold")
        table.add_column("parameters", justify="right", no_wrap=True)
    for layer in layers:
        shapes = ", ".join(
            f"({', '.join('?' if size is None else str(size) for size in one)})" for one in layer.outputs
        )
        count = "" if layer.parameters is None else f"{layer.parameters.count:,}"
        table.add_row(said(layer.kind), said(layer.name), *([said(shapes), said(count)] if known else []))
    return table


def signature_table(signature: Signature) -> RenderableType:
    """Inputs, outputs and states, a line each."""
    table = Table("", "name", "dtype", "shape", box=box.SIMPLE_HEAD, pad_edge=False)
    for kind, specs in (("input", signature.inputs), ("output", signature.outputs)):
        for spec in specs:
            table.add_row(kind, said(spec.name), spec.dtype, said(f"({', '.join(map(str, spec.shape))})"))
    for state in signature.states:
        shape = f"({', '.join(map(str, state.input.shape))})"
        names = said(f"{state.input.name} -> {state.output.name}")
        table.add_row("state", names, state.input.dtype, said(f"{shape}, from {start_of(state)}"))
    return table


def start_of(state: StateSpec) -> str:
    """Where a state starts: its one number, or that it has several."""
    first = state.initial.flat[0] if state.initial.size else 0
    return f"{first:g}" if bool(np.all(state.initial == first)) else "recorded values"


def _pairs(values: dict[str, str]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in values.items():
        table.add_row(said(label), said(value))
    return table


def recurrences_table(lowering: Sequence[LoweringDecision]) -> RenderableType:
    """For each recurrence what it is, the form it has and why, the forms it could have, and why not the others."""
    table = Table(box=box.SIMPLE, pad_edge=False, show_header=False, title="recurrences", title_justify="left")
    for overflow in (None, None, "fold"):
        table.add_column(overflow=overflow or "ellipsis", no_wrap=overflow is None)
    for recurrence in lowering:
        table.add_row(said(recurrence.name, "bold"), "", said(recurrence.what))
        for form, verdict, style, why in _forms(recurrence):
            table.add_row(f"  {form}", said(verdict, style), said(why))
        table.add_section()
    return table


def _forms(recurrence: LoweringDecision) -> Iterator[tuple[str, str, str, str]]:
    """A row a form: its name, the verdict with its style, the reason."""
    for form in ALL_FORMS:
        if form == recurrence.chosen:
            yield form, "chosen", _CHOSEN, recurrence.why
        elif form in recurrence.proven:
            yield form, "proven", _PROVEN, ""
        elif form in recurrence.refused:
            yield form, "refused", _REFUSED, recurrence.refused[form]
    if recurrence.fault:
        yield "", "FAULT", _FAULT, recurrence.fault
