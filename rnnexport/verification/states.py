"""What only an artifact with states has to show: where it starts, and that chunks give the whole.

A stream is called chunk by chunk, for many users in one batch. So the outputs of a golden must come out as well of

- its sequence cut in two at every place, and step by step, each chunk going on from the artifact's own states;
- each row of its batch alone or, where the batch is fixed, in the place of all others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from rnnexport.artifact.goldens import Arrays, Golden
from rnnexport.core.errors import MismatchError
from rnnexport.core.signature import Signature, StateSpec, argument_name, timesteps
from rnnexport.targets.base import BATCH_ARGUMENT, INITIAL_STATE
from rnnexport.verification.chunks import cut, joined, sequence_length, splits
from rnnexport.verification.compare import Comparison, Wanted, compare_outputs, failed, worst
from rnnexport.verification.entry_point import Entry, carry, merged
from rnnexport.verification.report import FeedReport
from rnnexport.verification.tolerance import Tolerance

# A golden of so many timesteps is cut at every place: fewer leave little to cut, more are many calls.
_SHORTEST, _LONGEST = 3, 12
# Of initial states: a batch that is baked in can't be both.
_BATCHES = (2, 5)
_EXACTLY = Tolerance(0.0, 0.0)


def initial_report(entry: Entry, states: Sequence[StateSpec]) -> FeedReport:
    """Whether INITIAL_STATE, which is `entry`, gives the recorded initial states to the last bit at every batch."""
    feeds: list[tuple[int, Arrays]] = [(1, {})]
    if entry.signature.inputs:
        feeds = [(batch, {BATCH_ARGUMENT: np.array(batch, np.int32)}) for batch in _BATCHES]
    return merged(INITIAL_STATE, [_initial(entry, states, batch, feed) for batch, feed in feeds])


def stream_reports(entry: Entry, goldens: Sequence[Golden]) -> Iterator[FeedReport]:
    """Whether a stream gives what the goldens say in chunks of all sizes, and whatever else is in the batch.

    Args:
        entry: one chunk of the stream.
        goldens: of it, with whole feeds; those that carry are left out.
    """
    own = [golden for golden in goldens if not golden.carries]
    fresh = [_fresh(golden, entry.signature) for golden in own]
    for start in (True, False):
        fitting = [golden for golden, at in zip(own, fresh, strict=True) if at == start and _fits(golden, entry)]
        if fitting:
            yield _every_split(entry, fitting[0])
    shared = [(golden, at) for golden, at in zip(own, fresh, strict=True) if _rows(golden, entry) > 1]
    if shared:
        # Rows that start alike hide a state that is mixed up, and a single timestep hides where it goes from there.
        smallest = min(shared, key=lambda one: (one[1], timesteps(one[0].feed, entry.signature) < 2, _size(one[0])))
        yield from _rows_report(entry, smallest[0])


def _every_split(entry: Entry, golden: Golden) -> FeedReport:
    """The golden cut in two at every place, and step by step, as one call; the problem of the worst is told."""
    wanted, label = entry.wanted(golden), f"every split of {golden.label}"
    reports = []
    for lengths in splits(sequence_length(golden.feed, entry.signature)):
        outputs = _judged(entry, wanted, partial(_in_chunks, entry, golden, lengths))
        reports.append(FeedReport(label, tuple(_at(one, _told(lengths)) for one in outputs)))
    return merged(label, sorted(reports, key=_badness))


def _rows_report(entry: Entry, golden: Golden) -> Iterator[FeedReport]:
    """The rows of the golden without the others, as one call; nothing where no output has rows."""
    dim, wanted = entry.signature.inputs[0].shape[0], entry.wanted(golden)
    by_row = {spec.name: wanted[spec.name] for spec in entry.signature.all_outputs if spec.shape[:1] == (dim,)}
    if by_row:
        kind = "alone" if isinstance(dim, str) else "each in the whole batch"
        outputs = _judged(entry, by_row, partial(_row_by_row, entry, golden, list(by_row)))
        yield FeedReport(f"rows {kind} of {golden.label}", outputs)


def _initial(entry: Entry, states: Sequence[StateSpec], batch: int, feed: Arrays) -> FeedReport:
    wanted = {argument_name(state.input.name): Wanted(state.start(batch)) for state in states}
    try:
        found = entry.run(feed)
    except MismatchError as error:
        return FeedReport(INITIAL_STATE, tuple(failed(name, error.found) for name in wanted))
    return FeedReport(INITIAL_STATE, compare_outputs(found, wanted, lambda name, length: _EXACTLY))


def _judged(entry: Entry, wanted: Mapping[str, Wanted], run: Callable[[], Arrays]) -> tuple[Comparison, ...]:
    """What `run` gives against what is wanted; a failure of all of it where it gives nothing that can be compared."""
    try:
        return entry.judged("", run(), wanted).outputs
    except MismatchError as error:
        return tuple(failed(name, error.found) for name in wanted)


def _in_chunks(entry: Entry, golden: Golden, lengths: Sequence[int]) -> Arrays:
    """The outputs of the whole, put together from those of its chunks. MismatchError where they can't be."""
    states = {state.input.name: golden.feed[state.input.name] for state in entry.signature.states}
    found: list[Arrays] = []
    for piece in cut(golden.feed, entry.signature, lengths):
        found.append(entry.run({**piece, **states}))
        states = carry(found[-1], entry.signature)
    try:
        return joined(found, entry.signature)
    except (KeyError, ValueError) as error:
        raise _apart(error) from error


