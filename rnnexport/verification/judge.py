"""Run an artifact on its goldens and judge it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from rnnexport.errors import ForeignCode, MismatchError, ProviderError, UsageError, reason
from rnnexport.goldens import Arrays, Golden, digest_of
from rnnexport.placement import Placement
from rnnexport.proof import Proof
from rnnexport.signature import Signature, TensorSpec, time_axis, timesteps
from rnnexport.targets.base import Runner, RuntimeTensor, Target
from rnnexport.verification.compare import Wanted, compare_outputs, failed, merged_by_name
from rnnexport.verification.feeds import feed_at
from rnnexport.verification.precision import precision_problems
from rnnexport.verification.report import ArtifactReport, FeedReport, Status
from rnnexport.verification.tolerance import Tolerances

_USUAL = Tolerances()
_UNCERTAINTIES = 2.0  # that of the source, and as much again of the artifact
_MOST_SLACK = 4.0  # in units of the absolute tolerance
_TOLD = 5  # nodes named in a line
Data = Callable[[], Iterator[Golden]]


@dataclass(frozen=True, eq=False)
class Claim:
    """What an artifact has to show, and who says so.

    Attributes:
        signature: what goes in and comes out.
        goldens: inputs, and what must come out for them.
        tolerances: how far it may be off.
        truth: who says so, for the report: its goldens, or the source that was given.
        no_truth: why the goldens have no float64 truth; empty where they have one.
        own: what the artifact carries, whoever the judge is; None where it carries nothing.
        data: the user's own data, opened anew by each call; told as one feed.
        data_label: what they are called in the report.
    """

    signature: Signature
    goldens: Sequence[Golden]
    tolerances: Tolerances = _USUAL
    truth: str = "goldens"
    no_truth: str = ""
    own: Proof | None = None
    data: Data | None = None
    data_label: str = ""


@dataclass(frozen=True)
class Where:
    """Where an artifact is run.

    Attributes:
        provider: the execution provider, by its short name.
        tf32: whether a GPU may round the operands of float32 products to 10 bits of mantissa.
        placement: the share of the recurrent nodes that have to run on it, from 0 to 1; None for any node at all.
    """

    provider: str = "cpu"
    tf32: bool = False
    placement: float | None = None


_HERE = Where()


def verify_artifact(target: Target, path: Path, claim: Claim, where: Where = _HERE) -> ArtifactReport:
    """Run the artifact at `path` on every golden and compare names, shapes, dtypes and values.

    The first golden is run once more at the end: an artifact that keeps something from one call to the next is wrong.
    A runtime that is missing gives a report with the status `not run`, not an error: other providers go on.

    Raises:
        UsageError: the file can't be loaded, or there is nothing to compare with.
    """
    if not claim.goldens and claim.data is None:
        raise UsageError(f"no goldens in {path.name} and no --source", "one of the two", "give --source MODEL")
    if where.provider not in target.providers:
        problem = f"{target.name} does not run on {where.provider}; it runs on {', '.join(target.providers)}"
        return not_run(target, path, where.provider, claim, problem)
    try:
        with target.runner(path, where.provider, tf32=where.tf32) as runner:
            problems = boundary_problems(runner, claim.signature, target.input_name)
            # A file with another boundary can't be fed; saying so is the verdict.
            feeds = () if problems else tuple(_feeds(runner, claim))
            placement, settings = runner.placement(), runner.settings
    except ProviderError as error:
        return not_run(target, path, where.provider, claim, str(error))
    problems += precision_problems(feeds, claim.tolerances)
    passed = not problems and all(comparison.passed for feed in feeds for comparison in feed.outputs)
    status: Status = "passed" if passed else "mismatch"
    report = replace(
        not_run(target, path, where.provider, claim),
        status=status,
        feeds=feeds,
        problems=tuple(problems),
        placement=placement,
        settings=settings,
    )
    return _placed(report, where)


def not_run(target: Target, path: Path, provider: str, claim: Claim | None, *problems: str) -> ArtifactReport:
    """The report of an artifact that this host could not run, and why."""
    claim = claim or Claim(Signature((), ()), ())
    return ArtifactReport(
        artifact=str(path),
        target=target.name,
        provider=provider,
        status="not run",
        truth=claim.truth,
        tolerances=claim.tolerances,
        problems=problems,
        provenance=None if claim.own is None else claim.own.provenance,
        no_truth=claim.no_truth,
    )


def boundary_problems(runner: Runner, signature: Signature, input_name: Callable[[str], str]) -> list[str]:
    """What the runtime shows of inputs and outputs against what the signature says, in words."""
    inputs = [(input_name(spec.name), spec) for spec in signature.all_inputs]
    outputs = [(spec.name, spec) for spec in signature.all_outputs]
    return _side("input", runner.inputs, inputs, runner.ordered) + _side(
        "output", runner.outputs, outputs, runner.ordered
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
        made = feed_at(signature, recipe.seed, recipe.index).arrays
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


def _side(
    kind: str, found: Sequence[RuntimeTensor], wanted: Sequence[tuple[str, TensorSpec]], ordered: bool
) -> list[str]:
    names, wanted_names = [tensor.name for tensor in found], [name for name, _ in wanted]
    same = names == wanted_names if ordered else sorted(names) == sorted(wanted_names)
    if not same:
        return [f"{kind}s are {names}, not {wanted_names}"]
    specs = dict(wanted)
    told = [(tensor.name, tensor.disagrees(specs[tensor.name], may_be_open=kind == "output")) for tensor in found]
    return [f"{kind} {name}: {problem}" for name, problem in told if problem]


def _feeds(runner: Runner, claim: Claim) -> Iterator[FeedReport]:
    yield from _calls(runner, claim, claim.goldens)
    if claim.goldens:
        first = claim.goldens[0]
        yield from _calls(runner, claim, [replace(first, label=f"{first.label}, again after all others")])
    if claim.data is not None:
        yield _merged(claim.data_label, _calls(runner, claim, claim.data()))


def _calls(runner: Runner, claim: Claim, goldens: Iterable[Golden]) -> Iterator[FeedReport]:
    """Each golden in turn; one that carries starts from the states that came out of the one before it."""
    before: Arrays | None = None
    for golden in goldens:
        feed = whole_feed(golden, claim.signature)
        states = claim.signature.states if golden.carries else ()
        try:
            carried = {state.input.name: (before or {})[state.output.name] for state in states}
            with ForeignCode(_refused):
                before = runner.run({**feed, **carried})
        except KeyError:
            yield _failed(golden, "the call before it gave no state to go on from")
        except MismatchError as error:
            # A runtime that can't run a feed the source runs (a batch baked in, say) is a mismatch, of every output.
            before = None
            yield _failed(golden, error.found)
        else:
            wanted = _wanted(golden, feed, claim)
            yield FeedReport(golden.label, compare_outputs(before, wanted, claim.tolerances.of))


def _wanted(golden: Golden, feed: Arrays, claim: Claim) -> Mapping[str, Wanted]:
    specs = {spec.name: spec for spec in claim.signature.all_outputs}
    length = timesteps(feed, claim.signature)
    return {
        name: Wanted(
            value,
            golden.truth.get(name),
            time_axis(specs[name], claim.signature) if name in specs else None,
            golden.kept.get(name),
            0.0 if claim.tolerances.sets(name) else _slack(value, golden.truth.get(name), claim.tolerances),
            length,
        )
        for name, value in golden.expected.items()
    }


def _slack(value: np.ndarray, truth: np.ndarray | None, tolerances: Tolerances) -> float:
    """What one value may be off by because others of its call are: no nearer to its source than that is to the truth.

    Small where a model is well conditioned, and never more than a few times the absolute tolerance.
    """
    if truth is None or not value.size:
        return 0.0
    distance = np.abs(value.astype(np.float64) - truth)
    worst = float(np.max(distance, initial=0.0, where=np.isfinite(distance)))
    return min(_UNCERTAINTIES * worst, _MOST_SLACK * tolerances.default.atol)


def _failed(golden: Golden, problem: str) -> FeedReport:
    return FeedReport(golden.label, tuple(failed(name, problem) for name in golden.expected))


def _merged(label: str, calls: Iterator[FeedReport]) -> FeedReport:
    """All calls as one, at constant memory.

    Raises:
        UsageError: there was no call.
    """
    merged = merged_by_name(chain.from_iterable(call.outputs for call in calls))
    if not merged:
        raise UsageError(f"no rows in {label}", "at least one", "change --data")
    return FeedReport(label, tuple(merged.values()))


def _placed(report: ArtifactReport, where: Where) -> ArtifactReport:
    """The report, `not run` where it passed and the nodes ran elsewhere: no verdict on the provider that was asked for.

    A mismatch stays one, wherever it was computed.
    """
    problem = _elsewhere(report.placement, where)
    if report.status != "passed" or not problem:
        return report
    return replace(report, status="not run", problems=(problem,))


def _elsewhere(placement: Placement | None, where: Where) -> str:
    """Why what ran does not count as a run on the provider; empty where it does."""
    if placement is None:
        return ""
    if not placement.counts().get(where.provider):
        told = ", ".join(f"{name} {count}" for name, count in placement.counts().items())
        return f"no node ran on {where.provider}: {told}"
    if where.placement is None:
        return ""
    if placement.opaque:
        told = ", ".join(node.name for node in placement.opaque)
        return f"it can't be told whether recurrent nodes ran on {where.provider}: it compiled {told}"
    recurrent = placement.recurrent_share(where.provider)
    share, kind = (placement.share(where.provider), "nodes") if recurrent is None else (recurrent, "recurrent nodes")
    if share >= where.placement:
        return ""
    nodes = placement.elsewhere(where.provider) if recurrent is None else placement.recurrent
    others = [f"{node.name} ({node.operator}) on {node.provider}" for node in nodes if node.provider != where.provider]
    told = ", ".join(others[:_TOLD]) + (f" and {len(others) - _TOLD} more" if len(others) > _TOLD else "")
    return f"{share:.0%} of the {kind} ran on {where.provider}, not {where.placement:.0%}: {told}"


def _refused(error: BaseException) -> MismatchError:
    return MismatchError(f"the runtime raised {reason(error)}", "a result", "export it again")
