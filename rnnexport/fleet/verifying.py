"""A verification on Ray: a task a shard runs the source, a task an artifact, provider and shard runs the artifact.

What moves is what the source gave for a shard: to its artifacts, through Ray's object store, which spills to disk. What
comes back is a report of a few kilobytes a unit, and these merge into that of a single run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from rnnexport.api.expectations import Requested, SourceTruth, expectation_of
from rnnexport.api.judging import Verification, VerifyKeywords
from rnnexport.api.verify import judged, source_truth
from rnnexport.artifact.goldens import Golden
from rnnexport.core.errors import ProviderError, RnnExportError, in_a_command, in_python_words, reason
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.run_record import Watch, file_records
from rnnexport.core.signature import Extent
from rnnexport.core.user_data import Shard, UserData
from rnnexport.fleet.on_ray import as_they_come, cluster, task
from rnnexport.targets.base import Target
from rnnexport.targets.registry import target_of
from rnnexport.verification.merging import merged
from rnnexport.verification.report import ArtifactReport, Report
from rnnexport.verification.run_artifact import Expectation
from rnnexport.verification.where import Where

_A_PROCESSOR = 2  # shards: what one of them lacks another does meanwhile
_Claim = Expectation | ProviderError


@dataclass(frozen=True)
class _Source:
    """A source as a task loads it.

    Attributes:
        path: where it is.
        loading: how.
        sizes: those of artifacts that do not say their own.
        steps: how long a sequence to follow artifacts along besides; None for none.
    """

    path: Path
    loading: LoadOptions
    sizes: Extent
    steps: int | None


@dataclass(frozen=True, eq=False)
class _Goldens:
    """What the source gave for a shard, to be sent."""

    goldens: tuple[Golden, ...]

    def __call__(self) -> Iterator[Golden]:
        return iter(self.goldens)


@in_python_words()
def verify_on_ray(
    address: str, artifacts: str | Path | Sequence[str | Path], **keywords: Unpack[VerifyKeywords]
) -> Report:
    """As `verify`, on the Ray cluster at `address`; on one that is started here for an empty one.

    Raises:
        UsageError: as `verify`; or the address does not answer.
        ProviderError: Ray is not installed, or gave up on a unit whose workers were lost again and again.
    """
    watch, asked = Watch(), Verification.of(artifacts, keywords)
    kinds, paths = [kind for kind, _ in asked.artifacts], [path.resolve() for _, path in asked.artifacts]
    with cluster(address) as ray:
        count = _shards(kinds[0], paths[0], asked, int(ray.cluster_resources().get("CPU", 1)))
        shards = [_shard_of(asked.data, at, count) for at in range(1, count + 1)]
        expectations = _expectations(
            ray, paths, asked, [Requested(None, shard, asked.tolerance, shared=True) for shard in shards]
        )
        verify = task(ray, _unit)
        units = {
            verify.remote(path, expectation, where): (at, number, shard)
            for shard, row in enumerate(expectations)
            for at, (path, expectation) in enumerate(zip(paths, row, strict=True))
            for number, where in enumerate(asked.places)
        }
        found: dict[tuple[int, int, int], ArtifactReport] = {}
        for place, one in as_they_come(ray, units):
            found[place] = _checked(one)
            asked.progress(f"{len(found)} of {len(units)} units of {count} shards")
    return _report(found, asked, count, watch)


def _report(found: dict[tuple[int, int, int], ArtifactReport], asked: Verification, count: int, watch: Watch) -> Report:
    """The report of a single run: the shards of each artifact and provider merged."""
    reports = []
    for at, (kind, path) in enumerate(asked.artifacts):
        files = file_records(kind.every_file(path)) if asked.record else ()
        for number in range(len(asked.places)):
            whole = merged([found[at, number, shard] for shard in range(count)])
            reports.append(replace(whole, artifact=str(path), files=files))
    return Report(tuple(reports), watch.record() if asked.record else None)


def _shards(kind: Target, path: Path, asked: Verification, processors: int) -> int:
    """How many shards there are: one without data; no more than pieces. Data that do not fit are refused here."""
    from rnnexport.user_data.rows import open_data

    if asked.data is None:
        return 1
    proof = kind.read_proof(path)
    if proof is None:
        return _A_PROCESSOR * processors
    rows = open_data(asked.data, proof.provenance.signature, needs_outputs=asked.source is None)
    return max(1, min(len(asked.data.pieces(rows.pieces)), _A_PROCESSOR * processors))


def _shard_of(data: UserData | None, index: int, count: int) -> UserData | None:
    if data is None:
        return None
    place = data.place if data.is_remote else str(Path(data.place).resolve())
    return replace(data, place=place, shard=Shard(index, count).within(data.shard))


def _expectations(ray: Any, paths: Sequence[Path], asked: Verification, shards: Sequence[Requested]) -> list[list[Any]]:
    """For each shard what each artifact has to show: references to what a task with the source makes, or how to."""
    if asked.source is None:
        return [[one] * len(paths) for one in shards]
    source = _Source(Path(asked.source).resolve(), asked.loading, asked.sizes, asked.steps)
    prepare = task(ray, _prepared, num_returns=len(paths))
    rows = [prepare.remote(paths, source, one) for one in shards]
    return [[row] if len(paths) == 1 else list(row) for row in rows]


def _prepared(paths: Sequence[Path], source: _Source, asked: Requested) -> Any:
    """Run the source on one shard: what each artifact has to show, one value for a lone artifact."""
    with in_a_command():  # whose words these are, who asked says
        truth = source_truth(source.path, source.loading, source.sizes)
    # A long sequence is no data: it is for the first shard.
    steps = source.steps if asked.data is None or asked.data.shard is None or asked.data.shard.index == 1 else None
    asked = replace(asked, source=truth, steps=steps)
    kinds = [target_of(path) for path in paths]
    expectations = [expectation_of(kind, path, asked) for kind, path in zip(kinds, paths, strict=True)]
    known: dict[Any, _Goldens] = {}
    sent = [
        expectation if isinstance(expectation, ProviderError) else _sendable(expectation, truth, known)
        for expectation in expectations
    ]
    return sent[0] if len(paths) == 1 else sent


def _sendable(expectation: Expectation, truth: SourceTruth, known: dict[Any, _Goldens]) -> Expectation:
    """The expectation with what the source gave in place of the source; `known` is what it gave at each extent."""
    extent = truth.extent(expectation.own)
    if expectation.data is not None:
        if extent not in known:
            known[extent] = _Goldens(tuple(expectation.data()))
        expectation = replace(expectation, data=known[extent])
    if expectation.steps is not None:
        if (extent, expectation.steps.count) not in known:
            known[extent, expectation.steps.count] = _Goldens(tuple(expectation.steps.calls()))
        expectation = replace(
            expectation, steps=replace(expectation.steps, calls=known[extent, expectation.steps.count])
        )
    return expectation


def _unit(path: Path, expectation: _Claim | Requested, where: Where) -> ArtifactReport:
    """One artifact on one provider and one shard."""
    kind = target_of(path)
    if isinstance(expectation, Requested):
        expectation = expectation_of(kind, path, expectation)
    return judged(kind, path, expectation, where, None)


def _checked(found: Any) -> ArtifactReport:
    """The report of a unit. Raises what it raised, and ProviderError where Ray gave up on it."""
    if isinstance(found, RnnExportError):
        raise found
    if isinstance(found, BaseException):
        raise ProviderError(f"Ray gave up on a unit ({reason(found)})", "workers that live", "give them memory")
    report: ArtifactReport = found
    return report
