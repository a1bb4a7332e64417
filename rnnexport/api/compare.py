"""Comparing any two artifacts or models: what one gives must be what the other gives, for the same inputs.

Nothing is known of a file that rnnexport did not make but what its runtime says. So no conditioning bounds apply: a
value passes by the tolerance alone, and inputs are made for the signature, or are the user's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Unpack

from rnnexport.api.callee import Callee, called
from rnnexport.api.judging import Calling, RunKeywords
from rnnexport.api.notebook import ShownReport
from rnnexport.artifact.goldens import Arrays
from rnnexport.core.errors import UsageError, in_python_words
from rnnexport.core.progress import Detail, Progress, quiet, silent
from rnnexport.core.run_record import Watch
from rnnexport.core.signature import Dim, Signature, TensorSpec, time_axis, timesteps
from rnnexport.core.user_data import UserData, user_data
from rnnexport.user_data.rows import open_data
from rnnexport.verification.compare import Wanted, compare_outputs
from rnnexport.verification.feeds import DARING, beside, feed_at, feeds, wanted
from rnnexport.verification.report import ArtifactReport, FeedReport, Problem, Report
from rnnexport.verification.tolerance import Tolerance, Tolerances

_SEED = 2  # others than those that artifacts carry, and than those of `verify --source`
_NONE: Mapping[str, str] = {}


@dataclass(frozen=True)
class _Pairs:
    """Which tensor of the one is which of the other: names of the first to names of the second."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    problems: tuple[Problem, ...] = field(default=())


@in_python_words()
@quiet()
def compare(
    one: Any,
    other: Any,
    *,
    names: Mapping[str, str] = _NONE,
    data: str | Path | UserData | None = None,
    dims: bool = False,
    progress: Progress = silent,
    **keywords: Unpack[RunKeywords],
) -> Report:
    """Call two artifacts or models, of whatever origin, on the same inputs, and compare what they give.

    Args:
        one: the path of an artifact, or a model, see `load`; what is right.
        other: likewise; what is compared with it.
        names: of inputs and outputs that have other names in `other`: `{"output_0": "tags"}` says that `output_0` of
            `one` is `tags` of `other`. A lone input or output needs none.
        data: inputs of the user's own to compare on, see `verify`; by default inputs are made.
        dims: whether the names of open dimensions have to be equal, too.
        progress: is told what goes on.
        keywords: see `RunKeywords` and `CallKeywords`. The tolerance grows with the length.

    Returns:
        A report of one artifact, `other`.

    Raises:
        UsageError: one of them can't be read or run, or their tensors can't be paired.
        ConversionError, ProviderError: a model can't be loaded; a runtime or provider is not on this host.
        TypeError: a keyword that there is not.
    """
    watch, how = Watch(), Calling.of("compare", keywords, "one", "other", "names", "data", "dims", "progress")
    progress("loading")
    with called(one, how.loading, how.where) as first, called(other, how.loading, how.where) as second:
        pairs = _paired(first, second, names, dims=dims)
        signature = _common(first.signature, second.signature, pairs.inputs)
        bounds = Tolerances(Tolerance(), how.tolerance)
        how.tolerance.require_known([spec.name for spec in first.signature.outputs], first.name)
        found = []
        for label, feed in _feeds(signature, user_data(data)):
            progress(Detail(f"comparing {first.name} and {second.name}: {label}"))
            found.append(_compared(first, second, pairs, signature, label, feed, bounds))
    agree = not pairs.problems and all(output.passed for feed in found for output in feed.outputs)
    item = ArtifactReport(
        artifact=_told(other, second),
        target=second.kind,
        provider=how.where.provider,
        status="passed" if agree and found else "mismatch",
        truth=f"{first.kind} {first.name}",
        tolerances=bounds,
        feeds=tuple(found),
        problems=pairs.problems,
    )
    return ShownReport((item,), watch.record())


def _told(given: Any, callee: Callee) -> str:
    return str(given) if isinstance(given, str | Path) else callee.name


def _paired(first: Callee, second: Callee, names: Mapping[str, str], *, dims: bool) -> _Pairs:
    """The pairs of inputs and of outputs. Raises UsageError where one has none."""
    inputs = _matched(first, second, first.signature.inputs, second.signature.inputs, names, "input")
    outputs = _matched(first, second, first.signature.outputs, second.signature.outputs, names, "output")
    if unknown := [name for name in names if name not in inputs and name not in outputs]:
        known = ", ".join((*inputs, *outputs))
        raise UsageError(f"--map of {', '.join(unknown)}, which {first.name} has not", known, "change --map")
    problems = []
    for spec, match in _specs(first, second, inputs):
        if spec.dtype != match.dtype:
            problems.append(f"input {spec.name}: dtype {match.dtype}, not {spec.dtype}")
        if len(spec.shape) != len(match.shape):
            raise UsageError(f"input {match} of {second.name}", f"the rank of {spec}", "change --map, or the files")
        mine, yours = first.shapes.get(spec.name, spec.shape), second.shapes.get(match.name, match.shape)
        if dims and mine != yours:
            problems.append(f"input {spec.name}: dimensions {list(yours)}, not {list(mine)}")
    return _Pairs(inputs, outputs, tuple(Problem("boundary", text) for text in problems))


