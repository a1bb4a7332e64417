"""A mutant to a verdict: what a user's `rnnexport verify` says of it, and where that passes, what the truth says."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import onnx

import rnnexport
from benchmarks.mutation.faults import FAULTS
from benchmarks.mutation.subjects import Artifact, prepare
from benchmarks.mutation.truth import Figures, Runs, figures, run_all
from benchmarks.mutation.view import Fault, Mutant, mutants
from rnnexport.errors import MismatchError, UsageError
from rnnexport.goldens import Golden
from rnnexport.seal import sealed
from rnnexport.targets.registry import target
from rnnexport.verification.judge import Claim, verify_artifact
from rnnexport.verification.precision import precision
from rnnexport.verification.report import ArtifactReport
from rnnexport.verification.tolerance import Tolerance, Tolerances

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
        calm: how many fresh verifications the unmutated artifact passed.
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
    """Write a mutant with the seal of its own bytes, so that it is the comparison that has to find the fault."""
    path.write_bytes(sealed(model.SerializeToString(deterministic=True)))


def judge_subject(name: str, faults: Sequence[str], folder: Path, seeds: int) -> list[Judged]:
    """Judge every artifact of a subject. See `subjects.prepare`, and `FAULTS` for the names of faults."""
    return [judge(artifact, {fault: FAULTS[fault] for fault in faults}) for artifact in prepare(name, folder, seeds)]


def judge(artifact: Artifact, faults: Mapping[str, Fault]) -> Judged:
    """Verify the artifact on fresh feeds, and every mutant of it from its goldens."""
    reports = [unmutated(artifact, goldens) for goldens in artifact.fresh]
    alarms = tuple(f"seed {seed}: {one.first_problem()}" for seed, one in enumerate(reports) if one.status != "passed")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(artifact, Path(folder))
        verdicts = tuple(verdict for name, fault in faults.items() for verdict in bench.verdicts(name, fault))
    largest = max(map(precision_of, reports))
    return Judged(artifact.name, verdicts, len(artifact.fresh) - len(alarms), alarms, largest)


def unmutated(artifact: Artifact, goldens: Sequence[Golden]) -> ArtifactReport:
    """What verification says of the artifact itself on other calls than its own."""
    known = artifact.proof.provenance
    claim = Claim(known.signature, goldens, Tolerances(Tolerance(**known.tolerance)), no_truth=known.no_truth)
    return verify_artifact(target("onnx"), artifact.path, claim)


def precision_of(report: ArtifactReport) -> float:
    """How many times as far from the truth as the source: verification's own measure, of the worst output."""
    calls = [one for feed in report.feeds for one in feed.outputs]
    found = [precision([one for one in calls if one.name == name]) for name in {one.name for one in calls}]
    return max((max(one.whole, one.unit) for one in found if one is not None), default=math.nan)


class Bench:
    """Judges the mutants of one artifact.

    Args:
        artifact: the original.
        folder: where mutants are written, one at a time.
    """

    def __init__(self, artifact: Artifact, folder: Path) -> None:
        self._artifact, self._path = artifact, folder / "mutant.onnx"
        self._model = onnx.load(artifact.path)
        self._calls = [golden for seed in artifact.fresh for golden in seed]
        self._tolerance = Tolerance(**artifact.proof.provenance.tolerance)
        self._original: Runs | None = None

    def verdicts(self, name: str, fault: Fault) -> Iterator[Verdict]:
        """A verdict on each mutant that `fault` makes."""
        for mutant in mutants(self._model, fault):
            yield self._verdict(name, mutant)

    def _verdict(self, name: str, mutant: Mutant) -> Verdict:
        def verdict(answer: Answer, how: str, found: Figures | None = None) -> Verdict:
            return Verdict(self._artifact.name, name, mutant.where, answer, how, found)

        write(mutant.model, self._path)
        try:
            (report,) = rnnexport.verify(self._path).artifacts
        except UsageError as error:
            return verdict("refused", error.found)
        if report.status != "passed":
            return verdict("caught", report.first_problem())
        try:
            outputs = run_all(self._path, self._calls)
            found = figures(self._artifact.fresh, self._of_original(), outputs, self._tolerance)
        except MismatchError as error:
            return verdict("missed", error.found)
        made = verdict("equal" if found.equal else "missed", "passed", found)
        return replace(made, precision=precision_of(report))

    def _of_original(self) -> Runs:
        if self._original is None:
            self._original = run_all(self._artifact.path, self._calls)
        return self._original
