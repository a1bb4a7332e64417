"""Sealing an artifact again that was changed on purpose: quantised, optimised, converted to another version.

verify it beside its source on the user's bounds -> goldens, and a provenance that says what was done -> verify what was
written, alone

Copies of artifacts, which may be of several files, to be changed before they go in place.

Lean artifacts: the goldens taken out of a finished one, to lie beside it or nowhere, or put back.
"""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rnnexport.api.expectations import Beside, SourceTruth, extent_of, require_harmless
from rnnexport.api.export_job import provenance_of
from rnnexport.api.jobs import Exported
from rnnexport.artifact.atomic_write import staged, writing
from rnnexport.artifact.beside import PLACES, ProofPlace, proof_file
from rnnexport.artifact.provenance import Proof, Provenance, own_proof, without_goldens
from rnnexport.core.errors import MismatchError, ProviderError, UsageError, in_python_words, require_path
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.progress import Progress, silent
from rnnexport.core.run_record import Watch, bytes_in_words, size_of
from rnnexport.isolation.limits import Limits
from rnnexport.targets.base import Target
from rnnexport.targets.registry import target_of
from rnnexport.verification.report import ArtifactReport
from rnnexport.verification.run_artifact import Expectation, verify_artifact
from rnnexport.verification.tolerance import Override, Tolerances
from rnnexport.verification.where import Where

_LOADING = LoadOptions()
_OVERRIDE = Override()
_LIMITS = Limits()
_GOLDENS_SEED = 0


@in_python_words()
def reseal(
    artifact: str | Path,
    source: Any,
    *,
    output: str | Path | None = None,
    note: str = "",
    loading: LoadOptions = _LOADING,
    tolerance: Override = _OVERRIDE,
    limits: Limits = _LIMITS,
    progress: Progress = silent,
) -> Exported:
    """Verify an artifact that was changed after its export beside its source, and give it goldens and a seal again.

    Args:
        artifact: the changed one; one without a provenance too, which some tools drop.
        source: see `load`.
        output: where it goes; in place of `artifact` by default.
        note: what was done, in the user's words; recorded.
        loading: see `load`.
        tolerance: the bounds that the change is to be judged by; recorded.
        limits: of the process that it is run in.
        progress: is told what goes on, in a few words a step.

    Raises:
        UsageError: the artifact can't be read; see `verify`.
        MismatchError: it is not within the bounds of its source. CrashError: it ended the process that ran it.
        ConversionError, ProviderError: the source can't be loaded; see `load`.
    """
    watch, path = Watch(), Path(artifact)
    kind = target_of(path)
    destination = path if output is None else Path(output)
    if not loading.allow_unsafe:
        require_harmless(kind, path)
    kind.check_destination(destination)
    before = kind.read_proof(path)
    from rnnexport.api.export import load

    progress("loading")
    beside = SourceTruth(load(source, loading), _GOLDENS_SEED, progress).at(extent_of(before))
    expectation = _expectation(beside, tolerance, path.name)
    progress(f"verifying {path.name}")
    report = _passed(kind, path, expectation, limits)
    changed = _changed(kind, path, before, note, report)
    proof = Proof(_provenance(kind, beside, before, tolerance, changed), beside.described.goldens)
    with copy_with(proof, kind, path, destination) as built:
        progress(f"verifying {destination.name}")
        own = kind.read_proof(built)
        assert own is not None, "it was written a moment ago"
        alone = replace(expectation, goldens=own.goldens, truth="goldens", own=own)
        report = replace(_passed(kind, built, alone, limits), artifact=str(destination))
    beside_it = kind.files(destination)[1:]
    return Exported(destination, report, (), beside_it, proof.provenance.signature, watch.seconds)


def _expectation(beside: Beside, tolerance: Override, name: str) -> Expectation:
    known = beside.described
    tolerance.require_known([spec.name for spec in known.signature.all_outputs], name)
    return Expectation(
        known.signature,
        known.goldens,
        Tolerances(known.tolerance, tolerance),
        f"source {beside.source.name}",
        known.no_truth,
        known.coverage,
        known.no_witness,
        sequence=beside.sequence,
    )


def _passed(kind: Target, path: Path, expectation: Expectation, limits: Limits) -> ArtifactReport:
    """The report of a run that passed; raises where it did not."""
    report = verify_artifact(kind, path, expectation, Where(limits=limits))
    if report.status == "not run":
        raise ProviderError(f"{path.name} could not be run: {report.first_problem()}", "its runtime", "install it")
    if report.status == "mismatch":
        raise MismatchError(
            f"{path.name} differs from its source: {report.first_problem()}",
            f"agreement within {report.tolerances}",
            "nothing was written; give the bounds that the change is to be judged by, with --atol and --rtol",
        )
    return report


