"""The results of the benchmark as text: one table a size, geometric means, notes, aims."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from rich.console import Console
from rich.table import Table

from benchmarks.cells import Size, what_is_run
from benchmarks.measure import notes
from benchmarks.peers import OURS, TORCH_MISSING, Peer
from benchmarks.results import Figure, Row, aims, mean_ratio

_NAMED_ROWS = 4


def show(console: Console, rows: Sequence[Row], sizes: Sequence[Size], peers: Sequence[Peer]) -> None:
    """Print everything, tables first."""
    for size in sizes:
        console.print(_table([row for row in rows if row.size == size], size, peers))
        console.print()
    for line in (*_legend(sizes, peers), *_notes(rows)):
        console.print(line, markup=False, soft_wrap=True)
    console.print()
    for aim in aims(rows):
        verdict = {True: "met", False: "NOT met", None: "not measured"}[aim.met]
        console.print(f"{verdict:12}  {aim.what}: {aim.found}", markup=False, soft_wrap=True)


def _table(rows: Sequence[Row], size: Size, peers: Sequence[Peer]) -> Table:
    others = [peer for peer in peers if peer.name != OURS]
    table = Table(title=f"batch {size.batch}, {size.timesteps} steps, {size.units} units", title_justify="left")
    table.add_column("cell")
    for heading in ("emitted", "ours, us", *(f"{peer.title} / ours" for peer in others), "ours / GEMM floor"):
        table.add_column(heading, justify="right")
    for row in rows:
        ours = row.figures.get(OURS)
        ratios = [_ratio(row, peer.name) for peer in others]
        table.add_row(row.title, ours.emitted if ours else "-", _time(ours), *ratios, _times(row.over_floor))
    means = [_times(mean_ratio(rows, size, partial(Row.ratio, peer=peer.name))) for peer in others]
    table.add_section()
    table.add_row("geometric mean", "", "", *means, _times(mean_ratio(rows, size, lambda row: row.over_floor)))
    return table


def _time(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    return _verdict(figure) if figure.seconds is None else f"{figure.seconds * 1e6:,.0f}"


def _ratio(row: Row, peer: str) -> str:
    figure = row.figures.get(peer)
    if figure is None:
        return "-"
    return _verdict(figure) if figure.seconds is None else _times(row.ratio(peer))


def _verdict(figure: Figure) -> str:
    """What stands in the place of a time."""
    if figure.status == "wrong":
        return f"wrong ({figure.error:.1g})"
    return "failed" if figure.status == "failed" else "-"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


def _legend(sizes: Sequence[Size], peers: Sequence[Peer]) -> Iterator[str]:
    yield "Medians of one call, measured in turns in one process. Above 1, ours is faster. 'wrong': its largest error."
    yield "GEMM floor: the operations of the matrix products at the rate of a float32 product of 1024 x 1024 matrices."
    yield from what_is_run(sizes)
    yield from (f"{peer.title}: {peer.what}." for peer in peers)


def _notes(rows: Sequence[Row]) -> Iterator[str]:
    for note, where in notes(rows).items():
        # That a layer does not exist in PyTorch is plain from the table; that PyTorch is missing is said once.
        if note.startswith("torch skipped"):
            if TORCH_MISSING in note:
                yield f"torch.nn: {TORCH_MISSING}"
            continue
        more = f" and {len(where) - _NAMED_ROWS} more" if len(where) > _NAMED_ROWS else ""
        yield f"{note} ({', '.join(where[:_NAMED_ROWS])}{more})"
