"""How fast the NumPy programs of the samples are, beside Keras, TensorFlow and ONNX Runtime on the same model.

    python -m benchmarks.programs [--sample NAME ...] [--json FILE] [--quick]

Every output of two calls is compared with the eager model first: what is wrong has no time. Exit code 1 where ours is.
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
from benchmarks.callers import AIM, KINDS, OURS, Arrays, Caller, Exported, Kind
from benchmarks.cells import Size, feed
from benchmarks.host import describe_host, one_blas_thread
from benchmarks.measure import prepared
from benchmarks.results import Aim, Figure, finite
from benchmarks.subject import Runner
from benchmarks.timing import Budget, geometric_mean, interleaved_medians
from samples.catalog import SAMPLES, SAMPLES_BY_NAME

BATCHES = (1, 32)
TIMESTEPS = 100  # where the length is open
CALLS = 2  # compared; the second goes on from the first where there are states
_SEED = 2
_US = 1e6


@dataclass(frozen=True)
class Row:
    """One sample at one batch, and what each way of calling it gave, by name.

    Attributes:
        sample: its name.
        batch: rows of a call.
        timesteps: of a call; None where the model has no time.
        figures: by the name of the way.
    """

    sample: str
    batch: int
    timesteps: int | None
    figures: Mapping[str, Figure]

    def ratio(self, peer: str) -> float | None:
        """How many times as long as the program a call of the peer takes; None unless both are right."""
        ours, theirs = self.figures[OURS].seconds, self.figures[peer].seconds
        return None if ours is None or theirs is None else theirs / ours


def measured(exported: Exported, batch: int, timesteps: int, budget: Budget, progress: Callable[[str], None]) -> Row:
    """Compare and then time every way of calling a model, in turns in this process."""
    where = f"{exported.name} at batch {batch}"
    progress(f"{where}: running the eager model")
    feeds = [feed(exported.model, Size(batch, timesteps, 0), _SEED + at) for at in range(CALLS)]
    truth = exported.eager(feeds)
    figures: dict[str, Figure] = {}
    calls: dict[str, Callable[[], Any]] = {}
    for kind in KINDS:
        progress(f"{where}: building {kind.title}")
        figures[kind.name], caller = compared(kind, exported, feeds, truth)
        if caller is not None:
            calls[kind.name] = partial(caller.call, feeds[0])
    progress(f"{where}: measuring {', '.join(calls)}")
    medians = interleaved_medians(calls, budget)
    timed = {name: replace(figure, seconds=medians.get(name)) for name, figure in figures.items()}
    return Row(exported.name, batch, length(exported.model, timesteps), timed)


def compared(
    kind: Kind, exported: Exported, feeds: Sequence[Arrays], truth: Sequence[np.ndarray]
) -> tuple[Figure, Caller | None]:
    """How far the outputs are from the truth, and what gives them where they are right."""
    made: list[Caller] = []

    def make() -> Runner:
        made.append(kind.make(exported))
        return partial(made[0].run, feeds)

    figure = prepared(make, truth).figure
    return figure, made[0] if figure.status == "ok" else None


def length(model: Any, timesteps: int) -> int | None:
    """The timesteps of a call: those of the model, `timesteps` where they are open, None where it has no time."""
    sequences = [tensor.shape[1] for tensor in model.inputs if len(tensor.shape) > 2]
    return (sequences[0] or timesteps) if sequences else None


def takes(model: Any, batch: int) -> bool:
    """Whether the model can be called with so many rows."""
    return model.inputs[0].shape[0] in (None, batch)


def aim(rows: Sequence[Row]) -> Aim:
    """The aim of the project for programs, against what was measured."""
    what = f"faster than keras.Model.predict at batch 1 for all {len(SAMPLES)} samples"
    ones = [(row.sample, row.ratio(AIM)) for row in rows if row.batch == 1]
    found = sorted((ratio, name) for name, ratio in ones if ratio is not None)
    if len(found) < len(SAMPLES):
        return Aim(what, f"not measured for {len(SAMPLES) - len(found)}", None)
    return Aim(what, f"lowest {found[0][0]:.2f}x, {found[0][1]}", found[0][0] > 1)


def faults(rows: Sequence[Row]) -> list[str]:
    """Where ours is wrong or fails, which no speed makes good."""
    pairs = [(row, name, row.figures[name]) for row in rows for name in (OURS, "onnx")]
    return [f"{row.sample} at batch {row.batch}, {name}: {one.why}" for row, name, one in pairs if one.status != "ok"]


def show(console: Console, rows: Sequence[Row]) -> None:
    """Print a table for each batch, what the columns are, and whether the aim is met."""
    for batch in dict.fromkeys(row.batch for row in rows):
        console.print(_table([row for row in rows if row.batch == batch], batch))
        console.print()
    console.print("Medians of one call, in turns in one process, on one thread. Above 1, the program is faster.")
    console.print("Error: the largest difference of any output of two calls to the eager model; states are carried.")
    for kind in KINDS:
        console.print(f"{kind.title}: {kind.what}.", markup=False, soft_wrap=True)
    for row in rows:
        for name, one in row.figures.items():
            if one.status != "ok":
                line = f"{row.sample} at batch {row.batch}, {name} {one.status}: {one.why}"
                console.print(line, markup=False, soft_wrap=True)
    told = aim(rows)
    verdict = {True: "met", False: "NOT met", None: "not measured"}[told.met]
    console.print(f"\n{verdict:12}  {told.what}: {told.found}", markup=False, soft_wrap=True)


def _table(rows: Sequence[Row], batch: int) -> Table:
    peers = [kind for kind in KINDS if kind.name != OURS]
    table = Table(title=f"batch {batch}: the program, and how many times as long others take", title_justify="left")
    table.add_column("sample", no_wrap=True)
    for heading in ("steps", "program, us", "error", *(peer.title for peer in peers)):
        table.add_column(heading, justify="right")
    for row in rows:
        ours = row.figures[OURS]
        steps = "-" if row.timesteps is None else str(row.timesteps)
        error = "-" if ours.error is None else f"{ours.error:.1e}"
        table.add_row(row.sample, steps, _time(ours), error, *(_ratio(row, peer.name) for peer in peers))
    ratios = [[ratio for row in rows if (ratio := row.ratio(peer.name)) is not None] for peer in peers]
    table.add_section()
    table.add_row("geometric mean", "", "", "", *(_times(geometric_mean(each)) for each in ratios))
    return table


def _ratio(row: Row, peer: str) -> str:
    figure = row.figures[peer]
    return _time(figure) if figure.seconds is None else _times(row.ratio(peer))


def _times(ratio: float | None) -> str:
    if ratio is None:
        return "-"
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2f}"


def _time(figure: Figure) -> str:
    if figure.seconds is not None:
        return f"{figure.seconds * _US:,.0f}"
    return f"wrong ({figure.error:.1g})" if figure.status == "wrong" else figure.status


def _report(rows: Sequence[Row], host: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
    """Everything that was measured, and how, as plain values; times in microseconds."""
    return {
        "host": host,
        "settings": {
            "threads": 1,
            "calls_compared": CALLS,
            "budget": asdict(budget),
            "ways": {kind.name: kind.what for kind in KINDS},
        },
        "rows": [
            {
                "sample": row.sample,
                "batch": row.batch,
                "timesteps": row.timesteps,
                "ways": {
                    name: {
                        "status": one.status,
                        "microseconds": None if one.seconds is None else one.seconds * _US,
                        "ratio": row.ratio(name),
                        "max_abs_error": finite(one.error),
                        "why": one.why,
                    }
                    for name, one in row.figures.items()
                },
            }
            for row in rows
        ],
        "aim": asdict(aim(rows)),
    }


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.programs", description="Time the programs of the samples.")
    names = ", ".join(SAMPLES_BY_NAME)
    parser.add_argument(
        "--sample", action="append", choices=list(SAMPLES_BY_NAME), metavar="NAME", help=f"may be repeated; of {names}"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    parser.add_argument("--quick", action="store_true", help="a tenth of the time for each sample: rough figures")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where what rnnexport made is wrong."""
    arguments = _arguments(given)
    host, budget = describe_host(), options.budget_of(arguments)
    chosen = [sample for sample in SAMPLES if arguments.sample is None or sample.name in arguments.sample]
    rows = []
    with options.one_thread_run() as progress:
        for sample in chosen:
            with tempfile.TemporaryDirectory() as folder:
                exported = Exported(sample.name, sample.build(), Path(folder))
                fitting = [batch for batch in BATCHES if takes(exported.model, batch)]
                rows += [measured(exported, batch, TIMESTEPS, budget, progress) for batch in fitting]
    console = options.output()
    console.print(options.headline(host), soft_wrap=True)
    show(console, rows)
    return options.ended(console, arguments.json, lambda: _report(rows, host, budget), faults(rows))


if __name__ == "__main__":
    one_blas_thread()
    sys.exit(main())