def _provenance(
    kind: Target, beside: Beside, before: Proof | None, tolerance: Override, changed: Mapping[str, str]
) -> Provenance:
    """As of an export with the options of the artifact before; what became of its recurrences is not known any more."""
    options = extent_of(before).to_json() | ({} if before is None else dict(before.provenance.options))
    new = provenance_of(beside.source, beside.described, kind, options, tolerance, beside.sequence)
    return replace(new, changed=changed)


def _changed(kind: Target, path: Path, before: Proof | None, note: str, report: ArtifactReport) -> Mapping[str, str]:
    """What is known of a change, by label."""
    earlier = {} if before is None else before.provenance.changed
    told = {
        "note": note,
        "notes before": "; ".join(filter(None, (earlier.get("notes before", ""), earlier.get("note", "")))),
        "seal before": "none" if before is None else before.seal,
        "bounds": str(report.tolerances),
        "largest error": f"{report.max_abs:.2g}",
        **kind.facts(path),
    }
    return {label: text for label, text in told.items() if text}


@contextmanager
def copy_with(proof: Proof, kind: Target, path: Path, destination: Path) -> Iterator[Path]:
    """A copy of an artifact with another proof, which is put at `destination` when the block ends without an error.

    Raises:
        UsageError: something else is where its weights would go, or the place can't be written.
    """
    with ExitStack() as stack:
        outside = _outside_of(kind, path, destination)
        copies = {file: stack.enter_context(staged(place)) for file, place in outside.items()}
        built = stack.enter_context(kind.staged(destination))
        with writing(destination):
            for file, copy in copies.items():
                shutil.copyfile(file, copy)
            _copy(kind, path, built)
            kind.write_proof(built, proof)
        yield built


def _outside_of(kind: Target, path: Path, destination: Path) -> dict[Path, Path]:
    """The files beside an artifact that hold its weights, and where they go; nothing for one that stays in its folder.

    Raises:
        UsageError: something else is there.
    """
    if path.parent.resolve() == destination.parent.resolve():
        return {}
    found = {file: destination.parent / file.relative_to(path.parent) for file in kind.external_files(path)}
    for file, place in found.items():
        if place.exists() and not (place.is_file() and filecmp.cmp(file, place, shallow=False)):
            raise UsageError(f"{place}, where the weights of {path.name} would go", "nothing there", "change -o")
    return found


def _copy(kind: Target, path: Path, built: Path) -> None:
    """The artifact at another place, and what holds its weights beside it."""
    if path.is_dir():
        shutil.copytree(path, built)
        return
    beside = {file: built.parent / file.relative_to(path.parent) for file in kind.external_files(path)}
    for file, copy in (*zip(kind.files(path), kind.files(built), strict=True), *beside.items()):
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


@dataclass(frozen=True, repr=False)
class Stripped:
    """A lean artifact in place.

    Attributes:
        path: where it is.
        proof: the file of its goldens beside it; None where there is none.
        before, after: the bytes of its own files.
    """

    path: Path
    proof: Path | None
    before: int
    after: int

    def __str__(self) -> str:
        beside = "" if self.proof is None else f", its goldens in {self.proof}"
        return f"{self.path}: {bytes_in_words(self.before)} before, {bytes_in_words(self.after)} now{beside}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"


@in_python_words()
def strip(artifact: str | Path, *, proof: ProofPlace = "beside", output: str | Path | None = None) -> Stripped:
    """Take the goldens out of an artifact. What computes is not touched, and its checksum is taken anew.

    Args:
        artifact: its path.
        proof: where its goldens go: `beside` it, in a file with `.proof` behind its name; `none`, so that it can be
            verified with its source alone; `inside`, where they came from.
        output: where the lean one goes; in place of `artifact` by default.

    Raises:
        UsageError: it is no artifact of rnnexport, was altered, or has no goldens to put there; or the place can't be
            written.
        ProviderError: what writes the format is not installed.
    """
    if proof not in PLACES:
        raise UsageError(f"proof={proof!r}", f"one of {', '.join(PLACES)}", "change it")
    path = Path(artifact)
    require_path(path, "an artifact")
    kind, destination = target_of(path), path if output is None else Path(output)
    kind.check_destination(destination)
    own = own_proof(path, kind.read_proof(path))
    if own.place == "none" and proof != "none":
        raise without_goldens(path)
    before = size_of(kind.files(path))
    with copy_with(replace(own, place=proof), kind, path, destination):
        pass
    after = size_of(kind.files(destination))
    return Stripped(destination, proof_file(destination) if proof == "beside" else None, before, after)
