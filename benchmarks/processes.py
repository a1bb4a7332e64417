"""Work on many things in processes that are replaced after some: TensorFlow keeps much of what it once made."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

T, R = TypeVar("T"), TypeVar("R")


def finished(work: Callable[[T], R], things: Sequence[T], jobs: int, each: int) -> Iterator[tuple[T, R]]:
    """Each thing and what `work` makes of it, as it is done.

    The executor's own `max_tasks_per_child` waits for ever once a process is to be replaced (CPython 3.11, gh-115634).

    Args:
        work: on one thing; it goes to another process.
        things: what to work on.
        jobs: processes at a time.
        each: how many things a process works on.
    """
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    for start in range(0, len(things), jobs * each):
        with ProcessPoolExecutor(jobs, mp_context=context) as pool:
            waiting = {pool.submit(work, thing): thing for thing in things[start : start + jobs * each]}
            for future in as_completed(waiting):
                yield waiting[future], future.result()
