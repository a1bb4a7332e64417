"""Verifying artifacts: the Python API of it, and what its command calls. What only exporting needs is not imported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from rnnexport.api.expectations import Requested, SourceTruth, expectation_of
from rnnexport.api.judging import Verification, VerifyKeywords
from rnnexport.api.notebook import ShownReport
from rnnexport.core.errors import CrashError, ProviderError, in_python_words
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.progress import Progress, quiet, silent
from rnnexport.core.run_record import Watch, file_records
from rnnexport.core.signature import Extent
from rnnexport.isolation.process import ForkServer
from rnnexport.targets.base import Target
from rnnexport.verification.report import ArtifactReport, Report
from rnnexport.verification.run_artifact import Expectation, not_run, verify_artifact
from rnnexport.verification.where import Where

if TYPE_CHECKING:
    from rnnexport.verification.diagnosis.locate import Location

_SOURCE_FEEDS_SEED = 1  # verify --source must not use the very inputs that the artifact carries


@in_python_words()
@quiet()
def verify(artifacts: str | Path | Sequence[str | Path], **keywords: Unpack[VerifyKeywords]) -> Report:
    """Run artifacts in their own runtimes and compare them with what their source gave.

    Args:
        artifacts: one path or several.
        keywords: see `VerifyKeywords` and `CallKeywords`.

    Raises:
        UsageError: a file is missing, is no artifact, was altered, or has no goldens and no source was given; it is a
            program that was altered or does more than compute; a provider that no target knows.
        ConversionError, ProviderError: the source can't be loaded; see `load`.
        TypeError: a keyword that there is not.
    """
    watch, asked = Watch(), Verification.of(artifacts, keywords)
    if asked.limits is not None:
        ForkServer.here()
    truth = None
    if asked.source is not None:
        asked.progress("loading")
        truth = source_truth(asked.source, asked.loading, asked.sizes, asked.progress)
    shared = len(asked.artifacts) * len(asked.places) > 1
    wanted = Requested(truth, asked.data, asked.tolerance, asked.steps, shared)
    # All of them before the first runs: a file that can't be read must not hide the verdict on another.
    expectations = [expectation_of(kind, path, wanted) for kind, path in asked.artifacts]
    found = []
    for (kind, path), expectation in zip(asked.artifacts, expectations, strict=True):
        for where in asked.places:
            asked.progress(f"verifying {path.name} on {where.provider}")
            found.append(judged(kind, path, expectation, where, truth))
    return _recorded(found, asked, watch) if asked.record else ShownReport(tuple(found))


def source_truth(source: Any, loading: LoadOptions, sizes: Extent, progress: Progress = silent) -> SourceTruth:
    """A source, loaded, that artifacts are compared with on inputs that none of them carries. Raises as `load`."""
    from rnnexport.api.export import load

    return SourceTruth(load(source, loading), _SOURCE_FEEDS_SEED, progress, sizes)


def _recorded(found: Sequence[ArtifactReport], asked: Verification, watch: Watch) -> Report:
    """The report, with when and where it was made, and the files that it is about."""
    files = {str(path): file_records(kind.every_file(path)) for kind, path in asked.artifacts}
    return ShownReport(tuple(replace(item, files=files[item.artifact]) for item in found), watch.record())


def judged(
    kind: Target, path: Path, expectation: Expectation | ProviderError, where: Where, truth: SourceTruth | None
) -> ArtifactReport:
    """The verdict on one artifact on one provider. One that ends its process is wrong, and no other is."""
    if isinstance(expectation, ProviderError):
        return not_run(kind, path, where.provider, None, str(expectation))
    try:
        report = verify_artifact(kind, path, expectation, where)
    except CrashError as error:
        return replace(not_run(kind, path, where.provider, expectation, error.found), status="mismatch")
    return report if report.status != "mismatch" else _located(report, kind, path, expectation, where, truth)


def _located(
    report: ArtifactReport, kind: Target, path: Path, expectation: Expectation, where: Where, truth: SourceTruth | None
) -> ArtifactReport:
    """The report of a mismatch with where it begins, by the layer map in the file or the layers of the source."""
    from rnnexport.api.diagnose import LAYER_MAP_GOLDEN, by_layer_map, by_layers, with_departure

    searches: list[Callable[[], Location]] = []
    tolerance = expectation.tolerances.default
    if expectation.own is not None:
        searches.append(partial(by_layer_map, expectation.own, tolerance, kind, path, where))
    if truth is not None:
        feed, source = expectation.goldens[LAYER_MAP_GOLDEN].feed, truth.at(truth.extent(expectation.own)).source

        def by_source() -> Location:
            """Runs the source once more, which a layer map that leads to the place spares."""
            from rnnexport.source.eager import layer_values

            layers = layer_values(source, expectation.signature, feed)
            return by_layers(layers, feed, tolerance, kind, path, where)

        searches.append(by_source)
    return with_departure(report, *searches)
