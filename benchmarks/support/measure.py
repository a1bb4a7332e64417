"""One layer or function through all targets, and what became of it."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import rnnexport
from benchmarks.support.models import Built, CannotBuildError, Subject, build, not_applicable
from rnnexport.api.export_job import ExportJob, Options, described, run_jobs
from rnnexport.core.errors import MismatchError, RnnExportError
from rnnexport.core.lowering import LoweringRequest
from rnnexport.core.progress import silent
from rnnexport.core.signature import Boundary, Extent
from rnnexport.targets.base import DEFAULT_OPSET, ExportOptions
from rnnexport.targets.registry import target
from rnnexport.verification.tolerance import Override

_OPTIONS = Options(ExportOptions(DEFAULT_OPSET, LoweringRequest()), Override(), verify=True)
Word = Literal["exact", "fixed", "refused", "wrong", "crashed", "n/a"]


@dataclass(frozen=True)
class Found:
    """What became of a subject at one target.

    Attributes:
        word: `exact`, verified; `fixed`, refused, but verified with --timesteps; `refused` with a reason; `wrong` where
            the artifact was found to differ, and so was not written; `crashed` with something that is no message; `n/a`
            for what is no part of a model.
        why: of all but the first.
    """

    word: Word
    why: str = ""


@dataclass(frozen=True)
class Measured:
    """What became of a subject.

    Attributes:
        subject: the layer or function.
        sizes: what had to be fixed for it to run in Keras.
        found: by target.
        seconds: that it took.
    """

    subject: Subject
    sizes: str
    found: Mapping[str, Found]
    seconds: float


def measure(subject: Subject, targets: Sequence[str]) -> Measured:
    """Export the model of that subject to each target, and verify each artifact."""
    start = perf_counter()
    built = built_or_not(subject)
    if isinstance(built, Found):
        return Measured(subject, "", dict.fromkeys(targets, built), perf_counter() - start)
    return Measured(subject, built.sizes, exports(built, targets, True), perf_counter() - start)


def built_or_not(subject: Subject) -> Built | Found:
    """The model of a subject, or why there is none."""
    if why := not_applicable(subject):
        return Found("n/a", why)
    try:
        return build(subject)
    except CannotBuildError as error:
        return Found("n/a", f"Keras itself can't: {error}")


def exports(built: Built, targets: Sequence[str], cures: bool) -> dict[str, Found]:
    """Each target by itself, so that one that refuses keeps none from the others; what they share is run once.

    Args:
        built: the model.
        targets: formats.
        cures: whether what is refused is exported with --timesteps too.
    """
    with tempfile.TemporaryDirectory() as folder:
        return _exports(built, targets, cures, Path(folder))


def _exports(built: Built, targets: Sequence[str], cures: bool, folder: Path) -> dict[str, Found]:
    source = _word(lambda: rnnexport.load(built.model))
    if isinstance(source, Found):
        return dict.fromkeys(targets, source)
    known: dict[Extent, Any] = {}

    def export(name: str, steps: int | None) -> Found:
        kind = target(name)
        path = folder / f"m_{name.replace('-', '_')}{kind.suffix}"
        job = ExportJob(kind, path, Extent(Boundary(None, steps)))
        if job.extent not in known:
            known[job.extent] = _word(lambda: described(source, [job], silent))
        subjects = known[job.extent]
        if isinstance(subjects, Found):
            return subjects
        done = _word(lambda: run_jobs(source, [job], _OPTIONS, silent, subjects))
        return done if isinstance(done, Found) else Found("exact")

    is_open = any(len(tensor.shape) > 1 and tensor.shape[1] is None for tensor in built.model.inputs)
    found = {name: export(name, built.steps if is_open and target(name).unrolled else None) for name in targets}
    if is_open and cures:
        refused = [name for name, what in found.items() if what.word != "exact" and not target(name).unrolled]
        cured = [name for name in refused if export(name, built.steps).word == "exact"]
        found |= {name: Found("fixed", found[name].why) for name in cured}
    return found


def _word(job: Callable[[], Any]) -> Any:
    """What a job gives; where it raises, what is to be said."""
    try:
        return job()
    except MismatchError as error:
        return Found("wrong", str(error))
    except RnnExportError as error:
        return Found("refused", str(error))
    except Exception:  # noqa: BLE001 - whatever it is, it is no message, and is told
        return Found("crashed", traceback.format_exc(limit=-3))
