"""How fast recurrences are that rnnexport exports, beside the same model in other runtimes, on one thread.

    python -m benchmarks.recurrences [--cell NAME ...] [--size BxTxU ...] [--peers ours,tf2onnx] [--json FILE] [--quick]

Every peer's outputs are compared with the eager model first: what is wrong has no time. Exit code 1 where ours is.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import options
from benchmarks.cells import Size
from benchmarks.host import describe_host, gemm
from benchmarks.measure import Bench
from benchmarks.peers import PEERS, PEERS_BY_NAME, Choices, Peer
from benchmarks.results import Row, aims, faults, mean_ratio, row_json
from benchmarks.subject import OPSET, WRONG_FROM, Subject
from benchmarks.tables import show
from rnnexport.core.lowering import FORM_CHOICES


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = options.parser("benchmarks.recurrences", "Time exported recurrences beside other runtimes.")
    parser.add_argument(
        "--peers", type=_peers, default=list(PEERS), metavar="A,B", help=f"of {','.join(PEERS_BY_NAME)}"
    )
    parser.add_argument("--lowering", choices=FORM_CHOICES, default="auto", help="the form of ours")
    parser.add_argument("--tflite-max-steps", type=int, default=100, metavar="T", help="unroll no longer sequence")
    return parser.parse_args(given)


def _peers(text: str) -> list[Peer]:
    names = text.split(",")
    if unknown := [name for name in names if name not in PEERS_BY_NAME]:
        raise argparse.ArgumentTypeError(f"peer {', '.join(unknown)!r}; expected some of {', '.join(PEERS_BY_NAME)}")
    return [peer for peer in PEERS if peer.name in names]


def _rows(arguments: argparse.Namespace, progress: Callable[[str], None]) -> Iterator[Row]:
    """Measure, cell by cell: the sizes of one cell and as many units share a model and its files."""
    choices = Choices(arguments.lowering, arguments.tflite_max_steps)
    bench = Bench(arguments.peers, choices, options.budget_of(arguments), gemm())
    sizes = options.sizes_of(arguments)
    for cell in options.cells_of(arguments):
        for units in options.units_of(sizes):
            with tempfile.TemporaryDirectory() as folder:
                subject = Subject(cell, units, Path(folder))
                for size in sizes:
                    if size.units == units:
                        yield bench.row(subject, size, progress)


def _means(rows: Sequence[Row], sizes: Sequence[Size], peers: Sequence[Peer]) -> dict[str, dict[str, float | None]]:
    """For each size the geometric mean of each peer's ratio."""
    return {
        str(size): {peer.name: mean_ratio(rows, size, partial(Row.ratio, peer=peer.name)) for peer in peers}
        for size in sizes
    }


def _report(rows: Sequence[Row], arguments: argparse.Namespace, host: dict[str, Any]) -> dict[str, Any]:
    """Everything that was measured, and how, as plain values."""
    settings = {
        "threads": 1,
        "opset": OPSET,
        "lowering": arguments.lowering,
        "tflite_max_steps": arguments.tflite_max_steps,
        "wrong_from": WRONG_FROM,
        "budget": asdict(options.budget_of(arguments)),
        "peers": {peer.name: peer.what for peer in arguments.peers},
    }
    return {
        "host": host,
        "settings": settings,
        "rows": [row_json(row) for row in rows],
        "geometric_means": _means(rows, options.sizes_of(arguments), arguments.peers),
        "aims": [asdict(aim) for aim in aims(rows)],
    }


def main(given: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where what rnnexport made is wrong."""
    arguments = _arguments(given)
    host = describe_host()
    with options.one_thread_run() as progress:
        rows = list(_rows(arguments, progress))
    console = options.output()
    console.print(options.headline(host), soft_wrap=True)
    show(console, rows, options.sizes_of(arguments), arguments.peers)
    return options.ended(console, arguments.json, lambda: _report(rows, arguments, host), faults(rows))


if __name__ == "__main__":
    sys.exit(main())
