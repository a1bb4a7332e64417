"""How fast C programs are at batch 1, beside other runtimes and other tools that write C: the tables of docs/c.md.

    python -m benchmarks.c [--cell NAME ...] [--size TxU ...] [--json FILE] [--keep FOLDER] [--quick]

Every candidate's outputs are compared with the eager model first: what is wrong has no time. Exit code 1 where ours is.
keras2c is not among them: neither its wheel nor its sdist on PyPI holds the C sources that its output includes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import keras

from benchmarks import options
from benchmarks.c.candidates import CANDIDATES, Candidate, NotMeasured, gemv
from benchmarks.c.timed import Call, medians
from benchmarks.cells import CELLS_BY_NAME, Cell, Size
from benchmarks.host import describe_host
from benchmarks.results import Figure
from benchmarks.subject import WRONG_FROM, Subject, largest_error
from benchmarks.timing import geometric_mean
from rnnexport.core.errors import ConversionError, ForeignCode, RnnExportError, reason

SIZES = ((1, 64), (100, 20), (100, 32), (100, 64), (100, 256))
OURS, RUNTIMES = ("plain", "native"), ("onnx", "tflite", "tf2onnx")
_SECONDS, _QUICK = 1.5, 0.2


def _stack(features: int, units: int) -> Any:
    x_BTF = y = keras.Input((None, 4), name="x")
    for index in range(3):
        y = keras.layers.GRU(
            units, return_sequences=True, reset_after=False, recurrent_activation="hard_sigmoid", name=f"gru_{index}"
        )(y)
    return keras.Model(x_BTF, keras.layers.Dense(2, activation="softmax", name="output")(y), name="bench")


STACK = Cell("stack", "3 GRU and a Dense", _stack, lambda T, F, U: 3 * (4 * U + 5 * U * U) + 2 * U)
CELLS = (
    *(CELLS_BY_NAME[name] for name in ("simple_rnn", "lstm", "gru", "gru_reset_before", "s_lstm", "cgru")),
    *(CELLS_BY_NAME[name] for name in ("layer_norm_lstm", "attention_decoder", "conv3d_gru")),
    STACK,
)


@dataclass(frozen=True)
class Row:
    """One cell at one size: a figure of each candidate, and the seconds that its products take at the rate of GEMV."""

    cell: Cell
    size: Size
    figures: Mapping[str, Figure]
    floor: float

    def seconds(self, name: str) -> float | None:
        """The median of one call; None unless it is right."""
        return self.figures[name].seconds

    def ratio(self, name: str, over: str = "plain") -> float | None:
        """How many times as long as ours a candidate takes."""
        one, other = self.seconds(over), self.seconds(name)
        return None if one is None or other is None else other / one

    @property
    def best(self) -> float | None:
        """The same of the faster one of ONNX Runtime and TFLite on files of ours."""
        found = [ratio for name in ("onnx", "tflite") if (ratio := self.ratio(name)) is not None]
        return min(found, default=None)


def measured(subject: Subject, size: Size, seconds: float, progress: Callable[[str], None]) -> Row:
    """Compare and then time every candidate, in turns in this process."""
    where = f"{subject.cell.name} {size}"
    figures: dict[str, Figure] = {}
    calls: dict[str, Call] = {}
    for each in CANDIDATES:
        progress(f"{where}: building {each.title}")
        figures[each.name], call = prepared(each, subject, size)
        if call is not None:
            calls[each.name] = call
    floor, products = gemv(subject.folder, size.units)
    progress(f"{where}: measuring {', '.join(calls)}")
    found = medians({**calls, "gemv": floor}, seconds)
    timed = {name: Figure(one.status, found.get(name), one.error, one.why) for name, one in figures.items()}
    return Row(subject.cell, size, timed, subject.cell.operations(size) / 2 * found["gemv"] / products)


def prepared(candidate: Candidate, subject: Subject, size: Size) -> tuple[Figure, Call | None]:
    """Make a call and judge what it gives. A candidate may raise anything."""
    try:
        with ForeignCode(_failure):
            call = candidate.make(subject, size)
            if isinstance(call, NotMeasured):
                return Figure("skipped", why=call.why), None
            error = largest_error(call.run(), subject.eager(size))
    except CalledProcessError as failure:
        return Figure("failed", why=str(failure.stderr).strip().partition("\n")[0]), None
    except RnnExportError as failure:
        return Figure("failed", why=str(failure)), None
    if error > WRONG_FROM:
        return Figure("wrong", error=error, why=f"differs from the eager model by {error:.2g}"), None
    return Figure("ok", error=error), call


def _failure(error: BaseException) -> BaseException:
    if isinstance(error, CalledProcessError):
        return error
    return ConversionError(reason(error), "a program that runs", "see the peer's own issues")


def table(rows: Sequence[Row], size: Size) -> Iterator[str]:
    """The rows of a size, in Markdown."""
    others = [each for each in CANDIDATES if each.name not in OURS]
    heads = ["ours `-O2`, us", "ours native, us", *(f"{each.title} / ours" for each in others), "ours native / GEMV"]
    yield f"T={size.timesteps}, U={size.units}"
    yield ""
    yield f"| cell | {' | '.join(heads)} |"
    yield f"| --- |{' ---: |' * len(heads)}"
    found = [row for row in rows if row.size == size]
    for row in found:
        times = [_cell(row, name, "time") for name in OURS]
        ratios = [_cell(row, each.name, "ratio") for each in others]
        native = row.seconds("native")
        yield f"| {row.cell.title} | {' | '.join([*times, *ratios, _times(native and native / row.floor)])} |"
    means = [_times(_mean(row.ratio(each.name) for row in found)) for each in others]
    yield f"| geometric mean |  |  | {' | '.join(means)} |  |"
    if size.timesteps == 1:
        yield ""
        yield "A step of a stream, its states carried; of the attention decoder, which has none, a sequence of one."
    yield ""


def _mean(ratios: Any) -> float | None:
    return geometric_mean(ratio for ratio in ratios if ratio is not None)


def _cell(row: Row, name: str, kind: str) -> str:
    one = row.figures[name]
    if one.seconds is None:
        return "wrong" if one.status == "wrong" else "-"
    return f"{one.seconds * 1e6:,.2f}" if kind == "time" else _times(row.ratio(name))


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1f}"


def aims(rows: Sequence[Row]) -> Iterator[str]:
    """The aims of the project, against what was measured."""
    slower = [
        f"{row.cell.name} {row.size} {name} {ratio:.2f}"
        for row in rows
        for name in (*RUNTIMES, "emx")
        if (ratio := row.ratio(name)) is not None and ratio < 1
    ]
    yield f"faster than every other runtime in every row: {', '.join(slower) or 'yes'}"
    for (steps, units), least in (((1, 64), 5.0), ((100, 32), 2.5)):
        mean = _mean(row.best for row in rows if row.size == Size(1, steps, units))
        if mean is not None:
            what = f"geometric mean over the best of ONNX Runtime and TFLite at T={steps}, U={units}"
            yield f"{what}: {mean:.1f} (aim {least})"
    yield from _worst(rows, "plain -O2 over native (aim 1.5)", lambda row: row.ratio("plain", "native"))
    wide = [row for row in rows if row.size.units == 256]
    yield from _worst(wide, "native over GEMV at U=256 (aim 1.5)", lambda row: (row.seconds("native") or 0) / row.floor)
    narrow = [row for row in rows if row.size.units in (20, 32)]
    yield from _worst(narrow, "native over the static Eigen build (aim 1)", lambda row: row.ratio("native", "eigen"))


def _worst(rows: Sequence[Row], what: str, value: Callable[[Row], float | None]) -> Iterator[str]:
    found = sorted(((ratio, f"{row.cell.name} {row.size}") for row in rows if (ratio := value(row))), reverse=True)
    if found:
        yield f"{what}: at most {found[0][0]:.2f}; {', '.join(f'{where} {ratio:.2f}' for ratio, where in found[:4])}"


def faults(rows: Sequence[Row]) -> list[str]:
    """Where ours is wrong or fails, which no speed makes good."""
    pairs = [(row, name, row.figures[name]) for row in rows for name in OURS]
    return [f"{row.cell.name} {row.size}, {name}: {one.why}" for row, name, one in pairs if one.status != "ok"]


def _report(rows: Sequence[Row], host: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that was measured, and how, as plain values; times in microseconds."""
    return {
        "host": host,
        "candidates": {each.name: each.what for each in CANDIDATES},
        "rows": [
            {
                "cell": row.cell.name,
                "timesteps": row.size.timesteps,
                "units": row.size.units,
                "gemv_floor_us": row.floor * 1e6,
                "figures": {
                    name: {"status": one.status, "us": one.seconds and one.seconds * 1e6, "why": one.why}
                    for name, one in row.figures.items()
                },
            }
            for row in rows
        ],
        "aims": list(aims(rows)),
    }


