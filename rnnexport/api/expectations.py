"""What an artifact has to show: its own goldens, or its source run on fresh inputs, and the user's data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rnnexport.artifact.goldens import Golden
from rnnexport.artifact.provenance import Proof, own_proof, without_goldens
from rnnexport.core.errors import ForeignCode, ProviderError, UsageError, reason
from rnnexport.core.progress import Progress, silent
from rnnexport.core.signature import Boundary, Extent, Signature
from rnnexport.core.user_data import UserData
from rnnexport.targets.base import Target
from rnnexport.verification.run_artifact import Data, Expectation
from rnnexport.verification.tolerance import Override, Tolerance, Tolerances

if TYPE_CHECKING:
    from rnnexport.reference.describe import Described
    from rnnexport.source.model import SourceModel
    from rnnexport.user_data.rows import Rows
    from rnnexport.verification.rollout import Steps

_OPEN = Extent(Boundary())


@dataclass(frozen=True, eq=False)
class Beside:
    """A source as an artifact is compared with it.

    Attributes:
        source: the model, or its stream.
        described: its boundary, and what it gives.
        sequence: of a stream, the boundary of the model on whole sequences; None for what is no stream.
    """

    source: SourceModel
    described: Described
    sequence: Signature | None


class SourceTruth:
    """A source, run once for all artifacts of one extent.

    Args:
        source: the model.
        seed: of its feeds: not the one whose feeds artifacts carry.
        progress: is told what goes on.
        sizes: those of artifacts that do not say their own.
    """

    def __init__(self, source: SourceModel, seed: int, progress: Progress = silent, sizes: Extent = _OPEN) -> None:
        self.source = source
        self._sizes = sizes
        self._seed = seed
        self._progress = progress
        self._beside: dict[Extent, Beside] = {}
        self._steps: dict[tuple[Extent, int], Steps] = {}
        self._data: dict[Extent, Data] = {}

    def extent(self, proof: Proof | None) -> Extent:
        """The sizes that an artifact was exported with. UsageError where its provenance holds none."""
        return self._sizes if proof is None else extent_of(proof)

    def at(self, extent: Extent) -> Beside:
        """The source at that extent.

        Raises as `describe_with_truth` and `require_same_at_sizes`, and for a stream as `streamed`.
        """
        if extent not in self._beside:
            self._beside[extent] = self._made(extent)
        return self._beside[extent]

    def _made(self, extent: Extent) -> Beside:
        from rnnexport.reference.describe import describe_with_truth
        from rnnexport.reference.sizes import require_same_at_sizes
        from rnnexport.reference.stream_equivalence import streamed
        from rnnexport.source.casting import cast_source
        from rnnexport.source.describe import describe

        model = source = cast_source(self.source, extent.cast)
        if extent.stream is not None:
            whole = streamed(self.source, extent.boundary.batch, self._progress, extent.whole.ranges)
            model = cast_source(whole, extent.cast)
        described = describe_with_truth(model, extent.called, self._seed)
        require_same_at_sizes(model, described)  # a feed of another size may not show what Python decides by
        sequence = None if extent.stream is None else describe(source, extent.whole)
        return Beside(model, described, sequence)

    def kept(self, extent: Extent, data: Data) -> Data:
        """What the source gives for the user's data at that extent, computed once for all artifacts."""
        from rnnexport.reference.user_data import StoredGoldens

        return self._data.setdefault(extent, StoredGoldens(data))

    def steps(self, extent: Extent, count: int) -> Steps:
        """The source over `count` timesteps at that extent, run once for all artifacts. Raises as `steps_of`."""
        from rnnexport.reference.rollout import steps_of

        if (extent, count) not in self._steps:
            beside = self.at(extent)
            self._steps[extent, count] = steps_of(beside.source, beside.described, count, self._progress)
        return self._steps[extent, count]


@dataclass(frozen=True, eq=False)
class Requested:
    """What the user wants artifacts to be compared with.

    Attributes:
        source: the model; None for the goldens inside each artifact.
        data: inputs of the user's own; None for none.
        override: of the tolerance.
        steps: how many timesteps of a long sequence to follow each artifact along besides; None for none.
        shared: whether several artifacts or providers are compared: what the source gives for the data is kept then.
    """

    source: SourceTruth | None
    data: UserData | None
    override: Override
    steps: int | None = None
    shared: bool = False


def require_harmless(kind: Target, path: Path) -> None:
    """Refuse a program that is not as it was exported, before any of it runs. Other formats run in their runtimes.

    A whole seal does not say who wrote a program: that it computes and does nothing else is looked at besides.

    Raises:
        UsageError: it was altered, carries no seal, or may do more than compute; or it can't be read.
    """
    if not kind.is_code:
        return
    proof = kind.read_proof(path)
    if proof is None or proof.altered:
        what = "carries no goldens and no seal" if proof is None else "was altered after it was exported"
        raise UsageError(
            f"{path.name} {what}, and is a program",
            "the file as rnnexport wrote it",
            "export it again, or give --allow-unsafe and --source MODEL if you trust whoever changed it",
        )
    kind.check_code(path)


