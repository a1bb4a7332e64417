"""Run an artifact on its goldens and judge it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rnnexport.artifact.goldens import Arrays, Golden, digest_of
from rnnexport.artifact.provenance import Proof
from rnnexport.core.coverage import Coverage
from rnnexport.core.errors import MismatchError, ProviderError, UsageError
from rnnexport.core.signature import Signature
from rnnexport.core.user_data import Shard
from rnnexport.isolation.runner import opened
from rnnexport.targets.base import INITIAL_STATE, SIGNATURE, Runner, Target
from rnnexport.verification.domain import Domain
from rnnexport.verification.entry_point import Entry, merged
from rnnexport.verification.feeds import feed_at
from rnnexport.verification.report import ArtifactReport, FeedReport, Problem
from rnnexport.verification.tolerance import Tolerances
from rnnexport.verification.verdict import (
    agree,
    boundary_problems,
    other_boundaries,
    other_problems,
    problems_of,
    status_of,
    with_placement,
)
from rnnexport.verification.where import Where

# What only states, or a mismatch of theirs, ask for is imported where it is called: verifying is to start quickly.
if TYPE_CHECKING:
    from rnnexport.verification.rollout import Steps

_USUAL = Tolerances()
_COVERAGE = Coverage()
Data = Callable[[], Iterator[Golden]]


@dataclass(frozen=True, eq=False)
class Expectation:
    """What an artifact has to show, and who says so.

    Attributes:
        signature: what goes in and comes out.
        goldens: inputs, and what must come out for them.
        tolerances: how far it may be off.
        truth: who says so, for the report: its goldens, or the source that was given.
        no_truth: why the goldens have no float64 truth; empty where they have one.
        coverage: what they reach.
        no_witness: why a single reading of the source gave that truth; empty where two agree, or there is none.
        own: what the artifact carries, whoever the judge is; None where it carries nothing.
        data: the user's own data, opened anew by each call; told as one feed.
        data_label: what they are called in the report.
        fingerprint: a digest of their headers.
        shard: the part of them that `data` gives, None for all. What is no data is run with the first.
        sequence: of a stream, the boundary of the model on whole sequences; None for what is no stream.
        steps: a long sequence to follow it along besides; None for none.
    """

    signature: Signature
    goldens: Sequence[Golden]
    tolerances: Tolerances = _USUAL
    truth: str = "goldens"
    no_truth: str = ""
    coverage: Coverage = _COVERAGE
    no_witness: str = ""
    own: Proof | None = None
    data: Data | None = None
    data_label: str = ""
    fingerprint: str = ""
    shard: Shard | None = None
    sequence: Signature | None = None
    steps: Steps | None = None

    def boundary_of(self, entry: str) -> Signature:
        """What goes in and comes out of that signature of the artifact; of the main one for an empty name."""
        return self.sequence if entry and self.sequence is not None else self.signature

    def called(self, entry: str) -> Iterator[Golden]:
        """The goldens of that signature, with their whole feeds. Raises as `whole_feed`."""
        for golden in self.goldens:
            if golden.entry == entry:
                yield replace(golden, feed=whole_feed(golden, self.boundary_of(entry)))


_HERE = Where()


def verify_artifact(target: Target, path: Path, expectation: Expectation, where: Where = _HERE) -> ArtifactReport:
    """Run the artifact at `path` on every golden and compare names, shapes, dtypes and values.

    The first golden is run once more at the end: an artifact that keeps something from one call to the next is wrong.
    A runtime that is missing gives a report with the status `not run`, not an error: other providers go on.

    Raises:
        UsageError: the file can't be loaded, or there is nothing to compare with.
        CrashError: it ended the process that ran it, or went over one of its limits.
    """
    if not expectation.goldens and expectation.data is None:
        raise UsageError(f"no goldens in {path.name} and no --source", "one of the two", "give --source MODEL")
    if where.provider not in target.providers:
        problem = f"{target.name} does not run on {where.provider}; it runs on {', '.join(target.providers)}"
        return not_run(target, path, where.provider, expectation, problem)
    tolerances = replace(expectation.tolerances, kernels=target.kernels(path))
    expectation = replace(expectation, tolerances=tolerances)
    try:
        with opened(target, path, where.provider, where.tf32, where.limits) as runner:
            boundary = _boundaries(runner, expectation, target.input_name)
            # A file with another boundary can't be fed; saying so is the verdict.
            ran = _AllCalls() if boundary else _ran(runner, expectation)
            placement, settings = runner.placement(), runner.settings
    except ProviderError as error:
        return not_run(target, path, where.provider, expectation, str(error))
    report = replace(not_run(target, path, where.provider, expectation), feeds=ran.feeds)
    problems = problems_of(report, boundary, ran.wiring)
    status = status_of(problems, ran.feeds)
    report = replace(report, status=status, problems=problems, placement=placement, settings=settings)
    return with_placement(report, where.provider, where.placement)


def not_run(
    target: Target, path: Path, provider: str, expectation: Expectation | None, *problems: str
) -> ArtifactReport:
    """The report of an artifact that this host could not run, and why."""
    expectation = expectation or Expectation(Signature((), ()), ())
    return ArtifactReport(
        artifact=str(path),
        target=target.name,
        provider=provider,
        status="not run",
        truth=expectation.truth,
        tolerances=expectation.tolerances,
        problems=tuple(Problem("run", text) for text in problems),
        provenance=None if expectation.own is None else expectation.own.provenance,
        no_truth=expectation.no_truth,
        coverage=expectation.coverage,
        no_witness=expectation.no_witness,
        data=expectation.fingerprint,
    )


def whole_feed(golden: Golden, signature: Signature) -> Arrays:
    """The feed of a golden with the inputs that are made again, because they were too large to be kept.

    Raises:
        UsageError: this NumPy makes other numbers than the one it was exported with.
    """
    recipe = golden.recipe
    if recipe is None or not recipe.digests:
        return golden.feed
    try:
        made = feed_at(signature, recipe.seed, recipe.index, Domain.from_json(recipe.domain)).arrays
    except (LookupError, ValueError, TypeError) as error:
        raise UsageError(
            f"the feed {golden.label!r} can't be made ({error})", "one of the plan", "export it again"
        ) from error
    for name, digest in recipe.digests.items():
        if name not in made or digest_of(made[name]) != digest:
            raise UsageError(
                f"input {name} of the feed {golden.label!r} can't be made again by NumPy {np.__version__}",
                "the generator it was exported with",
                "give --source MODEL, or use the NumPy that the provenance names",
            )
    return {**golden.feed, **{name: made[name] for name in recipe.digests}}


def _boundaries(runner: Runner, expectation: Expectation, input_name: Callable[[str], str]) -> list[str]:
    """What is wrong with the boundary of each signature, and which there are not, in words."""
    problems = boundary_problems(runner, expectation.signature, input_name)
    problems += other_problems(runner, expectation.signature, expectation.sequence, input_name)
    called = dict.fromkeys(golden.entry for golden in expectation.goldens if golden.entry)
    return problems + [f"no signature {entry}, which goldens call" for entry in called if entry not in runner.entries]


@dataclass(frozen=True)
class _AllCalls:
    """All calls of an artifact.

    Attributes:
        main: of its main signature.
        others: of each other signature.
        derived: those that call for no golden of their own.
        last: of the main one again.
        wiring: what is wrong with the wiring of states; empty where nothing is known to be.
    """

    main: tuple[FeedReport, ...] = ()
    others: tuple[tuple[str, tuple[FeedReport, ...]], ...] = ()
    derived: tuple[FeedReport, ...] = ()
    last: tuple[FeedReport, ...] = ()
    wiring: str = ""

    @property
    def feeds(self) -> tuple[FeedReport, ...]:
        others = (replace(feed, entry=entry) for entry, feeds in self.others for feed in feeds)
        return (*self.main, *others, *(replace(feed, kind="derived") for feed in self.derived), *self.last)


def _ran(runner: Runner, expectation: Expectation) -> _AllCalls:
    own = Entry(runner, expectation.signature, expectation.tolerances)
    if expectation.shard is not None and expectation.shard.index > 1:  # all but the data is for the first shard
        return _AllCalls(last=tuple(_data(own, expectation)))
    main = tuple(own.reports(expectation.called("")))
    wiring = "" if agree(main) or not expectation.signature.states else _wiring(own, expectation)
    others = []
    for name in dict.fromkeys(golden.entry for golden in expectation.goldens if golden.entry):
        entry = Entry(runner.at(name), expectation.boundary_of(name), expectation.tolerances)
        others.append((name, tuple(_labelled(name, feed) for feed in entry.reports(expectation.called(name)))))
    return _AllCalls(main, tuple(others), tuple(_derived(own, expectation)), tuple(_last(own, expectation)), wiring)


def _labelled(entry: str, feed: FeedReport) -> FeedReport:
    return replace(feed, label=f"{entry}: {feed.label}")


def _derived(own: Entry, expectation: Expectation) -> Iterator[FeedReport]:
    """What an artifact with states, or a stream, has to show beside its goldens."""
    if not expectation.signature.states and expectation.sequence is None:
        return
    from rnnexport.verification.states import initial_report, stream_reports

    boundaries = other_boundaries(own.runner, expectation.signature, expectation.sequence)
    if INITIAL_STATE in boundaries:
        initial = Entry(own.runner.at(INITIAL_STATE), boundaries[INITIAL_STATE], expectation.tolerances)
        yield initial_report(initial, expectation.signature.states)
    if boundaries.get(SIGNATURE) is expectation.signature:
        same = Entry(own.runner.at(SIGNATURE), expectation.signature, expectation.tolerances)
        yield from (_labelled(SIGNATURE, feed) for feed in same.reports(_first(expectation)))
    if expectation.sequence is not None:
        yield from stream_reports(own, list(expectation.called("")))


def _last(own: Entry, expectation: Expectation) -> Iterator[FeedReport]:
    """The first golden once more, then the user's data as one call, then a long sequence as one."""
    for golden in _first(expectation):
        yield from own.reports([replace(golden, label=f"{golden.label}, again after all others")])
    yield from _data(own, expectation)
    if expectation.steps is not None:
        from rnnexport.verification.rollout import follow

        yield follow(own, expectation.steps)


def _data(own: Entry, expectation: Expectation) -> Iterator[FeedReport]:
    """The user's data as one call; one without outputs for a shard where there are fewer pieces than shards.

    Raises:
        UsageError: there are no data in what the user gave.
    """
    if expectation.data is not None:
        report = merged(expectation.data_label, own.reports(expectation.data()))
        if not report.outputs and expectation.shard is None:
            raise UsageError(f"no rows in {expectation.data_label}", "at least one", "change --data")
        yield replace(report, kind="data")


def _first(expectation: Expectation) -> Iterator[Golden]:
    return islice(expectation.called(""), 1)


def _wiring(own: Entry, expectation: Expectation) -> str:
    """What is wrong with the wiring of states, by running the goldens once more."""
    from rnnexport.verification.diagnosis.state_wiring import Observed, Wiring

    def run(feed: Arrays) -> Arrays | None:
        try:
            return own.run(feed)
        except MismatchError:
            return None

    goldens = [golden for golden in expectation.called("") if not golden.carries]
    found = [(golden, run(golden.feed)) for golden in goldens]
    calls = [Observed(golden.feed, one, own.wanted(golden)) for golden, one in found if one is not None]
    return Wiring(expectation.signature, calls, run, expectation.tolerances.of).problem()
