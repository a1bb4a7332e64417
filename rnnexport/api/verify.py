"""Verifying artifacts: the Python API of it, and what its command calls. What only exporting needs is not imported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnexport.api.expectations import Asked, SourceTruth, claim_of, require_harmless
from rnnexport.api.notebook import ShownReport
from rnnexport.artifact.beside import proof_file
from rnnexport.core.errors import CrashError, ProviderError, UsageError
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.progress import Progress, silent
from rnnexport.core.run_record import Watch, file_records
from rnnexport.core.signature import Boundary, Extent
from rnnexport.core.user_data import UserData, user_data
from rnnexport.isolation.limits import Limits
from rnnexport.isolation.process import ForkServer
from rnnexport.targets.base import Target
from rnnexport.targets.registry import ALL_PROVIDERS, may_lie_beside, target_of
from rnnexport.verification.report import ArtifactReport, Report
from rnnexport.verification.run_artifact import Expectation, not_run, verify_artifact
from rnnexport.verification.tolerance import Override
from rnnexport.verification.where import Where

if TYPE_CHECKING:
    from rnnexport.verification.diagnosis.locate import Location

_LOADING = LoadOptions()
_OVERRIDE = Override()
_LIMITS = Limits()
_SOURCE_FEEDS_SEED = 1  # verify --source must not use the very inputs that the artifact carries


def verify(
    artifacts: str | Path | Sequence[str | Path],
    *,
    source: Any = None,
    loading: LoadOptions = _LOADING,
    data: str | Path | UserData | None = None,
    providers: Sequence[str] = ("cpu",),
    tf32: bool = False,
    placement: float | None = None,
    tolerance: Override = _OVERRIDE,
    steps: int | None = None,
    batch: int | None = None,
    timesteps: int | None = None,
    limits: Limits | None = _LIMITS,
    progress: Progress = silent,
    record: bool = True,
) -> Report:
    """Run artifacts in their own runtimes and compare them with what their source gave.

    Args:
        artifacts: one path or several.
        source: the model to compare with, on fresh inputs; None for the goldens inside each artifact, which needs
            neither TensorFlow nor the source.
        loading: see `load`; its `allow_unsafe` is for artifacts that are programs, too.
        data: inputs of the user's own to verify on besides: a file, a folder, a glob or an address of `.npz`, `.npy`,
            Parquet or Arrow files; as `UserData` with the names of columns, or a shard of them.
        providers: the execution providers to run on, such as `cpu` and `cuda`.
        tf32: whether a GPU may round the operands of float32 products to 10 bits of mantissa.
        placement: the share of the recurrent nodes that must run on the provider, from 0 to 1; None for any node.
        tolerance: what is not to be as each artifact was exported with.
        steps: how many timesteps of one sequence to follow each artifact along besides, call by call, beside `source`,
            which is needed; the artifacts have to be of stateful models, or streams.
        batch, timesteps: what somebody else fixed them to in an artifact without a provenance; `source` is run so.
        limits: of the process that each artifact is run in; None to run them in this one.
        progress: is told what goes on, in a few words a step.
        record: whether the report says when, where and on which files it was made.

    Raises:
        UsageError: a file is missing, is no artifact, was altered, or has no goldens and no source was given; it is a
            program that was altered or does more than compute; a provider that no target knows.
        ConversionError, ProviderError: the source can't be loaded; see `load`.
    """
    watch = Watch()
    paths = _artifacts([artifacts] if isinstance(artifacts, str | Path) else artifacts)
    check_asked(providers, steps, source, batch or timesteps)
    kinds = [target_of(path) for path in paths]
    if not loading.allow_unsafe:
        for kind, path in zip(kinds, paths, strict=True):
            require_harmless(kind, path)
    if limits is not None:
        ForkServer.here()
    truth = None
    if source is not None:
        from rnnexport.api.export import load

        progress("loading")
        sizes = Extent(Boundary(batch, timesteps))
        truth = SourceTruth(load(source, loading), _SOURCE_FEEDS_SEED, progress, sizes)
    asked = Asked(truth, user_data(data), tolerance, steps, shared=len(paths) * len(providers) > 1)
    # All of them before the first runs: a file that can't be read must not hide the verdict on another.
    claims = [claim_of(kind, path, asked) for kind, path in zip(kinds, paths, strict=True)]
    places = [Where(provider, tf32, placement, limits) for provider in providers]
    found = []
    for kind, path, claim in zip(kinds, paths, claims, strict=True):
        for where in places:
            progress(f"verifying {path.name} on {where.provider}")
            found.append(judged(kind, path, claim, where, truth))
    return _recorded(found, kinds, paths, watch) if record else ShownReport(tuple(found))


def _recorded(found: Sequence[ArtifactReport], kinds: Sequence[Target], paths: Sequence[Path], watch: Watch) -> Report:
    """The report, with when and where it was made, and the files that it is about."""
    files = {str(path): file_records(kind.every_file(path)) for kind, path in zip(kinds, paths, strict=True)}
    return ShownReport(tuple(replace(item, files=files[item.artifact]) for item in found), watch.record())


def _artifacts(given: Sequence[str | Path]) -> list[Path]:
    """The paths without those of files that belong to another one of them: `artifacts/*` has them all."""
    paths = [Path(path) for path in given]
    beside = {file for path in paths for file in (*may_lie_beside(path), proof_file(path))}
    return [path for path in paths if path not in beside]


def check_asked(providers: Sequence[str], steps: int | None, source: Any, size: int | None) -> None:
    """Refuse options that need others. Raises UsageError."""
    for provider in providers:
        if provider not in ALL_PROVIDERS:
            raise UsageError(f"provider {provider!r}", f"one of {', '.join(ALL_PROVIDERS)}", "change --provider")
    if steps is not None and source is None:
        raise UsageError("--steps without --source", "the model to run step by step beside", "give --source MODEL")
    if size is not None and source is None:
        raise UsageError("--batch or --timesteps without --source", "a model to run so", "give --source MODEL")
    if steps is not None and steps < 1:
        raise UsageError(f"--steps {steps}", "a number above 0", "change it")


def judged(
    kind: Target, path: Path, claim: Expectation | ProviderError, where: Where, truth: SourceTruth | None
) -> ArtifactReport:
    """The verdict on one artifact on one provider. One that ends its process is wrong, and no other is."""
    if isinstance(claim, ProviderError):
        return not_run(kind, path, where.provider, None, str(claim))
    try:
        report = verify_artifact(kind, path, claim, where)
    except CrashError as error:
        return replace(not_run(kind, path, where.provider, claim, error.found), status="mismatch")
    return report if report.status != "mismatch" else _located(report, kind, path, claim, where, truth)


def _located(
    report: ArtifactReport, kind: Target, path: Path, claim: Expectation, where: Where, truth: SourceTruth | None
) -> ArtifactReport:
    """The report of a mismatch with the place where it begins, by the trail in the file or the layers of the source."""
    from rnnexport.api.diagnose import TRAIL_GOLDEN, along_the_trail, among_the_layers, with_departure

    searches: list[Callable[[], Location]] = []
    tolerance = claim.tolerances.default
    if claim.own is not None:
        searches.append(partial(along_the_trail, claim.own, tolerance, kind, path, where))
    if truth is not None:
        feed, source = claim.goldens[TRAIL_GOLDEN].feed, truth.at(truth.extent(claim.own)).source

        def by_source() -> Location:
            """Runs the source once more, which a trail that leads to the place spares."""
            from rnnexport.source.layer_outputs import layer_values

            layers = layer_values(source, claim.signature, feed)
            return among_the_layers(layers, feed, tolerance, kind, path, where)

        searches.append(by_source)
    return with_departure(report, *searches)