def expectation_of(kind: Target, path: Path, asked: Requested) -> Expectation | ProviderError:
    """What the artifact at `path` has to show. One that this host can't even read is not run: others are.

    Raises:
        UsageError: it was altered, has no goldens and there is no source; or the data or the tolerance name what it
            has not.
        ConversionError: the source can't be run.
    """
    try:
        proof = kind.read_proof(path)
    except ProviderError as error:
        return error
    if asked.steps is not None and proof is not None:
        from rnnexport.reference.rollout import require_states

        require_states(proof.provenance.signature, path.name)
    if asked.source is None:
        beside, expectation = None, _from_goldens(path, proof)
    else:
        beside = asked.source.at(asked.source.extent(proof))
        expectation = _from_source(f"source {asked.source.source.name}", beside, proof)
    asked.override.require_known([spec.name for spec in expectation.signature.all_outputs], path.name)
    if asked.override:
        expectation = replace(expectation, tolerances=replace(expectation.tolerances, override=asked.override))
    if asked.data is not None:
        expectation = with_data(expectation, asked.data, beside)
        if asked.shared and asked.source is not None and expectation.data is not None:
            expectation = replace(expectation, data=asked.source.kept(asked.source.extent(proof), expectation.data))
    if asked.steps is not None and asked.source is not None:
        expectation = replace(expectation, steps=asked.source.steps(asked.source.extent(proof), asked.steps))
    return expectation


def extent_of(proof: Proof | None) -> Extent:
    """The sizes that the artifact was exported with; those of the model for one that carries nothing.

    Raises:
        UsageError: the provenance holds no sizes.
    """
    with ForeignCode(_damaged):
        return Extent.from_json({} if proof is None else proof.provenance.options)


def _from_goldens(path: Path, proof: Proof | None) -> Expectation:
    proof = own_proof(path, proof)
    if not proof.goldens:
        raise without_goldens(path)
    known = proof.provenance
    return Expectation(
        known.signature,
        proof.goldens,
        _tolerances(proof),
        no_truth=known.no_truth,
        coverage=known.coverage,
        no_witness=known.no_witness,
        own=proof,
        sequence=known.sequence,
    )


def _from_source(label: str, beside: Beside, proof: Proof | None) -> Expectation:
    """The source on fresh feeds. An artifact that was altered since it was exported is compared as it is."""
    described = beside.described
    return Expectation(
        described.signature,
        described.goldens,
        _wider(described.tolerance, proof),
        label,
        described.no_truth,
        described.coverage,
        described.no_witness,
        proof,
        sequence=beside.sequence,
    )


def _wider(measured: Tolerance, proof: Proof | None) -> Tolerances:
    """The tolerance of the export, or that of the source on these feeds, where it is less certain of itself."""
    if proof is None or proof.altered:  # what an altered file allows itself counts for nothing
        return Tolerances(measured)
    recorded = _tolerances(proof)
    return replace(recorded, default=max(measured, recorded.default, key=lambda one: one.rtol))


def _tolerances(proof: Proof) -> Tolerances:
    known = proof.provenance
    with ForeignCode(_damaged):
        return Tolerances(Tolerance(**known.tolerance), Override.from_json(known.override))


def _damaged(error: BaseException) -> UsageError:
    return UsageError(f"a damaged provenance ({reason(error)})", "what rnnexport wrote", "export the model again")


def with_data(expectation: Expectation, data: UserData, beside: Beside | None) -> Expectation:
    """The expectation, and the user's own data besides."""
    from rnnexport.user_data.rows import open_data

    rows = open_data(data, expectation.signature, needs_outputs=beside is None)
    run = partial(_goldens_of, rows, beside, stream=expectation.sequence is not None)
    label = f"data of {data.name}, {rows.count} rows"
    return replace(expectation, data=run, data_label=label, fingerprint=rows.fingerprint, shard=data.shard)


def _goldens_of(rows: Rows, beside: Beside | None, *, stream: bool) -> Iterator[Golden]:
    """The data call by call; what must come out is in the data, or is computed by the source."""
    if beside is not None:
        from rnnexport.reference.user_data import goldens_of

        yield from goldens_of(beside.source, beside.described, rows, stream=stream)
        return
    from rnnexport.user_data.recordings import chunk_of, recorded_golden

    for call in rows:
        yield recorded_golden(
            call.feed, call.outputs, rows.signature, chunk_of(call.feed, rows.signature, stream=stream)
        )
