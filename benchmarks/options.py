"""What the scripts that measure have in common on the command line."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.cells import CELLS, CELLS_BY_NAME, SIZES, Cell, Size
from benchmarks.host import one_tensorflow_thread
from benchmarks.timing import Budget
from rnnexport.cli.progress import ProgressLine
from rnnexport.cli.session import captured_stderr
from rnnexport.core.errors import UsageError

QUICK = Budget(seconds=0.2, turn_seconds=0.003, rounds=3)
_PIPE_WIDTH = 150


def parser(module: str, description: str) -> argparse.ArgumentParser:
    """A parser with the options that choose rows and the time spent on each."""
    made = argparse.ArgumentParser(f"python -m {module}", description=description)
    made.add_argument("--cell", action="append", choices=list(CELLS_BY_NAME), metavar="NAME", help=_help())
    made.add_argument("--size", action="append", type=_size, metavar="BxTxU", help="may be repeated; such as 32x100x64")
    made.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    made.add_argument("--quick", action="store_true", help="a tenth of the time for each row: rough figures")
    return made


def cells_of(arguments: argparse.Namespace) -> list[Cell]:
    """The chosen cells; all by default."""
    return [CELLS_BY_NAME[name] for name in dict.fromkeys(arguments.cell or [cell.name for cell in CELLS])]


def sizes_of(arguments: argparse.Namespace) -> list[Size]:
    """The chosen sizes; those of the aims by default."""
    return list(dict.fromkeys(arguments.size or SIZES))


def budget_of(arguments: argparse.Namespace) -> Budget:
    """The time for one row."""
    return QUICK if arguments.quick else Budget()


def units_of(sizes: Sequence[Size]) -> list[int]:
    """The numbers of units, each of which needs a model of its own."""
    return list(dict.fromkeys(size.units for size in sizes))


@contextmanager
def one_thread_run() -> Iterator[Callable[[str], None]]:
    """TensorFlow quiet and on one thread; gives a function that shows progress on stderr."""
    with captured_stderr(show=False) as stderr:
        console = Console(file=stderr, highlight=False)
        line = ProgressLine(console)
        one_tensorflow_thread()
        try:
            yield line
        finally:
            line.stop()


def output() -> Console:
    """Where results go; a pipe has no width, and a table must not be folded to a guess of one."""
    terminal = Console(highlight=False)
    return terminal if terminal.is_terminal else Console(width=_PIPE_WIDTH, highlight=False)


def headline(host: Mapping[str, Any]) -> str:
    """What the figures below it were taken on."""
    versions = ", ".join(f"{name} {version}" for name, version in host["versions"].items())
    return f"{host['cpu']}, {host['cpus']} cores, load {host['load']:.1f} at the start; {versions}\n"


def ended(console: Console, file: Path | None, report: Callable[[], Any], faults: Sequence[str]) -> int:
    """Write the report to `file`, where one is wanted, tell the faults of ours, and give the exit code."""
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(report(), indent=2) + "\n")
    for fault in faults:
        console.print(f"FAULT of ours, {fault}", markup=False, soft_wrap=True)
    return 1 if faults else 0


def _size(text: str) -> Size:
    try:
        return Size.parse(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _help() -> str:
    return f"may be repeated; one of {', '.join(CELLS_BY_NAME)}"
