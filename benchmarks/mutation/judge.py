"""A mutant to a verdict: what a user's `rnnexport verify` says of it, and where that passes, what the truth says."""

from __future__ import annotations

import math
import shutil
import tempfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np
import onnx

from benchmarks.mutation.changes import Change, changes_of
from benchmarks.mutation.faults import FAULTS
from benchmarks.mutation.subjects import FORMS, OTHERS, Artifact, prepare
from benchmarks.mutation.truth import Figures, Runs, figures, run_all
from benchmarks.mutation.view import mutants
from rnnexport.api.expectations import Requested, expectation_of
from rnnexport.artifact.checksum import sealed
from rnnexport.artifact.goldens import Golden
from rnnexport.core.errors import MismatchError, UsageError
from rnnexport.targets.base import Target
from rnnexport.verification.precision import precision
from rnnexport.verification.report import ArtifactReport
from rnnexport.verification.run_artifact import Expectation, verify_artifact
from rnnexport.verification.tolerance import Override, Tolerance, Tolerances

# The kinds of faults: those of ONNX files, and one that is seen in other artifacts alone.
KINDS = (*FAULTS, "sign of a sum")
Answer = Literal["caught", "equal", "missed", "refused"]


@dataclass(frozen=True)
class Verdict:
    """What became of one mutant.

    Attributes:
        artifact: the name of what it was made of.
        fault: the kind.
        where: the place.
        answer: `caught` by verification; `equal` to the original by the float64 truth; `missed`; or `refused` by the
            runtime, so that it is no file of a converter and says nothing.
        how: what verification said.
        figures: of those that it passed.
        precision: of those, how far it is from the truth by verification's own measure, see `precision_of`.
    """

    artifact: str
    fault: str
    where: str
    answer: Answer
    how: str = ""
    figures: Figures | None = None
    precision: float = math.nan


@dataclass(frozen=True)
class Judged:
    """All verdicts on one artifact.

    Attributes:
        name: of the artifact.
        verdicts: of its mutants.
        calm: how many verifications the unmutated artifact passed, on its goldens and on fresh calls.
        alarms: what those said that it did not pass.
        precision: the largest of those verifications, see `precision_of`.
    """

    name: str
    verdicts: tuple[Verdict, ...]
    calm: int
    alarms: tuple[str, ...]
    precision: float

    def counts(self) -> Counter[Answer]:
        """How many mutants became what."""
        return Counter(verdict.answer for verdict in self.verdicts)


def write(model: onnx.ModelProto, path: Path) -> None:
    """Write a mutant with the seal of its own bytes."""
    path.write_bytes(sealed(model.SerializeToString(deterministic=True)))


def copied_to(folder: Path, kind: Target, path: Path) -> Path:
    """A copy of an artifact, of all its files, in a folder where the one before it may lie."""
    for file in kind.files(path):
        place = folder / file.name
        if place.is_dir():
            shutil.rmtree(place)
        (shutil.copytree if file.is_dir() else shutil.copy)(file, place)
    return folder / path.name


def judge_subject(
    name: str,
    faults: Sequence[str],
    folder: Path,
    seeds: int,
    forms: Sequence[str] = (*FORMS, *OTHERS),
    at_most: int | None = None,
) -> list[Judged]:
    """Judge every artifact of a subject. See `subjects.prepare`, `judge`, and `KINDS` for the names of faults."""
    return [judge(artifact, faults, at_most) for artifact in prepare(name, folder, seeds, forms)]


def judge(artifact: Artifact, faults: Sequence[str], at_most: int | None = None) -> Judged:
    """Verify the artifact on its goldens and on fresh calls, and of each kind all mutants or so many."""
    calls = {"its goldens": artifact.proof.goldens} | {f"seed {at}": some for at, some in enumerate(artifact.fresh)}
    reports = {of: unmutated(artifact, goldens) for of, goldens in calls.items()}
    alarms = tuple(f"{of}: {one.first_problem()}" for of, one in reports.items() if one.status != "passed")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(artifact, Path(folder))
        verdicts = tuple(bench.verdict(change) for change in drawn(artifact, changes(artifact, faults), at_most))
    largest = max(map(precision_of, reports.values()))
    return Judged(artifact.name, verdicts, len(reports) - len(alarms), alarms, largest)


