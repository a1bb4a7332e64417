"""Sequences to calibrate a quantised artifact on, and to measure it on, each begun at the model's initial states.

They are run as the user's data are: in eager Keras and in float64, each going on from its own states. A state is never
made up: what a step sees is what the steps before it lead to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from rnnexport.artifact.goldens import Golden
from rnnexport.core.errors import UsageError
from rnnexport.core.signature import BATCH, Signature, TensorSpec, timesteps
from rnnexport.core.user_data import UserData
from rnnexport.reference.rollout import domain_of
from rnnexport.reference.user_data import goldens_of, kept
from rnnexport.user_data.recordings import may_be_longer
from rnnexport.user_data.rows import RowBatch, open_data
from rnnexport.verification.feeds import sequence_feed

if TYPE_CHECKING:
    from rnnexport.reference.describe import Described
    from rnnexport.source.model import SourceModel

# (seed, timesteps): what ranges are taken from, then what else is measured. Seeds are those of no other feeds.
_CALIBRATED = ((11, 24), (12, 9), (13, 60))
_MEASURED = ((14, 30), (15, 103))
# More to take ranges from, which do not ride in the file: of a few rows these are too narrow.
_MORE = tuple((seed, 24) for seed in range(21, 29))
_MOST_PIECES = 64  # of data, spread over them
_LARGEST = 1 << 16  # values of a call that rides in a file


@dataclass(frozen=True, eq=False)
class CalibrationSequences:
    """What an artifact is calibrated on and measured on.

    Attributes:
        calibrated: the calls that ranges are taken from.
        others: calls of sequences that they are not taken from; none where there is one sequence.
        carried: those that ride in the artifact.
        told: (what ranges are taken from, what is measured), in words.
    """

    calibrated: tuple[Golden, ...]
    others: tuple[Golden, ...]
    carried: tuple[Golden, ...]
    told: tuple[str, str]

    @property
    def measured(self) -> tuple[Golden, ...]:
        """All of them; calls of fewer rows that ride in the artifact, too."""
        known = (*self.calibrated, *self.others)
        return (*known, *(golden for golden in self.carried if golden not in known))


def sequences(
    source: SourceModel, described: Described, data: UserData | None, *, stream: bool
) -> CalibrationSequences:
    """The user's sequences, or generated ones, run from their initial states.

    Args:
        source, described: the model, and its boundary.
        data: the user's; None for generated ones.
        stream: whether the model is one.

    Raises:
        UsageError: the data do not fit.
        ConversionError: the source can't be run on them.
    """
    if data is None:
        wanted = (*_CALIBRATED, *_MEASURED, *_MORE)
        calls = [_call(described, seed, steps, at) for at, (seed, steps) in enumerate(wanted)]
        found = list(goldens_of(source, described, calls, stream=stream))
        by_sequence = [
            [replace(golden, label=f"generated sequence {at}, from step {golden.before}") for golden in part]
            for at, part in enumerate(_by_sequence(found), 1)
        ]
        first, rest = by_sequence[: len(_CALIBRATED)], by_sequence[len(_CALIBRATED) : -len(_MORE)]
        small = [part for part in (*first, *rest) if sum(map(_size, part)) <= _LARGEST]
        first += by_sequence[-len(_MORE) :]
        told = (f"{len(first)} generated sequences", f"{len(by_sequence)} generated sequences")
        return CalibrationSequences(_flat(first), _flat(rest), _flat(small or by_sequence[:1]), told)
    rows = open_data(data, described.signature, needs_outputs=False)
    if not rows.pieces:
        raise UsageError(f"no rows in {data.name}", "at least one to calibrate on", "change --calibrate")
    pieces = sorted({int(at) for at in np.linspace(0, rows.pieces - 1, min(rows.pieces, _MOST_PIECES))})
    calls = [replace(call, outputs={}) for at in pieces for call in rows.calls(range(at, at + 1))]
    parts = [list(part) for part in _by_sequence(list(goldens_of(source, described, calls, stream=stream)))]
    carried = kept(source, described, rows, data.name)
    told = (f"{len(parts[0::2])} of {len(parts)} calls on {data.name}", f"{len(parts)} calls on {data.name}")
    return CalibrationSequences(_flat(parts[0::2]), _flat(parts[1::2]), carried, told)


def _call(described: Described, seed: int, steps: int, piece: int) -> RowBatch:
    """A generated sequence of so many timesteps, or, of a model that takes no sequences, a call."""
    signature = described.signature
    longer = replace(signature, inputs=tuple(_longer(spec, signature, steps) for spec in signature.inputs))
    feed = sequence_feed(longer, seed, steps, domain_of(described))
    rows = [len(feed[spec.name]) for spec in signature.inputs if spec.shape[:1] == (BATCH,)]
    return RowBatch(signature.fresh_states(rows[0] if rows else 1) | feed, {}, piece)


def _longer(spec: TensorSpec, signature: Signature, steps: int) -> TensorSpec:
    """An input whose length is that of a chunk, with that of a whole recording."""
    if not may_be_longer(spec, signature):
        return spec
    chunk = int(spec.shape[1])
    return replace(spec, shape=(spec.shape[0], chunk * max(1, steps // chunk), *spec.shape[2:]))


def _by_sequence(goldens: Sequence[Golden]) -> Iterator[Iterator[Golden]]:
    """The calls of each sequence: one that does not go on from the call before it begins another."""
    number = 0
    numbered = []
    for golden in goldens:
        number += not golden.carries
        numbered.append((number, golden))
    for _, part in groupby(numbered, key=lambda pair: pair[0]):
        yield (golden for _, golden in part)


def _flat(parts: Sequence[Sequence[Golden]]) -> tuple[Golden, ...]:
    return tuple(golden for part in parts for golden in part)


def _size(golden: Golden) -> int:
    return sum(array.size for array in golden.feed.values())


def feeds_of(goldens: Sequence[Golden], signature: Signature) -> list[dict[str, np.ndarray]]:
    """The feeds of calls, states included: a call that goes on from another has what the truth left there."""
    found: list[dict[str, np.ndarray]] = []
    before: Golden | None = None
    for golden in goldens:
        feed = dict(golden.feed)
        if golden.carries and before is not None:
            ended = {**before.expected, **before.truth}
            states = signature.carried(ended)
            feed |= {state.input.name: states[state.input.name].astype(state.input.dtype) for state in signature.states}
        found.append(feed)
        before = golden
    return found


def length_of(golden: Golden, signature: Signature) -> int:
    """The timesteps of a call."""
    return timesteps(golden.feed, signature)
