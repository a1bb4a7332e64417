"""The verdict on artifacts as one frozen value. The views of it (terminal, JSON) are in `rnnexport.report`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rnnexport.errors import EXIT_MISMATCH, EXIT_PASSED, EXIT_PROVIDER
from rnnexport.lowered import Lowered
from rnnexport.verification.compare import Comparison, Tolerance, worst

Status = Literal["passed", "mismatch", "not run"]


@dataclass(frozen=True)
class FeedReport:
    """One call of the artifact: the feed's label, and every output compared."""

    label: str
    outputs: tuple[Comparison, ...]


@dataclass(frozen=True)
class ArtifactReport:
    """One artifact on one execution provider.

    Attributes:
        artifact: its path as the user gave it.
        target: its format.
        provider: where it was asked to run.
        status: `not run` where the runtime or provider is not on this host; that is never a pass.
        truth: what it was compared with: its goldens, or the source that was given.
        tolerance: what was allowed.
        feeds: every call.
        problems: what is wrong with the file's boundary, or why it was not run.
        placement: node runs by device, where the runtime tells.
        computed_in: the layers of the source by the dtype they compute in, where the artifact records it.
        lowering: what became of each recurrence, where the artifact records it.
    """

    artifact: str
    target: str
    provider: str
    status: Status
    truth: str
    tolerance: Tolerance
    feeds: tuple[FeedReport, ...] = ()
    problems: tuple[str, ...] = ()
    placement: Mapping[str, int] = field(default_factory=dict)
    computed_in: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lowering: tuple[Lowered, ...] = ()

    @property
    def max_abs(self) -> float:
        """The largest absolute error over all feeds and outputs."""
        return worst([comparison for feed in self.feeds for comparison in feed.outputs])

    def first_problem(self) -> str:
        """The first thing that is wrong, in words; empty where nothing is."""
        if self.problems:
            return self.problems[0]
        for feed in self.feeds:
            for comparison in feed.outputs:
                if not comparison.passed:
                    return f"{comparison.name}: {comparison.problem} ({feed.label})"
        return ""


@dataclass(frozen=True)
class Report:
    """All artifacts of one command."""

    artifacts: tuple[ArtifactReport, ...]

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
