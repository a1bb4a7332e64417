"""Subjects measured in processes of their own: one that crashes or hangs in a converter costs itself alone."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from benchmarks.support.measure import Found, Measured
from benchmarks.support.models import Subject

_CONTEXT = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
_LIMIT = 300.0  # seconds for a subject
_EACH = 100  # subjects of a process, which grows with what it traces


class _Worker:
    """A process that measures one subject after the other."""

    def __init__(self, targets: Sequence[str]) -> None:
        self.ours, theirs = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=_work, args=(theirs, tuple(targets)), daemon=True)
        self.process.start()
        theirs.close()
        self.subject: Subject | None = None
        self.left = _EACH

    def give(self, subject: Subject) -> None:
        self.subject = subject
        self.left -= 1
        self.ours.send(subject)

    def stop(self) -> None:
        self.ours.close()
        self.process.terminate()
        self.process.join()


def measured(subjects: Sequence[Subject], targets: Sequence[str], jobs: int) -> Iterator[Measured]:
    """What became of each, as it comes."""
    waiting = list(reversed(subjects))
    workers: list[_Worker] = []
    while waiting or workers:
        while waiting and len(workers) < jobs:
            workers.append(_Worker(targets))
            workers[-1].give(waiting.pop())
        ready = wait([one.ours for one in workers], timeout=_LIMIT)
        for one in [one for one in workers if one.ours in ready or not ready]:
            answer = _answer(one, bool(ready))
            alive = answer is not None and one.left > 0 and bool(waiting)
            assert one.subject is not None
            yield answer or _lost(one.subject, targets, bool(ready))
            if alive:
                one.give(waiting.pop())
            else:
                one.stop()
                workers.remove(one)


def _answer(worker: _Worker, ready: bool) -> Measured | None:
    if not ready:
        return None
    try:
        answer: Measured = worker.ours.recv()
    except EOFError:
        return None
    return answer


def _lost(subject: Subject, targets: Sequence[str], ended: bool) -> Measured:
    why = "it ended the process" if ended else f"no answer in {_LIMIT:g} s"
    return Measured(subject, "", dict.fromkeys(targets, Found("crashed", why)), 0.0)


def _work(connection: Connection[Subject, Any], targets: Sequence[str]) -> None:
    from benchmarks.support.measure import measure

    while True:
        try:
            subject = connection.recv()
        except EOFError:
            return
        connection.send(measure(subject, targets))