def _rows(arguments: argparse.Namespace, progress: Callable[[str], None]) -> Iterator[Row]:
    names = arguments.cell or [cell.name for cell in CELLS]
    sizes = [Size(1, *size) for size in arguments.size or SIZES]
    seconds = _QUICK if arguments.quick else _SECONDS
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    for cell in (cell for cell in CELLS if cell.name in names):
        for units in options.units_of(sizes):
            if cell.name == "conv3d_gru" and units % 8:
                continue  # its state is a grid
            with nullcontext(arguments.keep) if arguments.keep else tempfile.TemporaryDirectory() as folder:
                keras.backend.clear_session()
                subject = Subject(cell, units, Path(folder))
                for size in sizes:
                    if size.units == units:
                        yield measured(subject, size, seconds, progress)


def _size(text: str) -> tuple[int, int]:
    steps, _, units = text.partition("x")
    return int(steps), int(units)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks.c", description="Time C programs beside other runtimes.")
    names = [cell.name for cell in CELLS]
    parser.add_argument("--cell", action="append", choices=names, metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--size", action="append", type=_size, metavar="TxU", help="may be repeated, such as 100x32")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="put artifacts there, and take those that are")
    parser.add_argument("--quick", action="store_true", help="rough figures")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where what rnnexport made is wrong."""
    arguments = _arguments(given)
    host, rows = describe_host(), []
    with options.one_thread_run() as progress:
        rows = list(_rows(arguments, progress))
    console = options.output()
    console.print(options.headline(host), soft_wrap=True)
    for size in dict.fromkeys(row.size for row in rows):
        for line in table(rows, size):
            console.print(line, markup=False, soft_wrap=True)
    for each in CANDIDATES:
        console.print(f"{each.title}: {each.what}.", markup=False, soft_wrap=True)
    why = dict.fromkeys(f"{n}: {f.why}" for row in rows for n, f in row.figures.items() if f.status != "ok")
    for line in (*why, *aims(rows)):
        console.print(line, markup=False, soft_wrap=True)
    return options.ended(console, arguments.json, lambda: _report(rows, host), faults(rows))


if __name__ == "__main__":
    sys.exit(main())