def _matched(
    first: Callee,
    second: Callee,
    ours: Sequence[TensorSpec],
    theirs: Sequence[TensorSpec],
    names: Mapping[str, str],
    what: str,
) -> dict[str, str]:
    """By `names`, by the same name, or as the only ones that are left on both sides."""
    left = [spec.name for spec in theirs]
    found, open_names = {}, []
    for spec in ours:
        name = names.get(spec.name, spec.name)
        if name in left:
            found[spec.name] = name
            left.remove(name)
        else:
            open_names.append(spec.name)
    if len(open_names) == len(left) == 1 and not set(names) & set(open_names):
        return found | {open_names[0]: left[0]}
    if open_names or left:
        raise UsageError(
            f"{what}s {', '.join(spec.name for spec in ours)} of {first.name}, and "
            f"{', '.join(spec.name for spec in theirs)} of {second.name}",
            f"each {what} of one to be one of the other",
            f"give --map {(open_names or ['NAME'])[0]}={(left or ['NAME'])[0]}",
        )
    return found


def _specs(first: Callee, second: Callee, inputs: Mapping[str, str]) -> Iterator[tuple[TensorSpec, TensorSpec]]:
    theirs = {spec.name: spec for spec in second.signature.inputs}
    return ((spec, theirs[inputs[spec.name]]) for spec in first.signature.inputs)


def _common(one: Signature, other: Signature, inputs: Mapping[str, str]) -> Signature:
    """The inputs of `one`, with every size fixed that either of them fixes, and what either knows of their values."""
    theirs = {spec.name: spec for spec in other.inputs}
    fixed: dict[Dim, int] = {}
    for spec in one.inputs:
        for mine, yours in zip(spec.shape, theirs[inputs[spec.name]].shape, strict=True):
            if isinstance(mine, str) and isinstance(yours, int):
                fixed[mine] = yours
    found = []
    for spec in one.inputs:
        match = theirs[inputs[spec.name]]
        shape = tuple(fixed.get(dim, dim) for dim in spec.shape)
        high = min((value for value in (spec.high, match.high) if value is not None), default=None)
        mask = spec.mask if spec.mask is not None else match.mask
        found.append(replace(spec, shape=shape, high=high, mask=mask, range=spec.range or match.range))
    return Signature(tuple(found), one.outputs)


def _feeds(signature: Signature, data: UserData | None) -> Iterator[tuple[str, Arrays]]:
    if data is not None:
        for at, call in enumerate(open_data(data, signature, needs_outputs=False), 1):
            yield f"data of {data.name}, call {at}", call.feed
        return
    planned = islice(feeds(signature, _SEED), wanted(signature))
    # Not the daring ones: at large values rounding alone moves some models by more than a tolerance.
    more = (index for index in beside(signature) if index not in DARING)
    for made in (*planned, *(feed_at(signature, _SEED, index) for index in more)):
        yield made.label, made.arrays


def _compared(
    first: Callee,
    second: Callee,
    pairs: _Pairs,
    signature: Signature,
    label: str,
    feed: Arrays,
    bounds: Tolerances,
) -> FeedReport:
    """One call of each. What comes out of the second has the names of the first in the report."""
    right = _outputs(first, feed)
    found = _outputs(second, {pairs.inputs[name]: array for name, array in feed.items()})
    length = timesteps(feed, signature)
    known = {
        spec.name: Wanted(right[spec.name], time_axis=time_axis(spec, first.signature), timesteps=length)
        for spec in first.signature.outputs
    }
    renamed = {name: found[match] for name, match in pairs.outputs.items()}
    return FeedReport(label, compare_outputs(renamed, known, bounds.of))


def _outputs(callee: Callee, feed: Arrays) -> Arrays:
    """What comes out of one call that starts from the initial states."""
    specs = {spec.name: spec for spec in callee.signature.inputs}
    rows = next((array.shape[0] for name, array in feed.items() if specs[name].shape[:1]), 1)
    cast = {name: array.astype(specs[name].dtype) for name, array in feed.items()}
    return callee.call(cast | callee.signature.fresh_states(rows))
