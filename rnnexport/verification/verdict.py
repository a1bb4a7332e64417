"""From the comparisons of all calls to the verdict: what is wrong with an artifact as a whole. Pure functions.

What the runtime shows of an artifact's signatures against what they have to be.

Whether what ran counts as a run on the execution provider that was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

from rnnexport.core.placement import Placement
from rnnexport.core.signature import BATCH, Signature, TensorSpec, argument_name
from rnnexport.targets.base import BATCH_ARGUMENT, INITIAL_STATE, SIGNATURE, STEP, Runner, RuntimeTensor
from rnnexport.verification.compare import merged_by_name
from rnnexport.verification.feeds import REQUIRED
from rnnexport.verification.precision import precision_problems
from rnnexport.verification.report import ArtifactReport, FeedReport, Problem, ProblemKind, Status

_TOLD = 5  # nodes named in a line


def agree(feeds: Sequence[FeedReport]) -> bool:
    """Whether every output of every call passed."""
    return all(comparison.passed for feed in feeds for comparison in feed.outputs)


def problems_of(report: ArtifactReport, boundary: Sequence[str] = (), wiring: str = "") -> tuple[Problem, ...]:
    """What is wrong with an artifact besides single calls.

    Args:
        report: with its calls, its tolerances and its provenance.
        boundary: what is wrong with its boundary, in words.
        wiring: what is wrong with the wiring of states; empty where nothing is known to be.
    """
    found: tuple[tuple[ProblemKind, Sequence[str]], ...] = (
        ("boundary", boundary),
        ("states", [wiring] if wiring else []),
        # A source in float64 is nearer to the truth than any right artifact that is not.
        ("precision", [] if _is_narrower(report) else _precision(report)),
        ("values", _not_compared(report.feeds)),
    )
    return tuple(Problem(kind, text) for kind, texts in found for text in texts)


def status_of(problems: Sequence[Problem], feeds: Sequence[FeedReport]) -> Status:
    """The verdict on what was run."""
    return "passed" if not problems and agree(feeds) else "mismatch"


def _is_narrower(report: ArtifactReport) -> bool:
    """Whether the artifact was cast, from nothing narrower than it is."""
    if report.provenance is None or not report.provenance.options.get("cast"):
        return False
    dtypes = {*report.computed_in}
    return dtypes != {"float32"} and not {"float16", "bfloat16"} & dtypes


def _precision(report: ArtifactReport) -> list[str]:
    """Of each signature for itself, as each may have a fault of its own; of few calls it says nothing."""
    counted = [feed for feed in report.feeds if feed.kind != "derived"]
    found_in = partial(precision_problems, tolerances=report.tolerances)
    problems = found_in([feed for feed in counted if not feed.entry])
    for entry in dict.fromkeys(feed.entry for feed in counted if feed.entry):
        own = [feed for feed in counted if feed.entry == entry]
        found = found_in(own) if len(own) >= REQUIRED else []
        problems += [f"{problem} (signature {entry})" for problem in found]
    return problems


def _not_compared(feeds: Sequence[FeedReport]) -> list[str]:
    """The outputs of which no call had a value to compare, in words: all were empty, or NaN."""
    outputs = merged_by_name(chain.from_iterable(feed.outputs for feed in feeds))
    return [
        f"no value of output {one.name} was compared" for one in outputs.values() if one.passed and not one.errors.count
    ]


def boundary_problems(runner: Runner, signature: Signature, input_name: Callable[[str], str]) -> list[str]:
    """What the runtime shows of inputs and outputs against what the signature says, in words."""
    inputs = [(input_name(spec.name), spec) for spec in signature.all_inputs]
    outputs = [(spec.name, spec) for spec in signature.all_outputs]
    return _side("input", runner.inputs, inputs, runner.ordered) + _side(
        "output", runner.outputs, outputs, runner.ordered
    )


def other_problems(
    runner: Runner, signature: Signature, sequence: Signature | None, input_name: Callable[[str], str]
) -> list[str]:
    """What is wrong with the signatures that an artifact with states has besides the main one, in words.

    Args:
        runner: of the main one. A format without signatures has no others.
        signature: what goes in and comes out.
        sequence: of a stream, the same of whole sequences, which it may do without; None for what is no stream.
        input_name: the name that an input has in the artifact.
    """
    if not runner.entries or not signature.states:
        return []
    needed = (STEP, INITIAL_STATE) if sequence is not None else (SIGNATURE, STEP, INITIAL_STATE)
    missing = [entry for entry in needed if entry not in runner.entries]
    problems = [f"no signature {entry}, only {', '.join(runner.entries)}" for entry in missing]
    for entry, boundary in other_boundaries(runner, signature, sequence).items():
        found = boundary_problems(runner.at(entry), boundary, input_name)
        problems += [f"{problem} (signature {entry})" for problem in found]
    return problems


def other_boundaries(runner: Runner, signature: Signature, sequence: Signature | None) -> Mapping[str, Signature]:
    """What goes into and comes out of each signature but the main one. Arguments as of `other_problems`.

    SIGNATURE is the main one by another name, which is `signature` itself, but in a stream that takes whole sequences.
    """
    if not signature.states:
        return {}
    by_row = any(BATCH in state.input.shape for state in signature.states)
    batch = (TensorSpec(BATCH_ARGUMENT, "int32", ()),) if by_row else ()
    # Under the names that STEP takes them by.
    initial = Signature(
        batch, tuple(replace(one.input, name=argument_name(one.input.name)) for one in signature.states)
    )
    known = {SIGNATURE: signature if sequence is None else sequence, INITIAL_STATE: initial}
    return {entry: boundary for entry, boundary in known.items() if entry in runner.entries}


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


def with_placement(report: ArtifactReport, provider: str, least: float | None) -> ArtifactReport:
    """The report, `not run` where it passed and the nodes ran elsewhere: no verdict on the provider that was asked for.

    A mismatch stays one, wherever it was computed.

    Args:
        report: of the artifact.
        provider: that it was to run on.
        least: the share of the recurrent nodes that have to run on it, from 0 to 1; None for any node at all.
    """
    problem = _elsewhere(report.placement, provider, least)
    if report.status != "passed" or not problem:
        return report
    return replace(report, status="not run", problems=(Problem("placement", problem),))


def _elsewhere(placement: Placement | None, provider: str, least: float | None) -> str:
    """Why what ran does not count as a run on the provider; empty where it does."""
    if placement is None:
        return ""
    if not placement.counts().get(provider):
        told = ", ".join(f"{name} {count}" for name, count in placement.counts().items())
        return f"no node ran on {provider}: {told}"
    if least is None:
        return ""
    if placement.opaque:
        told = ", ".join(node.name for node in placement.opaque)
        return f"it can't be told whether recurrent nodes ran on {provider}: it compiled {told}"
    recurrent = placement.recurrent_share(provider)
    share, kind = (placement.share(provider), "nodes") if recurrent is None else (recurrent, "recurrent nodes")
    if share >= least:
        return ""
    nodes = placement.elsewhere(provider) if recurrent is None else placement.recurrent
    others = [f"{node.name} ({node.operator}) on {node.provider}" for node in nodes if node.provider != provider]
    told = ", ".join(others[:_TOLD]) + (f" and {len(others) - _TOLD} more" if len(others) > _TOLD else "")
    return f"{share:.0%} of the {kind} ran on {provider}, not {least:.0%}: {told}"
