"""Groups of subjects measured in processes of their own: one that crashes in a converter costs itself alone."""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from benchmarks.support.measure import Found, Measured
from benchmarks.support.models import Subject

_CONTEXT = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
_LIMIT = 300.0  # seconds for a subject
_EACH = 200  # subjects of a process, which grows with what it traces
Group = tuple[Subject, ...]


class _Worker:
    """A process that measures one group of subjects after the other."""

    def __init__(self, targets: Sequence[str]) -> None:
        self.ours, theirs = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=_work, args=(theirs, tuple(targets)), daemon=True)
        self.process.start()
        theirs.close()
        self.group: Group = ()
        self.left = _EACH

    def give(self, group: Group) -> None:
        self.group = group
        self.left -= len(group)
        self.ours.send(group)

    def stop(self) -> None:
        self.ours.close()
        self.process.terminate()
        self.process.join()


def measured(groups: Sequence[Group], targets: Sequence[str], jobs: int) -> Iterator[Measured]:
    """What became of each subject, as it comes. Where a group ends its process, or takes too long, each is alone."""
    waiting = list(reversed(groups))
    workers: list[_Worker] = []
    while waiting or workers:
        while waiting and len(workers) < jobs:
            workers.append(_Worker(targets))
            workers[-1].give(waiting.pop())
        limit = _LIMIT * max(len(one.group) for one in workers)
        ready = wait([one.ours for one in workers], timeout=limit)
        for one in [one for one in workers if one.ours in ready or not ready]:
            answer = _answer(one, bool(ready))
            if answer is None and len(one.group) > 1:
                waiting += [(subject,) for subject in one.group]
            else:
                yield from answer or [_lost(one.group[0], targets, bool(ready))]
            if answer is not None and one.left > 0 and waiting:
                one.give(waiting.pop())
            else:
                one.stop()
                workers.remove(one)


def _answer(worker: _Worker, ready: bool) -> list[Measured] | None:
    if not ready:
        return None
    try:
        answer: list[Measured] = worker.ours.recv()
    except EOFError:
        return None
    return answer


def _lost(subject: Subject, targets: Sequence[str], ended: bool) -> Measured:
    why = "it ended the process" if ended else f"no answer in {_LIMIT:g} s"
    return Measured(subject, "", dict.fromkeys(targets, Found("crashed", why)), 0.0)


def _work(connection: Connection[Group, Any], targets: Sequence[str]) -> None:
    from benchmarks.support.together import measured_together

    gc.collect()
    gc.freeze()  # TensorFlow's own million objects, which the TFLite converter has looked through each time
    while True:
        try:
            group = connection.recv()
        except EOFError:
            return
        connection.send(measured_together(group, targets))
