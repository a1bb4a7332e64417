"""Follow an artifact over a long sequence: its own states carried, every step compared, at constant memory.

Calls that lie side by side are laid on one another and measured at once. Of the errors over time a point is kept for
each span of steps, the largest of it. At step n the tolerance is that of a sequence of n timesteps: it grows with the
root of the length past 24, unless the user sets it. The steps measured at once share that of the first of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from rnnexport.artifact.goldens import Arrays, Golden
from rnnexport.core.errors import MismatchError, UsageError
from rnnexport.core.signature import time_axis
from rnnexport.verification.compare import Comparison, Wanted, compare, failed, merged_by_name
from rnnexport.verification.entry_point import Entry, carry
from rnnexport.verification.report import FeedReport
from rnnexport.verification.statistics import Errors

POINTS = 200  # of a curve at most
_CALLS = 64  # measured at once at most, and fewer of many values
_VALUES = 2**20


@dataclass(frozen=True, eq=False)
class Steps:
    """A long sequence from the initial state on, a few timesteps a call.

    Attributes:
        count: how many timesteps there are, a multiple of `chunk`.
        chunk: how many a call has.
        calls: gives the calls anew. Each but the first carries; what must come out of it is what the source gave, whose
            own states were carried, and the truth is that of a float64 run with its own.
    """

    count: int
    chunk: int
    calls: Callable[[], Iterable[Golden]]

    @property
    def label(self) -> str:
        """For the report."""
        of_calls = f", {self.chunk} a call," if self.chunk > 1 else ""
        return f"{self.count:,} {'step' if self.count == 1 else 'steps'}{of_calls} from the initial state"

    @property
    def span(self) -> int:
        """How many timesteps a point of the curve stands for: whole calls, at most `POINTS` points."""
        return self.chunk * -(-self.count // (self.chunk * POINTS))


@dataclass(frozen=True, eq=False)
class _Block:
    """Calls that follow one another, within one point of the curve.

    Attributes:
        start: the timestep that the first of them begins at.
        goldens: what must come out.
        found: what came out.
    """

    start: int
    goldens: Sequence[Golden]
    found: Sequence[Arrays]


def follow(entry: Entry, steps: Steps) -> FeedReport:
    """Run the artifact over all steps, from state to state, and compare every output and state of each.

    An artifact that raises, or gives no state to go on from, ends there: that is a mismatch of every output.

    Raises:
        UsageError: there were other steps than `steps` says.
    """
    found: dict[str, Comparison] = {}
    done = 0
    try:
        for block in _blocks(entry, steps):
            pieces = [_compared(name, block, entry, steps) for name in block.goldens[0].expected]
            found = merged_by_name([*found.values(), *pieces])
            done = block.start + steps.chunk * len(block.goldens)
    except MismatchError as error:
        ended = [failed(one.name, error.found) for one in entry.signature.all_outputs]
        found = merged_by_name([*found.values(), *ended])
    else:
        if done != steps.count:
            raise UsageError(f"{done} steps", f"{steps.count}, as was asked", "check what makes them")
    return FeedReport(steps.label, tuple(map(_counted, found.values())), steps.count)


def _blocks(entry: Entry, steps: Steps) -> Iterator[_Block]:
    """The calls as they come out of the artifact, those of one point together.

    Raises:
        MismatchError: the artifact could not go on, and where; what came before is given first.
    """
    goldens: list[Golden] = []
    found: list[Arrays] = []
    start = at = values = 0
    for golden, outputs in _ran(entry, steps):
        if isinstance(outputs, MismatchError):
            if goldens:
                yield _Block(start, goldens, found)
            raise MismatchError(f"{outputs.found}, at step {at}", outputs.expected, outputs.todo)
        goldens.append(golden)
        found.append(outputs)
        at += steps.chunk
        values += sum(array.size for array in outputs.values())
        if len(goldens) == _CALLS or values >= _VALUES or at % steps.span == 0:
            yield _Block(start, goldens, found)
            goldens, found, start, values = [], [], at, 0
    if goldens:
        yield _Block(start, goldens, found)


def _ran(entry: Entry, steps: Steps) -> Iterator[tuple[Golden, Arrays | MismatchError]]:
    """What comes out of each call, or why nothing does, which ends it."""
    outputs: Arrays = {}
    for golden in steps.calls():
        try:
            carried = carry(outputs, entry.signature) if golden.carries else {}
            outputs = entry.run({**golden.feed, **carried})
        except MismatchError as error:
            yield golden, error
            return
        yield golden, outputs


def _compared(name: str, block: _Block, entry: Entry, steps: Steps) -> Comparison:
    """One output of a block: its figures are one point of the curve."""
    tolerance = entry.tolerances.of(name, block.start + steps.chunk)
    for at, (golden, found) in enumerate(zip(block.goldens, block.found, strict=True)):
        wanted = Wanted(golden.expected[name])
        if name not in found or found[name].shape != wanted.shape:
            misfit = compare(name, found.get(name), wanted, tolerance)
            return replace(misfit, problem=f"{misfit.problem}, at step {block.start + at * steps.chunk}")
    axis = next((time_axis(one, entry.signature) for one in entry.signature.outputs if one.name == name), None)
    values = _laid([golden.expected[name] for golden in block.goldens], axis)
    truth, spread = (_laid_of_all(name, parts, axis) for parts in _truths(block.goldens))
    least = entry.tolerances.least(name, spread)
    found_values = _laid([found[name] for found in block.found], axis)
    result = compare(name, found_values, Wanted(values, truth, spread=spread, least=least), tolerance)
    point = partial(_on_the_curve, point=block.start // steps.span, span=steps.span)
    return replace(
        _placed(result, found_values, values, axis, block, steps),
        errors=point(result.errors),
        artifact_error=result.artifact_error and point(result.artifact_error),
        source_error=result.source_error and point(result.source_error),
    )


def _truths(goldens: Sequence[Golden]) -> tuple[list[Arrays], list[Arrays]]:
    """What is right, and how far rounding moves it, call by call."""
    return [golden.truth for golden in goldens], [golden.spread for golden in goldens]


def _laid_of_all(name: str, parts: Sequence[Arrays], axis: int | None) -> np.ndarray | None:
    """One output of several calls as one array; None where a call does not have it."""
    return _laid([part[name] for part in parts], axis) if all(name in part for part in parts) else None


def _laid(arrays: Sequence[np.ndarray], axis: int | None) -> np.ndarray:
    """The arrays of several calls as one, time first."""
    return np.stack(arrays) if axis is None else np.concatenate([np.moveaxis(array, axis, 0) for array in arrays])


def _placed(
    result: Comparison, found: np.ndarray, wanted: np.ndarray, axis: int | None, block: _Block, steps: Steps
) -> Comparison:
    """The comparison with the step at which it fails first. An output without timesteps is that of a call's last."""
    if result.first_bad is None:
        return result
    row, index = result.first_bad[0], result.first_bad[1:]
    each = 1 if axis is None else len(wanted) // len(block.goldens)
    call, within = divmod(row, each)
    step = block.start + call * steps.chunk + (steps.chunk - 1 if axis is None else within)
    where = f" at {list(index)}" if index else ""
    problem = f"from step {step} on, first{where}: {found[result.first_bad]} not {wanted[result.first_bad]}"
    return replace(result, problem=problem, first_bad=index, first_timestep=step)


def _on_the_curve(errors: Errors, point: int, span: int) -> Errors:
    return replace(errors, by_timestep=(*[0.0] * point, errors.max_abs), span=span)


def _counted(comparison: Comparison) -> Comparison:
    """The comparison of all steps: how many values of them are off, said before where that begins."""
    if comparison.first_timestep is None:
        return comparison
    told = f"{comparison.errors.bad:,} of {comparison.errors.count:,} values off, {comparison.problem}"
    return replace(comparison, problem=told)
