"""What became of each model of a fleet, and of all of them."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from rnnexport.core.errors import (
    EXIT_CONVERSION,
    EXIT_MISMATCH,
    EXIT_PASSED,
    EXIT_PROVIDER,
    EXIT_USAGE,
    ForeignCode,
    RnnExportError,
    reason,
)
from rnnexport.core.run_record import FileRecord, RunRecord, file_records
from rnnexport.fleet.manifest import FleetJob
from rnnexport.targets.registry import target
from rnnexport.version import __version__

SCHEMA = "rnnexport fleet 1"
_EXIT_FAULT = 5
# The exit code of a fleet is the gravest of its models.
_GRAVEST = (_EXIT_FAULT, EXIT_MISMATCH, EXIT_CONVERSION, EXIT_PROVIDER, EXIT_USAGE, EXIT_PASSED)
Status = Literal["exported", "failed"]


class FaultError(RnnExportError):
    """Something that no error of ours explains."""

    exit_code: ClassVar[int] = _EXIT_FAULT


class DiedError(RnnExportError):
    """The process that exported a model ended, more than once: too little memory, or a crash of a library."""

    exit_code: ClassVar[int] = EXIT_CONVERSION


@dataclass(frozen=True)
class Made:
    """One artifact in place.

    Attributes:
        path, target: where it is, and its format.
        max_abs: the largest absolute error of its verification; None where that was switched off.
        files: it consists of.
    """

    path: str
    target: str
    max_abs: float | None
    files: tuple[FileRecord, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of one model. Where it failed, none of its artifacts was put in place.

    Attributes:
        model: the path of the file.
        status: whether all its artifacts are in place.
        exit_code: that `rnnexport export` has for it.
        error: why it failed, in one line; empty where it did not.
        seconds: how long it took.
        artifacts: those in place.
    """

    model: str
    status: Status
    exit_code: int
    error: str = ""
    seconds: float = 0.0
    artifacts: tuple[Made, ...] = ()


@dataclass(frozen=True)
class Fleet:
    """All models of a manifest, in its order.

    Attributes:
        outcomes: one a model.
        run: when, where and with what.
    """

    outcomes: tuple[Outcome, ...]
    run: RunRecord

    @property
    def exit_code(self) -> int:
        """The gravest of all models."""
        codes = {outcome.exit_code for outcome in self.outcomes}
        return next(code for code in _GRAVEST if code in codes)

    def counts(self) -> Mapping[str, int]:
        """How many models have which status."""
        return Counter(outcome.status for outcome in self.outcomes)

    def to_json(self) -> str:
        """As a file, with a trailing newline."""
        value = {
            "schema": SCHEMA,
            "rnnexport": __version__,
            "run": self.run.to_json(),
            "exit_code": self.exit_code,
            "counts": {status: self.counts()[status] for status in ("exported", "failed")},
            "models": [_outcome(outcome) for outcome in self.outcomes],
        }
        return json.dumps(value, indent=2, allow_nan=False) + "\n"


def exported(job: FleetJob) -> Outcome:
    """Export one model. Whatever it raises is its outcome; other models go on."""
    from rnnexport.api.export import export_all

    start = time.monotonic()
    try:
        with ForeignCode(_fault):
            found = export_all(job.model, job.to, job.folder, **job.options)
    except RnnExportError as error:
        return failed(job, error, time.monotonic() - start)
    made = [
        Made(
            str(one.path),
            name,
            None if one.report is None else one.report.max_abs,
            file_records(target(name).every_file(one.path)),
        )
        for name, one in zip(job.to, found, strict=True)
    ]
    return Outcome(str(job.model), "exported", EXIT_PASSED, "", time.monotonic() - start, tuple(made))


def failed(job: FleetJob, error: RnnExportError, seconds: float = 0.0) -> Outcome:
    """The outcome of a model that could not be exported."""
    return Outcome(str(job.model), "failed", error.exit_code, str(error), seconds)


def check(jobs: Sequence[FleetJob]) -> None:
    """Refuse what would fail for each model of a folder: it can't be made. Raises as `made_folder`."""
    from rnnexport.artifact.atomic_write import made_folder

    for folder in dict.fromkeys(job.folder for job in jobs):
        with made_folder(Path(folder)):
            pass


def _fault(error: BaseException) -> FaultError:
    return FaultError(f"a fault of rnnexport, {reason(error)}", "an artifact or a reason", "please report it")


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "model": outcome.model,
        "status": outcome.status,
        "exit_code": outcome.exit_code,
        "error": outcome.error,
        "seconds": round(outcome.seconds, 3),
        "artifacts": [
            {
                "artifact": one.path,
                "target": one.target,
                "max_abs_error": one.max_abs,
                "files": [file.to_json() for file in one.files],
            }
            for one in outcome.artifacts
        ],
    }
