"""A runner whose artifact is in a process of its own, and the values inside such an artifact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rnnexport.artifact.layer_map import InnerValue, InnerValues
from rnnexport.core import errors
from rnnexport.core.errors import RaisedError, RnnExportError
from rnnexport.core.placement import PlacedNode, Placement
from rnnexport.isolation.limits import Limits
from rnnexport.isolation.process import Worker
from rnnexport.isolation.wire import Message
from rnnexport.targets.base import Runner, RuntimeTensor, Target

_ERRORS = ("UsageError", "ConversionError", "MismatchError", "ProviderError", "CrashError")


class IsolatedRunner:
    """See `Runner`. Whatever an artifact does to its process ends that one: CrashError."""

    def __init__(self, worker: Worker, opened: Mapping[str, Any], told: Mapping[str, Any], entry: str = "") -> None:
        self._worker, self._opened, self._entry = worker, opened, entry
        self.inputs, self.outputs = _tensors(told["inputs"]), _tensors(told["outputs"])
        self.ordered: bool = opened["ordered"]
        self.settings: Mapping[str, str] = opened["settings"]
        self.entries: tuple[str, ...] = tuple(opened["entries"])

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return _answer(self._worker, {"do": "run", "entry": self._entry}, feed)[1]

    def at(self, entry: str) -> IsolatedRunner:
        if entry not in self.entries:
            raise KeyError(entry)
        told, _ = _answer(self._worker, {"do": "at", "entry": entry})
        return IsolatedRunner(self._worker, self._opened, told, entry)

    def placement(self) -> Placement | None:
        nodes = _answer(self._worker, {"do": "placement"})[0]["nodes"]
        return None if nodes is None else Placement(tuple(PlacedNode(**node) for node in nodes))


@contextmanager
def opened(target: Target, path: Path, provider: str, tf32: bool, limits: Limits | None) -> Iterator[Runner]:
    """The artifact in its own runtime, in a process of its own; in this one where there are no limits.

    Raises:
        CrashError: it ended that process, or went over a limit.
        UsageError, ProviderError: see `Target.runner`.
    """
    if limits is None:
        with target.runner(path, provider, tf32=tf32) as runner:
            yield runner
        return
    worker = _worker(target, path, limits)
    try:
        told, _ = _answer(worker, {"do": "open", **_place(target, path, provider, tf32)})
        yield IsolatedRunner(worker, told, told)
    finally:
        worker.close()


def inner_values(
    target: Target, path: Path, feed: Mapping[str, np.ndarray], provider: str, tf32: bool, limits: Limits | None
) -> InnerValues:
    """See `Target.inner_values`; in a process of its own unless there are no limits. Raises as `opened`."""
    if limits is None:
        return target.inner_values(path, feed, provider, tf32=tf32)
    worker = _worker(target, path, limits)
    try:
        told, arrays = _answer(worker, {"do": "values", **_place(target, path, provider, tf32)}, feed)
    finally:
        worker.close()
    values = tuple(InnerValue(name, arrays[name], place) for name, place in told["places"].items())
    return InnerValues(values, tuple(told["left_out"]))


def _worker(target: Target, path: Path, limits: Limits) -> Worker:
    return Worker(f"{path.name} on {target.name}", target.runtimes, limits.memory_for(path), limits.timeout)


def _place(target: Target, path: Path, provider: str, tf32: bool) -> dict[str, Any]:
    return {
        "name": target.name,
        "path": str(path.absolute()),
        "provider": provider,
        "tf32": tf32,
        "folder": str(Path.cwd()),
    }


def _answer(worker: Worker, told: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> Message:
    answer, found = worker.ask(told, arrays)
    if answer.get("error") in _ERRORS:
        kind: type[RnnExportError] = getattr(errors, answer["error"])
        raise kind(*answer["told"])
    if "raised" in answer:
        raise RaisedError(answer["raised"])
    return answer, found


def _tensors(told: Any) -> tuple[RuntimeTensor, ...]:
    return tuple(RuntimeTensor(name, dtype, tuple(shape)) for name, dtype, shape in told)
