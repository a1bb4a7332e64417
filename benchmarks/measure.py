"""One row: make the call of each peer, compare what it gives with the eager model, time those that are right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from benchmarks.cells import Size
from benchmarks.host import GEMM_OPERATIONS
from benchmarks.peers import Choices, NotMeasured, Peer
from benchmarks.results import Figure, Row
from benchmarks.subject import WRONG_FROM, Runner, Subject, emitted, largest_error
from benchmarks.timing import Budget, interleaved_medians
from rnnexport.core.errors import ConversionError, ForeignCode, RnnExportError, reason

GEMM = "gemm"


@dataclass(frozen=True, eq=False)
class Bench:
    """What all rows have in common.

    Attributes:
        peers: who is measured.
        choices: what the command line says about them.
        budget: how long.
        gemm: a call of the product that the floor is computed from.
    """

    peers: Sequence[Peer]
    choices: Choices
    budget: Budget
    gemm: Runner

    def row(self, subject: Subject, size: Size, progress: Callable[[str], None]) -> Row:
        """Measure one cell at one size."""
        where = f"{subject.cell.name} {size}"
        progress(f"{where}: running the eager model")
        truth = subject.eager(size)
        runners: dict[str, Runner] = {}
        figures: dict[str, Figure] = {}
        for peer in self.peers:
            progress(f"{where}: building {peer.name}")
            made = prepared(partial(peer.runner, subject, size, self.choices), truth)
            figures[peer.name] = replace(made.figure, emitted=self._emitted(peer, subject, made.figure))
            if made.runner is not None:
                runners[peer.name] = made.runner
        progress(f"{where}: measuring {', '.join(runners)}")
        medians = interleaved_medians({**runners, GEMM: self.gemm}, self.budget)
        rate = GEMM_OPERATIONS / medians[GEMM]
        timed = {name: replace(figure, seconds=medians.get(name)) for name, figure in figures.items()}
        floor = subject.cell.operations(size) / rate
        return Row(subject.cell.name, subject.cell.title, size, timed, floor, rate)

    def _emitted(self, peer: Peer, subject: Subject, figure: Figure) -> str:
        if peer.file is None or figure.status not in ("ok", "wrong"):
            return ""
        return emitted(peer.file(subject, self.choices))


@dataclass(frozen=True, eq=False)
class Prepared:
    """A call that gives what the eager model gives, or None, and what is known about it before it is timed."""

    figure: Figure
    runner: Runner | None = None


def prepared(make: Callable[[], Runner | NotMeasured], truth: Sequence[np.ndarray]) -> Prepared:
    """Make a call and judge what it gives. A peer may raise anything."""
    try:
        with ForeignCode(_failure):
            runner = make()
            if isinstance(runner, NotMeasured):
                return Prepared(Figure("skipped", why=runner.why))
            error = largest_error(runner(), truth)
    except RnnExportError as failure:
        return Prepared(Figure("failed", why=str(failure)))
    if error > WRONG_FROM:
        return Prepared(Figure("wrong", error=error, why=f"differs from the eager model by {error:.2g}"))
    return Prepared(Figure("ok", error=error), runner)


def _failure(error: BaseException) -> RnnExportError:
    return ConversionError(reason(error), "an artifact that runs", "see the peer's own issues")


def notes(rows: Sequence[Row]) -> Mapping[str, list[str]]:
    """Each reason why there is no time, with the peers and rows that it is said of."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for name, figure in row.figures.items():
            if figure.status != "ok":
                found.setdefault(f"{name} {figure.status}: {figure.why}", []).append(f"{row.cell} {row.size}")
    return found
