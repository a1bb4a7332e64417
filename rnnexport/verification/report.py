"""The verdict on artifacts as one frozen value. The views of it are in `rnnexport.report`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rnnexport.artifact.provenance import Provenance
from rnnexport.core.coverage import Coverage
from rnnexport.core.errors import EXIT_MISMATCH, EXIT_PASSED, EXIT_PROVIDER
from rnnexport.core.lowering import LoweringDecision
from rnnexport.core.placement import Placement
from rnnexport.core.run_record import FileRecord, RunRecord
from rnnexport.verification.compare import Comparison, merged_by_name, worst
from rnnexport.verification.tolerance import Tolerances

_COVERAGE = Coverage()
_NAMED = 4  # artifacts that the text of a report names
Status = Literal["passed", "mismatch", "not run"]
FeedKind = Literal["golden", "derived", "data"]


# What is wrong: it was not run, or ended; its signatures; the wiring of states; where it ran; how precise it is over
# all feeds; no value was compared.
ProblemKind = Literal["run", "boundary", "states", "placement", "precision", "values"]


@dataclass(frozen=True)
class Problem:
    """What is wrong with an artifact as a whole.

    Attributes:
        kind: with what.
        text: what was found and what was expected, in words.
    """

    kind: ProblemKind
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class FeedReport:
    """One call of the artifact, or all calls of one file of data, or of one long sequence: every output compared.

    Attributes:
        label: what was fed.
        outputs: one comparison each.
        steps: how many timesteps of a long sequence these are, call by call; 0 for what is none.
        kind: a golden, what is derived from goldens, or the user's data.
        entry: the signature of the artifact that was called; empty for the main one.
    """

    label: str
    outputs: tuple[Comparison, ...]
    steps: int = 0
    kind: FeedKind = "golden"
    entry: str = ""


@dataclass(frozen=True)
class Located:
    """Where an artifact departs from its source first.

    Attributes:
        sentence: the layer, recurrence, output, timestep and unit, in words.
        columns: the titles of the table.
        rows: what was compared inside the artifact, in the order it is computed.
    """

    sentence: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, repr=False)
class ArtifactReport:
    """One artifact on one execution provider.

    Attributes:
        artifact: its path as the user gave it.
        target: its format.
        provider: where it was asked to run.
        status: `not run` where the runtime or provider is not on this host; that is never a pass.
        truth: what it was compared with: its goldens, or the source that was given.
        tolerances: what was allowed.
        feeds: every call.
        problems: what is wrong with the artifact as a whole, or why it was not run.
        placement: where each node ran, where the runtime tells.
        settings: how the provider was set, as far as it changes numbers: `{"tf32": "off"}`.
        located: where a mismatch begins, where that could be found.
        provenance: what the artifact says of itself; None where it says nothing.
        no_truth: why there is no float64 truth to measure by; empty where there is one.
        coverage: what the feeds reach.
        no_witness: why a single reading of the source gave that truth; empty where two agree, or there is none.
        files: of the artifact, with their digests; none where nobody asked.
        data: a digest of the headers of the user's data; empty where there are none.
    """

    artifact: str
    target: str
    provider: str
    status: Status
    truth: str
    tolerances: Tolerances
    feeds: tuple[FeedReport, ...] = ()
    problems: tuple[Problem, ...] = ()
    placement: Placement | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    located: Located | None = None
    provenance: Provenance | None = None
    no_truth: str = ""
    coverage: Coverage = _COVERAGE
    no_witness: str = ""
    files: tuple[FileRecord, ...] = ()
    data: str = ""

    def __repr__(self) -> str:
        problem = f", {self.first_problem()}" if self.status != "passed" else f", max abs error {self.max_abs:.1e}"
        return f"<{type(self).__name__} {self.artifact} on {self.provider}: {self.status}{problem}>"

    @property
    def max_abs(self) -> float:
        """The largest absolute error over all feeds and outputs."""
        return worst([comparison for feed in self.feeds for comparison in feed.outputs])

    @property
    def computed_in(self) -> Mapping[str, tuple[str, ...]]:
        """The layers of the source by the dtype they compute in, where the artifact records it."""
        return {} if self.provenance is None else self.provenance.computed_in

    @property
    def lowering(self) -> tuple[LoweringDecision, ...]:
        """What became of each recurrence, where the artifact records it."""
        return () if self.provenance is None else self.provenance.lowering

    def outputs(self) -> tuple[Comparison, ...]:
        """Every output over all feeds."""
        return tuple(merged_by_name(comparison for feed in self.feeds for comparison in feed.outputs).values())

    def first_problem(self) -> str:
        """The first thing that is wrong, in words; empty where nothing is. A fault with a name goes before values."""
        named = [problem.text for problem in self.problems if problem.kind == "states"]
        if named:
            return named[0]
        for feed in self.feeds:
            for comparison in feed.outputs:
                if not comparison.passed:
                    return f"{comparison.name}: {comparison.problem} ({feed.label})"
        return self.problems[0].text if self.problems else ""


@dataclass(frozen=True, repr=False)
class Report:
    """All artifacts of one command.

    Attributes:
        artifacts: each artifact on each provider.
        run: when, where and with what; None where nobody asked.
    """

    artifacts: tuple[ArtifactReport, ...]
    run: RunRecord | None = None

    def __repr__(self) -> str:
        told = "; ".join(f"{item.artifact} on {item.provider} {item.status}" for item in self.artifacts[:_NAMED])
        more = f"; {len(self.artifacts) - _NAMED} more" if len(self.artifacts) > _NAMED else ""
        return f"<{type(self).__name__} {'passed' if self.passed else 'not passed'}: {told or 'nothing'}{more}>"

    @property
    def passed(self) -> bool:
        """Whether everything ran and agreed. Nothing at all is no pass."""
        return bool(self.artifacts) and all(item.status == "passed" for item in self.artifacts)

    @property
    def exit_code(self) -> int:
        """0 passed, 1 a mismatch, else 4: something was not run. A mismatch outweighs what was not run."""
        if self.passed:
            return EXIT_PASSED
        mismatch = not self.artifacts or any(item.status == "mismatch" for item in self.artifacts)
        return EXIT_MISMATCH if mismatch else EXIT_PROVIDER
