"""Run an artifact on its goldens and judge it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rnnexport.errors import ForeignCode, MismatchError, ProviderError, UsageError, reason
from rnnexport.proof import Golden
from rnnexport.signature import Signature, TensorSpec
from rnnexport.targets.base import Runner, RuntimeTensor, Target
from rnnexport.verification.compare import Tolerance, compare_outputs, failed
from rnnexport.verification.report import ArtifactReport, FeedReport, Status


def verify_artifact(
    target: Target,
    path: Path,
    signature: Signature,
    goldens: Sequence[Golden],
    *,
    provider: str = "cpu",
    tolerance: Tolerance | None = None,
    truth: str = "goldens",
) -> ArtifactReport:
    """Run the artifact at `path` on every golden and compare names, shapes, dtypes and values.

    A runtime that is missing gives a report with the status `not run`, not an error: other providers go on.

    Raises:
        UsageError: the file can't be loaded, or there are no goldens.
    """
    tolerance = tolerance or Tolerance()
    if not goldens:
        raise UsageError(f"no goldens in {path.name} and no --source", "one of the two", "give --source MODEL")
    if provider not in target.providers:
        problem = f"{target.name} does not run on {provider}; it runs on {', '.join(target.providers)}"
        return not_run(target, path, provider, truth, tolerance, problem)
    try:
        with target.runner(path, provider) as runner:
            problems = boundary_problems(runner, signature, target.input_name)
            # A file with another boundary can't be fed; saying so is the verdict.
            feeds = () if problems else tuple(_call(runner, golden, tolerance) for golden in goldens)
            placement = dict(runner.placement())
    except ProviderError as error:
        return not_run(target, path, provider, truth, tolerance, str(error))
    if placement and not problems and provider not in placement:
        where = ", ".join(f"{name} {count}" for name, count in sorted(placement.items()))
        return not_run(target, path, provider, truth, tolerance, f"no node ran on {provider}: {where}")
    passed = not problems and all(comparison.passed for feed in feeds for comparison in feed.outputs)
    status: Status = "passed" if passed else "mismatch"
    return ArtifactReport(str(path), target.name, provider, status, truth, tolerance, feeds, tuple(problems), placement)


def boundary_problems(runner: Runner, signature: Signature, input_name: Callable[[str], str]) -> list[str]:
    """What the runtime shows of inputs and outputs against what the signature says, in words."""
    inputs = [(input_name(spec.name), spec) for spec in signature.all_inputs]
    outputs = [(spec.name, spec) for spec in signature.all_outputs]
    return _side("input", runner.inputs, inputs, runner.ordered) + _side(
        "output", runner.outputs, outputs, runner.ordered
    )


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


def _call(runner: Runner, golden: Golden, tolerance: Tolerance) -> FeedReport:
    try:
        with ForeignCode(_refused):
            found = runner.run(golden.feed)
    except MismatchError as error:
        # A runtime that can't run a feed the source runs (a batch baked in, say) is a mismatch, of every output.
        return FeedReport(golden.label, tuple(failed(name, error.found) for name in golden.expected))
    return FeedReport(golden.label, compare_outputs(found, golden.expected, tolerance))


def _refused(error: BaseException) -> MismatchError:
    return MismatchError(f"the runtime raised {reason(error)}", "a result", "export it again")


def not_run(
    target: Target, path: Path, provider: str, truth: str, tolerance: Tolerance, problem: str
) -> ArtifactReport:
    """The report of an artifact that this host could not run, and why."""
    return ArtifactReport(str(path), target.name, provider, "not run", truth, tolerance, problems=(problem,))
