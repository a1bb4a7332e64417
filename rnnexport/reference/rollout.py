"""A source run step by step over a long sequence, for artifacts to be followed along it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING

import numpy as np

from rnnexport.artifact.goldens import Arrays, Golden
from rnnexport.core.errors import UsageError
from rnnexport.core.progress import Detail, Progress, silent
from rnnexport.core.signature import BATCH, Signature, timesteps
from rnnexport.verification.domain import EVERYWHERE, Domain
from rnnexport.verification.feeds import step_feed
from rnnexport.verification.rollout import Steps

if TYPE_CHECKING:
    from rnnexport.reference.describe import Described
    from rnnexport.source.model import SourceModel

_SEED = 2  # not those of the feeds that artifacts carry, nor of those that --source runs besides
_TOLD = 50  # calls from one message to the next
_IN_MEMORY = 2**26  # bytes of a recording; what is longer goes to a file
# The arrays of a call in order: part and name, dtype, shape.
_Layout = tuple[tuple[str, np.dtype, tuple[int, ...]], ...]


def steps_of(source: SourceModel, described: Described, count: int, progress: Progress = silent) -> Steps:
    """`count` timesteps of the source from its initial state, in eager Keras, and in float64 where there is a truth.

    The length of a call is 1 where it is open, else what it is fixed to. The source runs when the steps are first asked
    for; from then on they are read from a recording.

    Args:
        source: the model.
        described: its signature, and its graph for float64.
        count: how many timesteps.
        progress: is told which step the source is at.

    Raises:
        UsageError: the model has no states, or `count` is no multiple of the timesteps of a call.
    """
    signature = described.signature
    require_states(signature, source.name)
    chunk = timesteps(step_feed(signature, _SEED, 0), signature)
    if count % chunk:
        raise UsageError(
            f"--steps {count} for {source.name}, which takes {chunk} timesteps a call",
            f"a multiple of {chunk}",
            "change --steps",
        )
    return Steps(count, chunk, Recorded(partial(_calls, source, described, count, chunk, progress)))


def require_states(signature: Signature, name: str) -> None:
    """Refuse an artifact that keeps nothing from one step to the next: each would be a sequence of its own.

    Raises:
        UsageError: names the artifact.
    """
    if not signature.states:
        raise UsageError(
            f"{name} has no states to carry from step to step",
            "an artifact of a stateful model, or a stream, for --steps",
            "export it with --stream, or leave out --steps",
        )


class Recorded:
    """Calls that are made once and read again as often as they are asked for, bit by bit the same.

    Args:
        make: makes them.
    """

    def __init__(self, make: Callable[[], Iterable[Golden]]) -> None:
        self._make = make
        self._made: list[_Layout] | None = None
        self._arrays: IO[bytes] = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - it lives as long as this

    def __call__(self) -> Iterator[Golden]:
        """The calls in order. What was left before its end is made again."""
        return self._recorded() if self._made is None else self._read(self._made)

    def _recorded(self) -> Iterator[Golden]:
        self._arrays.seek(0)
        made: list[_Layout] = []
        for golden in self._make():
            arrays = _parts(golden)
            layout = tuple((name, array.dtype, array.shape) for name, array in arrays.items())
            made.append(made[-1] if made and made[-1] == layout else layout)  # all but the first are alike
            for array in arrays.values():
                self._arrays.write(array.tobytes())
            yield golden
        self._made = made

    def _read(self, made: Iterable[_Layout]) -> Iterator[Golden]:
        self._arrays.seek(0)
        for at, layout in enumerate(made):
            parts: dict[str, dict[str, np.ndarray]] = {"feed": {}, "expected": {}, "truth": {}, "spread": {}}
            for place, dtype, shape in layout:
                part, _, name = place.partition("/")
                data = self._arrays.read(dtype.itemsize * math.prod(shape))
                parts[part][name] = np.frombuffer(data, dtype).reshape(shape)
            feed, expected, truth, spread = parts.values()
            yield Golden(f"call {at}", feed, expected, truth, spread=spread, carries=at > 0)


def _parts(golden: Golden) -> dict[str, np.ndarray]:
    """Every array of a call as plain bytes can hold it: text of any length has none."""
    parts = {"feed": golden.feed, "expected": golden.expected, "truth": golden.truth, "spread": golden.spread}
    arrays = {f"{part}/{name}": array for part, named in parts.items() for name, array in named.items()}
    return {place: array.astype("S") if array.dtype.hasobject else array for place, array in arrays.items()}


def _calls(source: SourceModel, described: Described, count: int, chunk: int, progress: Progress) -> Iterator[Golden]:
    """Each call with what the source gave from its own states, and the float64 run from its own."""
    from rnnexport.reference.certainty import narrowest
    from rnnexport.reference.conditioning import Conditioning
    from rnnexport.reference.float64 import Float64Run
    from rnnexport.source.eager import reference

    signature, domain = described.signature, domain_of(described)
    # A float64 run that the goldens showed to be no truth of this source is none here.
    traced = None if described.no_truth else described.traced
    run = Float64Run(traced, described.no_truth, described.converted)
    conditioning = Conditioning(run, signature, narrowest(source, described.traced))
    expected: Arrays = {}
    truth: Arrays = {}
    for call in range(count // chunk):
        if call % _TOLD == 0:
            progress(Detail(f"{source.name}: step {call * chunk:,} of {count:,}"))
        inputs = step_feed(signature, _SEED, call, domain)
        states = _states(signature, inputs, expected)
        exact_states = _states(signature, inputs, {**expected, **truth})
        expected = reference(source, signature, {**inputs, **states})
        truth = run.run({**inputs, **exact_states}, expected)
        feed = inputs if call else {**inputs, **states}
        yield conditioning.with_spread(Golden(f"call {call}", feed, expected, truth, carries=call > 0))


def domain_of(described: Described) -> Domain:
    """In which the source was found to be finite, where it is not so everywhere."""
    learnt = [golden.recipe.domain for golden in described.goldens if golden.recipe and golden.recipe.domain]
    return replace(Domain.from_json(learnt[0]), longer=0) if learnt else EVERYWHERE


def _states(signature: Signature, inputs: Arrays, before: Arrays) -> dict[str, np.ndarray]:
    """The states that a call starts from: those of the call before it, or fresh ones."""
    if before:
        return signature.carried(before)
    rows = next((inputs[spec.name].shape[0] for spec in signature.inputs if spec.shape[:1] == (BATCH,)), 1)
    return signature.fresh_states(rows)
