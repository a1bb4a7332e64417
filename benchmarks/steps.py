"""What one step of one row costs in each target, its state carried, beside Keras and TensorFlow on the same model.

    python -m benchmarks.steps [--model NAME ...] [--json FILE] [--quick]

Every step of a short sequence is compared with the eager model first: what is wrong has no time. Exit code 1 where ours
is.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import options
from benchmarks.host import describe_host
from benchmarks.measure import prepared
from benchmarks.results import Figure, finite
from benchmarks.step_models import MODELS, MODELS_BY_NAME, StepModel, eager_steps, inputs
from benchmarks.steppers import OURS, STEPPERS, STEPPERS_BY_NAME, Files, Kind, Stepper
from benchmarks.subject import Runner
from benchmarks.timing import Budget, interleaved_medians

COMPARED = 20  # steps
_US = 1e6


@dataclass(frozen=True)
class Row:
    """One model, and what each way of stepping it gave, by name."""

    model: str
    title: str
    figures: Mapping[str, Figure]

    def ratio(self, name: str, over: str) -> float | None:
        """How many times as long as `name` a step of `over` takes; None unless both are right."""
        one, other = self.figures[name].seconds, self.figures[over].seconds
        return None if one is None or other is None else other / one


def measured(model: StepModel, folder: Path, budget: Budget, progress: Callable[[str], None]) -> Row:
    """Compare and then time every way of stepping a model, in turns in this process."""
    progress(f"{model.name}: running the eager model")
    live = model.build()
    xs = inputs(live, COMPARED)
    truth = eager_steps(live, xs)
    files = Files(model, live, folder)
    figures: dict[str, Figure] = {}
    steps: dict[str, Callable[[], Any]] = {}
    for kind in STEPPERS:
        progress(f"{model.name}: building {kind.title}")
        figures[kind.name], stepper = compared(kind, files, xs, truth)
        if stepper is not None:
            steps[kind.name] = partial(stepper.step, xs[0])
    progress(f"{model.name}: measuring {', '.join(steps)}")
    medians = interleaved_medians(steps, budget)
    timed = {name: replace(figure, seconds=medians.get(name)) for name, figure in figures.items()}
    return Row(model.name, model.title, timed)


def compared(
    kind: Kind, files: Files, xs: Sequence[np.ndarray], truth: Sequence[np.ndarray]
) -> tuple[Figure, Stepper | None]:
    """How far the steps are from the truth, and what gives them where they are right."""
    made: list[Stepper] = []

    def make() -> Runner:
        made.append(kind.make(files))
        return partial(made[0].run, xs)

    figure = prepared(make, truth).figure
    return figure, made[0] if figure.status == "ok" else None


def faults(rows: Sequence[Row]) -> list[str]:
    """Where ours is wrong or fails, which no speed makes good."""
    pairs = [(row, name, row.figures[name]) for row in rows for name in OURS]
    return [f"{row.model} in {name}: {one.why}" for row, name, one in pairs if one.status != "ok"]


def show(console: Console, rows: Sequence[Row]) -> None:
    """Print the times, and for each of ours how many times as long the peers take."""
    times = Table(title="one step of one row, us", title_justify="left")
    times.add_column("model")
    for kind in STEPPERS:
        times.add_column(kind.title, justify="right")
    for row in rows:
        times.add_row(row.title, *(_time(row.figures[kind.name]) for kind in STEPPERS))
    console.print(times)
    peers = [kind for kind in STEPPERS if kind.name not in OURS]
    for peer in peers:
        ratios = Table(title=f"{peer.title} / ours", title_justify="left")
        ratios.add_column("model")
        for name in OURS:
            ratios.add_column(STEPPERS_BY_NAME[name].title, justify="right")
        for row in rows:
            found = [row.ratio(name, peer.name) for name in OURS]
            ratios.add_row(row.title, *("-" if one is None else f"{one:.1f}" for one in found))
        console.print(ratios)
    console.print("Medians of one call with its state carried, in turns in one process. Above 1, ours is faster.")
    for kind in STEPPERS:
        console.print(f"{kind.title}: {kind.what}.", markup=False, soft_wrap=True)
    for row in rows:
        for name, one in row.figures.items():
            if one.status != "ok":
                console.print(f"{row.model}, {name} {one.status}: {one.why}", markup=False, soft_wrap=True)


def _time(figure: Figure) -> str:
    if figure.seconds is not None:
        return f"{figure.seconds * _US:,.0f}"
    return f"wrong ({figure.error:.1g})" if figure.status == "wrong" else figure.status


def _report(rows: Sequence[Row], host: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
    """Everything that was measured, and how, as plain values; times in microseconds."""
    return {
        "host": host,
        "settings": {
            "batch": 1,
            "steps_compared": COMPARED,
            "budget": asdict(budget),
            "ways": {kind.name: kind.what for kind in STEPPERS},
        },
        "rows": [
            {
                "model": row.model,
                "ways": {
                    name: {
                        "status": one.status,
                        "microseconds": None if one.seconds is None else one.seconds * _US,
                        "max_abs_error": finite(one.error),
                        "why": one.why,
                    }
                    for name, one in row.figures.items()
                },
            }
            for row in rows
        ],
    }


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.steps", description="Time one step in each target.")
    names = ", ".join(MODELS_BY_NAME)
    parser.add_argument(
        "--model", action="append", choices=list(MODELS_BY_NAME), metavar="NAME", help=f"may be repeated; of {names}"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    parser.add_argument("--quick", action="store_true", help="a tenth of the time for each model: rough figures")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where what rnnexport made is wrong."""
    arguments = _arguments(given)
    host, budget = describe_host(), options.budget_of(arguments)
    chosen = [model for model in MODELS if arguments.model is None or model.name in arguments.model]
    rows = []
    with options.one_thread_run() as progress:
        for model in chosen:
            with tempfile.TemporaryDirectory() as folder:
                rows.append(measured(model, Path(folder), budget, progress))
    console = options.output()
    console.print(options.headline(host), soft_wrap=True)
    show(console, rows)
    return options.ended(console, arguments.json, lambda: _report(rows, host, budget), faults(rows))


if __name__ == "__main__":
    sys.exit(main())
