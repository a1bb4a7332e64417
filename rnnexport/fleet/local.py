"""A fleet in processes of this machine: each is reused, gives memory back, and is replaced where it dies or grows."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from rnnexport.fleet.manifest import FleetJob
from rnnexport.fleet.outcome import DiedError, Outcome, exported, failed

_PROCESSES = get_context("spawn")
_TRIES = 2
_GROWTH = 3 << 29  # bytes that a process may keep from its models before it is replaced
_PAGE = os.sysconf("SC_PAGE_SIZE")
_Indexed = tuple[int, FleetJob]


@dataclass(eq=False)
class _FleetProcess:
    """One process, and what it works at."""

    process: Any
    channel: Connection
    job: _Indexed | None = None

    @staticmethod
    def started() -> _FleetProcess:
        ours, theirs = _PROCESSES.Pipe()
        process = _PROCESSES.Process(target=_serve, args=(theirs,), daemon=False)
        process.start()
        theirs.close()
        return _FleetProcess(process, ours)

    def give(self, job: _Indexed) -> None:
        self.job = job
        with suppress(OSError):  # it died: that is seen where its answer is waited for
            self.channel.send(job[1])

    def answer(self) -> tuple[Outcome, bool] | None:
        """The outcome, and whether the process has grown; None where it died."""
        try:
            found: tuple[Outcome, bool] = self.channel.recv()
        except (EOFError, OSError):
            return None
        return found

    def end(self) -> int | None:
        """End it; how it ended."""
        self.channel.close()
        self.process.join(timeout=0 if self.job else 5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        code: int | None = self.process.exitcode
        return code


@dataclass(eq=False)
class _Pool:
    """The jobs that wait, how often each was tried, and the processes."""

    waiting: deque[_Indexed]
    tries: dict[int, int] = field(default_factory=dict)
    workers: list[_FleetProcess] = field(default_factory=list)

    def fill(self, count: int) -> None:
        """Give every idle process a job, and start as many as there are jobs for."""
        for worker in self.workers:
            if worker.job is None and self.waiting:
                worker.give(self.waiting.popleft())
        while self.waiting and len(self.workers) < count:
            self.workers.append(_FleetProcess.started())
            self.workers[-1].give(self.waiting.popleft())

    def finish(self, worker: _FleetProcess) -> tuple[int, Outcome] | None:
        """Take the answer of a process; None where it died and its job is tried again."""
        assert worker.job is not None
        (index, job), answer = worker.job, worker.answer()
        if answer is not None:
            worker.job = None
            if answer[1]:
                self.drop(worker)
            return index, answer[0]
        self.tries[index] = self.tries.get(index, 0) + 1
        told = _told(self.drop(worker))
        if self.tries[index] < _TRIES:
            self.waiting.append((index, job))  # at the end: with fewer beside it
            return None
        error = DiedError(f"its process {told}, {_TRIES} times", "enough memory for it", "give it fewer --workers")
        return index, failed(job, error)

    def drop(self, worker: _FleetProcess) -> int | None:
        self.workers.remove(worker)
        return worker.end()


def run_locally(jobs: Sequence[FleetJob], workers: int) -> Iterator[tuple[int, Outcome]]:
    """Export all models, as many at a time as there are workers; each outcome with its place, as it comes.

    A model whose process dies is tried once more, in another.
    """
    pool = _Pool(deque(enumerate(jobs)))
    try:
        pool.fill(workers)
        while busy := {worker.channel: worker for worker in pool.workers if worker.job is not None}:
            for channel in wait(list(busy)):
                outcome = pool.finish(busy[channel])  # type: ignore[index]
                if outcome is not None:
                    yield outcome
            pool.fill(workers)
    finally:
        for worker in pool.workers:
            worker.end()


def _serve(channel: Connection) -> None:
    """Be a worker, until nobody asks any longer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal interrupts the one that asks
    least = 0
    with suppress(EOFError, OSError):
        while True:
            outcome = exported(channel.recv())
            held = _held()
            least = least or held  # the first one loads TensorFlow
            channel.send((outcome, held - least > _GROWTH))


def _held() -> int:
    """The bytes of this process after all that can be given back was."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    except OSError:  # no Linux
        return 0


def _told(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with {code}"
