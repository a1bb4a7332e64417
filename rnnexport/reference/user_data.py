"""The user's own data beside a source: what each call of them must give, and a few calls to keep."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from dataclasses import replace
from itertools import groupby
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING

from rnnexport.artifact.goldens import Arrays, Golden
from rnnexport.core.signature import BATCH, Signature, timesteps
from rnnexport.reference.conditioning import Conditioning, with_luck
from rnnexport.user_data.recordings import chunk_of, cut, recorded_golden

if TYPE_CHECKING:
    from rnnexport.reference.describe import Described
    from rnnexport.reference.float64 import Float64Run
    from rnnexport.source.model import SourceModel
    from rnnexport.user_data.rows import RowBatch, Rows

_IN_MEMORY = 1 << 26  # bytes of what is kept; what is more goes to a file
_LARGEST = 1 << 16  # values of one call that is kept


class StoredGoldens:
    """Goldens that are made once, and read again from a file as often as they are asked for.

    Args:
        make: makes them.
    """

    def __init__(self, make: Callable[[], Iterator[Golden]]) -> None:
        self._make = make
        self._file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - it lives as long as this
        self._whole = False

    def __call__(self) -> Iterator[Golden]:
        """The goldens in order. What was left before its end is made again."""
        self._file.seek(0)
        while self._whole and (golden := pickle.load(self._file)) is not None:
            yield golden
        if not self._whole:
            for golden in self._make():
                pickle.dump(golden, self._file, pickle.HIGHEST_PROTOCOL)
                yield golden
            pickle.dump(None, self._file)
            self._whole = True


def goldens_of(
    source: SourceModel, described: Described, calls: Iterable[RowBatch], *, stream: bool = False
) -> Iterator[Golden]:
    """What the source gives for each call, and what the data themselves expect.

    What is said of a piece of the data depends on that piece alone, so that shards say what the whole says.

    Args:
        source: the model.
        described: its boundary, and what it gives.
        calls: of the data.
        stream: whether the model is one, so that a long recording may be cut anywhere.
    """
    from rnnexport.reference.certainty import narrowest
    from rnnexport.reference.float64 import Float64Run

    run, dtype = (
        Float64Run(described.traced, described.no_truth, described.converted),
        narrowest(source, described.traced),
    )
    for _, piece in groupby(calls, key=lambda call: call.piece):
        own = copy(run)  # a reading that fails on one piece is there again for the next
        conditioning = Conditioning(own, described.signature, dtype)
        for call in piece:
            chunk = chunk_of(call.feed, described.signature, stream=stream)
            for golden in _goldens(source, described.signature, call, chunk, own):
                golden = with_luck(conditioning.with_spread(golden), described.tolerance)
                yield golden
            if call.outputs and chunk:  # the data say what they expect, too
                yield recorded_golden(call.feed, call.outputs, described.signature, chunk)
            elif call.outputs:
                yield replace(golden, expected={**golden.expected, **call.outputs}, truth={})


def kept(source: SourceModel, described: Described, rows: Rows, name: str) -> tuple[Golden, ...]:
    """Goldens of the first, the middle and the last piece of the data, of fewer rows where they are large.

    Args:
        source, described: see `goldens_of`.
        rows: the data.
        name: of the file.
    """
    found: list[Golden] = []
    for place in sorted({0, rows.pieces // 2, rows.pieces - 1}):
        call = next(rows.calls(range(place, place + 1)))
        call = replace(call, feed=_cut(call.feed, rows.signature), outputs={})
        # Of a recording its first chunk: the others need the states that come before.
        golden = next(goldens_of(source, described, [call], stream=bool(rows.signature.states)))
        found.append(replace(golden, label=f"data of {name}, {len(found) + 1}"))
    return tuple(found)


def _goldens(
    source: SourceModel, signature: Signature, call: RowBatch, chunk: int, run: Float64Run
) -> Iterator[Golden]:
    """The calls of one recording. The source and the float64 run each go on from their own states."""
    from rnnexport.source.eager import reference

    states = {state.input.name: call.feed[state.input.name] for state in signature.states}
    inputs = {spec.name: call.feed[spec.name] for spec in signature.inputs}
    exact, before = states, 0
    for at, piece in enumerate(cut(inputs, signature, chunk) if chunk else [inputs]):
        expected = reference(source, signature, {**piece, **states})
        truth = run.truth({**piece, **exact}, expected)
        feed = piece if at else {**piece, **states}
        yield Golden("data", feed, expected, truth, carries=at > 0, before=before)
        states, exact = signature.carried(expected), signature.carried({**expected, **truth})
        before += timesteps(piece, signature)


def _cut(feed: Arrays, signature: Signature) -> Arrays:
    """As many rows of a call as are small together, where the batch is open."""
    by_row = [spec.name for spec in signature.all_inputs if spec.shape[:1] == (BATCH,)]
    if not by_row:
        return feed
    count = len(feed[by_row[0]])
    size = max(1, sum(feed[name].size for name in by_row) // count)
    most = max(1, _LARGEST // size)
    return {name: array[:most] if name in by_row else array for name, array in feed.items()}
