"""A fleet on Ray: a task a unit, lost workers retried, on a cluster or on one that is started here for the call.

Every node needs rnnexport, and the paths of models, artifacts and data have to mean the same there: shared storage.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from rnnexport.core.errors import ForeignCode, ProviderError, RnnExportError, UsageError, reason
from rnnexport.fleet.manifest import FleetJob
from rnnexport.fleet.outcome import DiedError, Outcome, exported, failed

Unit = TypeVar("Unit")
_RETRIES = 3
_CALLS = 50  # units until a worker process is replaced: libraries keep some memory of each


@contextmanager
def cluster(address: str) -> Iterator[Any]:
    """Ray, connected to the cluster at `address`; to one that is started on this machine for an empty one.

    Raises:
        ProviderError: Ray is not installed.
        UsageError: the address does not answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise ProviderError("ray is not installed", "it, for --on ray", "pip install 'rnnexport[ray]'") from None
    ours = not ray.is_initialized()
    if ours:
        options = {"address": address} if address else {"include_dashboard": False}
        with ForeignCode(partial(_no_cluster, address)):
            ray.init(log_to_driver=False, configure_logging=False, **options)
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()


def as_they_come(ray: Any, units: Mapping[Any, Unit]) -> Iterator[tuple[Unit, Any]]:
    """Each unit with what became of it: its value, or the error that Ray gave up with.

    Args:
        ray: the module, connected.
        units: by the references that Ray gave for them.
    """
    waiting = list(units)
    while waiting:
        done, waiting = ray.wait(waiting, num_returns=1)
        try:
            yield units[done[0]], ray.get(done[0])
        except ray.exceptions.RayTaskError as error:
            yield units[done[0]], error.cause if isinstance(error.cause, RnnExportError) else error
        except ray.exceptions.RayError as error:
            yield units[done[0]], error


def task(ray: Any, function: Callable[..., Any], **options: Any) -> Any:
    """A function as a task that is tried again where its worker is lost."""
    return ray.remote(max_retries=_RETRIES, max_calls=_CALLS, num_cpus=1, **options)(function)


def run_on_ray(jobs: Sequence[FleetJob], address: str) -> Iterator[tuple[int, Outcome]]:
    """Export all models; each outcome with its place, as it comes. Raises as `cluster`."""
    with cluster(address) as ray:
        export = task(ray, exported)
        units = {export.remote(job): at for at, job in enumerate(jobs)}
        for at, found in as_they_come(ray, units):
            if isinstance(found, BaseException):
                error = DiedError(
                    f"Ray gave up after {_RETRIES} retries ({reason(found)})", "a worker that lives", "give it memory"
                )
                found = failed(jobs[at], error)
            yield at, found


def _no_cluster(address: str, error: BaseException) -> UsageError:
    where = f"no Ray cluster at {address}" if address else "Ray can't be started"
    return UsageError(f"{where} ({reason(error)})", "the address of a cluster", "change --on, or start one: ray start")
