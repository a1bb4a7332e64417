"""How fast each form is that a recurrence can be lowered to, so that the cost model can be held to it.

    python -m benchmarks.forms [--cell NAME ...] [--size BxTxU ...] [--max-unroll T] [--json FILE] [--quick]

The forms of one row are measured in turns. A form that was not proven for a cell is left out; one that gives something
else than the eager model is called wrong, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import options
from benchmarks.cells import Size, features, what_is_run
from benchmarks.host import describe_host
from benchmarks.measure import prepared
from benchmarks.peers import NotMeasured
from benchmarks.results import Figure, finite
from benchmarks.subject import OPSET, Runner, Subject, emitted
from benchmarks.timing import Budget, interleaved_medians
from rnnexport.core.lowering import FORM_CHOICES, FORMS

AUTO, UNROLL = "auto", "unroll"


@dataclass(frozen=True)
class FormsRow:
    """One cell at one size.

    Attributes:
        cell: its name.
        title: its title.
        size: at which it was run.
        products: multiplications in matrix products of one step of one row of the batch.
        figures: by the form; `auto` is what the cost model chose, measured as a candidate of its own.
    """

    cell: str
    title: str
    size: Size
    products: int
    figures: Mapping[str, Figure]

    @property
    def best(self) -> str | None:
        """The fastest form."""
        times = {form: self.figures[form].seconds for form in FORMS}
        known = {form: seconds for form, seconds in times.items() if seconds is not None}
        return min(known, key=known.__getitem__) if known else None

    @property
    def auto_over_best(self) -> float | None:
        """What the cost model's choice costs beside the fastest form; above 1 it chose a slower one."""
        auto = self.figures[AUTO].seconds
        best = self.figures[self.best].seconds if self.best else None
        return auto / best if auto and best else None


def _row(subject: Subject, size: Size, max_unroll: int, budget: Budget, progress: Callable[[str], None]) -> FormsRow:
    truth = subject.eager(size)
    figures: dict[str, Figure] = {}
    runners: dict[str, Runner] = {}
    for form in FORM_CHOICES:
        progress(f"{subject.cell.name} {size}: building {form}")
        made = prepared(partial(_runner, subject, size, form, max_unroll), truth)
        figures[form] = made.figure
        if made.runner is not None:
            runners[form] = made.runner
            figures[form] = replace(made.figure, emitted=emitted(_file(subject, size, form)))
    progress(f"{subject.cell.name} {size}: measuring {', '.join(runners)}")
    medians = interleaved_medians(runners, budget)
    timed = {form: replace(figure, seconds=medians.get(form)) for form, figure in figures.items()}
    products = subject.cell.products(size.timesteps, features(size.units), size.units)
    return FormsRow(subject.cell.name, subject.cell.title, size, products, timed)


def _runner(subject: Subject, size: Size, form: str, max_unroll: int) -> Runner | NotMeasured:
    if form == UNROLL and size.timesteps > max_unroll:
        return NotMeasured(f"{size.timesteps} steps are above --max-unroll {max_unroll}")
    return subject.onnx_runner(_file(subject, size, form), size)


def _file(subject: Subject, size: Size, form: str) -> Path:
    """Unrolling fixes the length; the other forms share one file for all."""
    return subject.onnx_file(form, size.timesteps if form == UNROLL else None)


def _rows(arguments: argparse.Namespace, progress: Callable[[str], None]) -> Iterator[FormsRow]:
    sizes = options.sizes_of(arguments)
    for cell in options.cells_of(arguments):
        for units in options.units_of(sizes):
            with tempfile.TemporaryDirectory() as folder:
                subject = Subject(cell, units, Path(folder))
                for size in sizes:
                    if size.units == units:
                        yield _row(subject, size, arguments.max_unroll, options.budget_of(arguments), progress)


def _show(console: Console, rows: Sequence[FormsRow], sizes: Sequence[Size]) -> None:
    for size in sizes:
        table = Table(title=f"batch {size.batch}, {size.timesteps} steps, {size.units} units", title_justify="left")
        for heading in ("cell", *(f"{form}, us" for form in FORMS), "fastest", "auto, us", "emits", "auto / fastest"):
            table.add_column(heading, justify="left" if heading == "cell" else "right")
        for row in rows:
            if row.size == size:
                table.add_row(*_texts(row))
        console.print(table)
        console.print()
    for line in (
        "Medians of one call, one thread of ONNX Runtime. '-': not proven, or not built.",
        *what_is_run(sizes),
    ):
        console.print(line, markup=False, soft_wrap=True)


def _texts(row: FormsRow) -> list[str]:
    auto, ratio = row.figures[AUTO], row.auto_over_best
    forms = [_time(row.figures[form]) for form in FORMS]
    return [row.title, *forms, row.best or "-", _time(auto), auto.emitted, "-" if ratio is None else f"{ratio:.2f}"]


def _time(figure: Figure) -> str:
    if figure.seconds is not None:
        return f"{figure.seconds * 1e6:,.0f}"
    return f"wrong ({figure.error:.1g})" if figure.status == "wrong" else "-"


def _row_json(row: FormsRow) -> dict[str, Any]:
    return {
        "cell": row.cell,
        "batch": row.size.batch,
        "timesteps": row.size.timesteps,
        "units": row.size.units,
        "features": features(row.size.units),
        "products_per_step": row.products,
        "fastest": row.best,
        "auto_over_fastest": row.auto_over_best,
        "forms": {
            form: {
                "status": figure.status,
                "median_us": None if figure.seconds is None else figure.seconds * 1e6,
                "max_error": finite(figure.error),
                "emitted": figure.emitted or None,
                "why": figure.why or None,
            }
            for form, figure in row.figures.items()
        },
    }


def main(given: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where a form gives something else than the eager model."""
    parser = options.parser("benchmarks.forms", "Time each form that a recurrence can be lowered to.")
    parser.add_argument("--max-unroll", type=int, default=100, metavar="T", help="unroll no longer sequence")
    arguments = parser.parse_args(given)
    sizes, host = options.sizes_of(arguments), describe_host()
    with options.one_thread_run() as progress:
        rows = list(_rows(arguments, progress))
    _show(options.output(), rows, sizes)
    if arguments.json is not None:
        settings = {"threads": 1, "opset": OPSET, "budget": asdict(options.budget_of(arguments))}
        report = {"host": host, "settings": settings, "rows": [_row_json(row) for row in rows]}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if any(figure.status == "wrong" for row in rows for figure in row.figures.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