def drawn(artifact: Artifact, found: Iterable[Change], at_most: int | None) -> Iterator[Change]:
    """So many of each kind, at random, the same ones each time; all of them without a number."""
    if at_most is None:
        yield from found
        return
    by_fault: dict[str, list[Change]] = defaultdict(list)
    for change in found:
        by_fault[change.fault].append(change)
    for fault, some in by_fault.items():
        order = np.random.default_rng(zlib.crc32(f"{artifact.name} {fault}".encode())).permutation(len(some))
        yield from (some[at] for at in sorted(order[:at_most]))


def changes(artifact: Artifact, faults: Sequence[str]) -> Iterator[Change]:
    """Every change of the artifact that is of one of these kinds."""
    if artifact.target.name != "onnx":
        yield from (one for one in changes_of(artifact.target.name, artifact.path) if one.fault in faults)
        return
    model = onnx.load(artifact.path)
    for name in faults:
        for mutant in mutants(model, FAULTS[name]) if name in FAULTS else ():
            yield Change(name, mutant.where, partial(write, mutant.model))


def unmutated(artifact: Artifact, goldens: Sequence[Golden]) -> ArtifactReport:
    """What verification says of the artifact itself on other calls than its own."""
    known = artifact.proof.provenance
    expectation = Expectation(
        known.signature, goldens, Tolerances(Tolerance(**known.tolerance)), no_truth=known.no_truth
    )
    return verify_artifact(artifact.target, artifact.path, expectation)


def precision_of(report: ArtifactReport) -> float:
    """How many times as far from the truth as the source: verification's own measure, of the worst output."""
    calls = [one for feed in report.feeds for one in feed.outputs]
    found = [precision([one for one in calls if one.name == name]) for name in {one.name for one in calls}]
    return max((max(one.whole, one.unit) for one in found if one is not None), default=math.nan)


class Bench:
    """Judges the mutants of one artifact, as `rnnexport verify` does of one whose seal is whole.

    Args:
        artifact: the original.
        folder: where mutants are written, one at a time.
    """

    def __init__(self, artifact: Artifact, folder: Path) -> None:
        self._artifact, self._kind, self._folder = artifact, artifact.target, folder
        self._calls = [golden for seed in artifact.fresh for golden in seed]
        self._tolerance = Tolerance(**artifact.proof.provenance.tolerance)
        self._original: Runs | None = None

    @cached_property
    def _expectation(self) -> Expectation:
        expectation = expectation_of(self._kind, self._artifact.path, Requested(None, None, Override()))
        assert isinstance(expectation, Expectation), expectation
        return expectation

    def verdict(self, change: Change) -> Verdict:
        """A verdict on the artifact with that change."""

        def verdict(answer: Answer, how: str, found: Figures | None = None) -> Verdict:
            return Verdict(self._artifact.name, change.fault, change.where, answer, how, found)

        path = copied_to(self._folder, self._kind, self._artifact.path)
        change.apply(path)
        try:
            report = verify_artifact(self._kind, path, self._expectation)
        except UsageError as error:
            return verdict("refused", error.found)
        if report.status != "passed":
            return verdict("caught", report.first_problem())
        try:
            outputs = run_all(self._kind, path, self._calls)
            found = figures(self._artifact.fresh, self._of_original(), outputs, self._tolerance)
        except MismatchError as error:
            return verdict("missed", error.found)
        made = verdict("equal" if found.equal else "missed", "passed", found)
        return replace(made, precision=precision_of(report))

    def _of_original(self) -> Runs:
        if self._original is None:
            self._original = run_all(self._kind, self._artifact.path, self._calls)
        return self._original
