"""Calls of compiled programs that are timed where they run: what Python needs to call them is none of their time."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Any

import numpy as np

_MAIN = """
#include <time.h>
{head}
#ifdef __cplusplus
extern "C"
#endif
double timed(size_t count, size_t T, const float *x, float *y, void *work, size_t work_size);
double timed(size_t count, size_t T, const float *x, float *y, void *work, size_t work_size) {{
    struct timespec start, end;
    (void)T; (void)work; (void)work_size;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (size_t call = 0; call < count; call++) {{
        {call};
    }}
    clock_gettime(CLOCK_MONOTONIC, &end);
    return (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
}}
"""


@dataclass(frozen=True, eq=False)
class Call:
    """One way to run a model.

    Attributes:
        run: its outputs.
        seconds: what so many calls take.
    """

    run: Callable[[], Sequence[Any]]
    seconds: Callable[[int], float]


def of_python(run: Callable[[], Sequence[Any]], once: Callable[[], Any] | None = None) -> Call:
    """A call that Python makes; `once` is what is timed of it, where that is less."""
    timed = run if once is None else once

    def seconds(count: int) -> float:
        start = perf_counter_ns()
        for _ in range(count):
            timed()
        return (perf_counter_ns() - start) * 1e-9

    return Call(run, seconds)


def of_program(
    sources: Sequence[Path],
    command: Sequence[str],
    head: str,
    call: str,
    x: np.ndarray,
    shape: Sequence[int],
    work_size: int = 0,
    language: str = "c",
) -> Call:
    """A function of C or C++, compiled with a loop around it.

    Args:
        sources: what is compiled, the first one names the library.
        command: the compiler and its flags.
        head: what declares the function.
        call: calls it with x, T, y, work and work_size.
        x: the input, (1, T, F).
        shape: of the output.
        work_size: bytes of `work`.
        language: of the loop.

    Raises:
        CalledProcessError: the compiler fails.
    """
    tag = abs(hash((tuple(command), x.shape)))
    main = sources[0].with_name(f"{sources[0].stem}_{tag}_timed.{language}")
    main.write_text(_MAIN.format(head=head, call=call))
    library = main.with_suffix(".so")
    files = [str(main), *map(str, sources)]
    subprocess.run(
        [*command, "-shared", "-fPIC", *files, "-o", str(library), "-lm"], check=True, capture_output=True, text=True
    )
    timed = ctypes.CDLL(str(library)).timed
    timed.restype = ctypes.c_double
    x, y = np.ascontiguousarray(x), np.zeros([*shape], "float32")
    work = np.zeros(work_size + 1, "uint8")
    arrays = (x, y, work)

    def seconds(count: int) -> float:
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in arrays]
        given = (ctypes.c_size_t(x.shape[1]), *pointers, ctypes.c_size_t(work_size))
        return float(timed(ctypes.c_size_t(count), *given))

    def run() -> list[np.ndarray]:
        seconds(1)
        return [y]

    return Call(run, seconds)


def medians(calls: dict[str, Call], seconds: float, turn: float = 0.004) -> dict[str, float]:
    """The median seconds of one call of each, measured in turns of about `turn` seconds."""
    counts = {name: max(1, int(turn / max(call.seconds(2) / 2, 1e-8))) for name, call in calls.items()}
    found: dict[str, list[float]] = {name: [] for name in calls}
    end = perf_counter_ns() + int(seconds * 1e9)
    while min(map(len, found.values()), default=9) < 9 or perf_counter_ns() < end:
        for name, call in calls.items():
            call.seconds(1)
            found[name].append(call.seconds(counts[name]) / counts[name])
    return {name: median(times) for name, times in found.items()}
