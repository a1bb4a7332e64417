"""What an artifact has to show: its own goldens, or its source run on fresh inputs, and the user's data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rnnexport.errors import ForeignCode, ProviderError, UsageError, reason
from rnnexport.goldens import Golden
from rnnexport.proof import Proof, require_unaltered
from rnnexport.signature import Boundary
from rnnexport.targets.base import Target
from rnnexport.verification.judge import Claim
from rnnexport.verification.tolerance import Override, Tolerance, Tolerances

if TYPE_CHECKING:
    from rnnexport.data import Rows
    from rnnexport.source.model import SourceModel
    from rnnexport.truth import Described


class SourceTruth:
    """A source, run once for all artifacts of one boundary.

    Args:
        source: the model.
        seed: of its feeds: not the one whose feeds artifacts carry.
    """

    def __init__(self, source: SourceModel, seed: int) -> None:
        self.source = source
        self._seed = seed
        self._described: dict[Boundary, Described] = {}

    def at(self, boundary: Boundary) -> Described:
        """The source at that boundary. Raises as `describe_with_truth`."""
        from rnnexport.truth import describe_with_truth

        if boundary not in self._described:
            self._described[boundary] = describe_with_truth(self.source, boundary, self._seed)
        return self._described[boundary]


@dataclass(frozen=True, eq=False)
class Asked:
    """What the user wants artifacts to be compared with.

    Attributes:
        source: the model; None for the goldens inside each artifact.
        data: a file or folder of inputs; None for none.
        override: of the tolerance.
    """

    source: SourceTruth | None
    data: Path | None
    override: Override


def claim_of(kind: Target, path: Path, asked: Asked) -> Claim | ProviderError:
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
    described = None if asked.source is None else _described(asked.source, proof)
    if asked.source is None or described is None:
        claim = _from_goldens(path, proof)
    else:
        claim = _from_source(f"source {asked.source.source.name}", described, proof)
    asked.override.require_known([spec.name for spec in claim.signature.all_outputs], path.name)
    if asked.override:
        claim = replace(claim, tolerances=replace(claim.tolerances, override=asked.override))
    if asked.data is not None:
        source = None if asked.source is None else asked.source.source
        claim = _with_data(claim, asked.data, source, described)
    return claim


def _from_goldens(path: Path, proof: Proof | None) -> Claim:
    if proof is None:
        raise UsageError(f"{path.name} carries no goldens", "an artifact of rnnexport, or --source", "give --source")
    require_unaltered(path.name, proof)
    known = proof.provenance
    return Claim(known.signature, proof.goldens, _tolerances(proof), no_truth=known.no_truth, own=proof)


def _described(truth: SourceTruth, proof: Proof | None) -> Described:
    """The source at the sizes that the artifact was exported with."""
    options = {} if proof is None else proof.provenance.options
    with ForeignCode(_damaged):
        boundary = Boundary(options.get("batch"), options.get("timesteps"))
    return truth.at(boundary)


def _from_source(label: str, described: Described, proof: Proof | None) -> Claim:
    """The source on fresh feeds. An artifact that was altered since it was exported is compared as it is."""
    return Claim(
        described.signature,
        described.goldens,
        _wider(described.tolerance, proof),
        label,
        described.no_truth,
        proof,
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


def _with_data(claim: Claim, path: Path, source: SourceModel | None, described: Described | None) -> Claim:
    """The claim, and the user's own data besides."""
    from rnnexport.data import open_data

    rows = open_data(path, claim.signature, needs_outputs=source is None)
    run = partial(_goldens_of, rows, source, described)
    return replace(claim, data=run, data_label=f"data of {path.name}, {rows.count} rows")


def _goldens_of(rows: Rows, source: SourceModel | None, described: Described | None) -> Iterator[Golden]:
    """The data call by call; what must come out is in the data, or is computed by the source."""
    if source is None or described is None:
        for feed, expected in rows:
            yield Golden("data", feed, expected)
        return
    from rnnexport.source.reference import reference
    from rnnexport.truth import exact

    with exact(described.traced, described.no_truth) as run:
        for feed, given in rows:
            expected = reference(source, described.signature, feed)
            yield Golden("data", feed, expected, run.run(feed, expected))
            if given:  # the data say what they expect, too
                yield Golden("data", feed, {name: given.get(name, array) for name, array in expected.items()})