def _row_by_row(entry: Entry, golden: Golden, names: Sequence[str]) -> Arrays:
    """The outputs `names` of the whole batch, put together from calls of each row without the others.

    A batch that is fixed is filled with the one row, and what comes out is taken from another place than its own.

    Raises:
        MismatchError: they can't be put together.
    """
    dim, count = entry.signature.inputs[0].shape[0], _rows(golden, entry)
    by_row = {spec.name for spec in entry.signature.all_inputs if spec.shape[:1] == (dim,)}
    found = []
    for row in range(count):
        rows, place = ([row], 0) if isinstance(dim, str) else ([row] * count, (row + 1) % count)
        feed = {name: array[rows] if name in by_row else array for name, array in golden.feed.items()}
        try:
            outputs = entry.run(feed)
            found.append({name: outputs[name][place : place + 1] for name in names})
        except MismatchError as error:
            raise MismatchError(f"row {row} alone: {error.found}", error.expected, error.todo) from error
        except (KeyError, IndexError) as error:
            raise _apart(error) from error
    try:
        return {name: np.concatenate([one[name] for one in found]) for name in names}
    except ValueError as error:
        raise _apart(error) from error


def _apart(error: Exception) -> MismatchError:
    return MismatchError(f"its pieces do not fit together: {error}", "parts of one whole", "export it again")


def _at(one: Comparison, where: str) -> Comparison:
    return one if one.passed else replace(one, problem=f"{one.problem}, {where}")


def _told(lengths: Sequence[int]) -> str:
    if len(lengths) == 2:
        return f"in chunks of {lengths[0]} and {lengths[1]} timesteps"
    return f"in {len(lengths)} chunks of 1 timestep"


def _badness(report: FeedReport) -> tuple[bool, float]:
    """Sorts the worst first: a failure before a pass, and what could not be compared before that."""
    error = worst(report.outputs)
    return all(one.passed for one in report.outputs), -math.inf if math.isnan(error) else -error


def _fits(golden: Golden, entry: Entry) -> bool:
    """Whether the golden is one to be cut at every place."""
    return _SHORTEST <= sequence_length(golden.feed, entry.signature) <= _LONGEST


def _fresh(golden: Golden, signature: Signature) -> bool:
    """Whether all states of the golden are where they start."""
    fed = [(golden.feed[state.input.name], state) for state in signature.states]
    return all(np.array_equal(array, state.start(len(np.atleast_1d(array)))) for array, state in fed)


def _rows(golden: Golden, entry: Entry) -> int:
    return int(golden.feed[entry.signature.inputs[0].name].shape[0])


def _size(golden: Golden) -> int:
    return sum(array.size for array in golden.feed.values())
