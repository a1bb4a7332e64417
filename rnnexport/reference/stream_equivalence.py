"""Whether chunks of a sequence give what the whole sequence gives: shown by running both in eager Keras.

What a layer does with time can't be read off custom code. So a stream is made only of a model of which

1. the whole sequence, cut in two at every position, and at every position at once, gives the same steps;
2. what has no timesteps (the last output, say) is after every chunk what the sequence up to there gives;
3. a longer one, and, as a graph, one of 512 timesteps, in uneven chunks, do so too;
4. a model that was made for a length gives at that length what it gave;
5. each row gives without the others what it gives in the batch.

What a layer remembers for longer than that, or does at one moment alone, is out of sight.

A model and its stream over a sequence that is too long for eager Keras: as graphs, in float64 where rounding tells.

A delay line, or a convolution of its own, may look back further than any short sequence is long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from rnnexport.artifact.goldens import Arrays
from rnnexport.artifact.layer_map import LayerValue
from rnnexport.core.errors import ConversionError
from rnnexport.core.progress import Progress
from rnnexport.core.signature import BATCH, Boundary, Length, Range, Signature, time_axis
from rnnexport.reference.certainty import tolerance_of
from rnnexport.reference.domain import Learner
from rnnexport.reference.eager_runs import require_determined
from rnnexport.verification.chunks import cut, in_turn, joined, sequence_length, splits, untimed
from rnnexport.verification.compare import excess
from rnnexport.verification.domain import Domain
from rnnexport.verification.feeds import Feed, feed_at, sequence_feed
from rnnexport.verification.tolerance import Tolerance

if TYPE_CHECKING:
    from rnnexport.source.model import SourceModel
    from rnnexport.source.trace import TracedModel

_SEED = 2  # neither that of the goldens nor that of `verify --source`
_SHORT, _LONG = 6, 9  # in the plan of feeds: 4 steps, padded where there is a mask; 41 large ones
_UNEVEN = (1, 16, 3)
_DO = "stream the part of the model before it, or export without --stream"
LONGEST = 512
_CHUNKS = (1, 200, 3, 117)  # and what is left
# Tolerances that a graph may be from the float64 program that was made of it, by rounding over such a length.
_DRIFT = 10
Run = Callable[[Arrays], Arrays]


@dataclass(frozen=True, eq=False)
class ModelAndStream:
    """A model on whole sequences, and its stream.

    Attributes:
        whole: the model.
        whole_signature: of it.
        chunked: its stream.
        chunked_signature: of that.
        domain: in which the model gives numbers.
    """

    whole: SourceModel
    whole_signature: Signature
    chunked: SourceModel
    chunked_signature: Signature
    domain: Domain

    def feed_at(self, index: int) -> Feed:
        """The feed of that place in the plan for the whole, every state at its start."""
        return _fresh(feed_at(self.whole_signature, _SEED, index, self.domain), self.whole_signature)

    def run_whole(self, feed: Arrays) -> dict[str, np.ndarray]:
        """What the whole sequence gives."""
        from rnnexport.source.eager import reference

        return reference(self.whole, self.whole_signature, feed)

    def feeds(self, feed: Arrays, lengths: Sequence[int]) -> Iterator[tuple[dict[str, np.ndarray], Arrays]]:
        """The feed of each chunk, the states carried from the initial ones on, and what it gives."""
        from rnnexport.source.eager import reference

        run = partial(reference, self.chunked, self.chunked_signature)
        pieces = cut(feed, self.whole_signature, lengths)
        return in_turn(run, self.chunked_signature, pieces, len(next(iter(feed.values()))))


def streamed(source: SourceModel, batch: Length, progress: Progress, ranges: Sequence[Range] = ()) -> SourceModel:
    """The stream of a model, shown to give what the model gives. Its length is open, whatever that of the model is.

    Args:
        source: the model.
        batch: what the user wants of its batch.
        progress: is told what goes on.
        ranges: of the values of inputs, where the user gave some.

    Raises:
        ConversionError: the model is not causal, or keeps something else than states; names the layer.
    """
    from rnnexport.source.describe import describe
    from rnnexport.source.streaming import stream, with_open_lengths

    def described(model: SourceModel) -> Signature:
        return describe(model, Boundary(batch, ranges=tuple(ranges)))

    progress(f"looking at what {source.name} carries")
    declared = described(source)
    # A stream is not loaded again itself: what it is made of has to follow from its file.
    learner = Learner(source, declared, _SEED)
    runs = [run for run in map(learner.run, (_SHORT, _LONG)) if run is not None]
    if len(runs) < 2:
        raise learner.refusal()
    require_determined(source, declared, ((run.feed, run.expected) for run in runs))
    whole = with_open_lengths(source, declared)
    signature = declared if whole is source else described(whole)
    chunked = stream(whole, signature)
    pair = ModelAndStream(whole, signature, chunked, described(chunked), learner.domain)
    _require_timed(source.name, pair.whole_signature)
    progress(f"comparing chunks with the whole sequence of {source.name}")
    tolerance = _prove(pair)
    if whole is not source:
        _require_as_declared(source, declared, pair, tolerance)
    return chunked


def _require_timed(name: str, signature: Signature) -> None:
    """An output of as many steps as the input, or of none: else its chunks can't be put together."""
    for spec in signature.outputs:
        others = [dim for dim in spec.shape[1:] if isinstance(dim, str)]
        if others and (time_axis(spec, signature) is None or len(others) > 1):
            raise ConversionError(
                f"output {spec.name} of {name} has an open length that is not that of its input ({spec})",
                "a step of the output for each step of the input, or no steps",
                _DO,
            )


def _prove(pair: ModelAndStream) -> Tolerance:
    """Raise where the stream gives something else than the model; what counts as the same, else."""
    from rnnexport.source.streaming import holds_outputs

    signature = pair.whole_signature
    short, long = map(pair.feed_at, (_SHORT, _LONG))
    steps = sequence_length(short.arrays, signature)
    truth = _Truth(pair, short.arrays, steps)
    _require_finite(pair.whole.name, truth.whole())
    tolerance = tolerance_of(pair.whole, signature, [(short, truth.whole())])
    # A mask may be the model's own affair, of which the inputs say nothing.
    gaps = [_Truth(pair, _with_gaps(short.arrays, signature), steps)] if holds_outputs(pair.chunked) else []
    for lengths in splits(steps):
        for one in (truth, *gaps):
            _require_alike(one, lengths, tolerance)
    steps = sequence_length(long.arrays, signature)
    _require_alike(_Truth(pair, long.arrays, steps), (*_UNEVEN, steps - sum(_UNEVEN)), tolerance)
    _require_alike_for_long(pair, tolerance)
    _require_rows(truth, tolerance)
    return tolerance


def _with_gaps(feed: Arrays, signature: Signature) -> dict[str, np.ndarray]:
    """The feed with steps of zeros, in turn from row to row: what a mask that the model makes itself may look for."""
    found = {name: array.copy() for name, array in feed.items()}
    for piece, spec in ((found[spec.name], spec) for spec in signature.inputs):
        if time_axis(spec, signature) == 1:
            for row in range(len(piece)):
                piece[row, row % piece.shape[1]] = 0
                piece[row, : row % 3] = 0
    return found


def _require_finite(name: str, outputs: Arrays) -> None:
    """What is not finite shows nothing."""
    for output, array in outputs.items():
        if np.issubdtype(array.dtype, np.floating) and not np.all(np.isfinite(array)):
            raise ConversionError(
                f"output {output} of {name} is not finite", "numbers that can be compared", "mend the model"
            )


def _require_as_declared(source: SourceModel, signature: Signature, pair: ModelAndStream, tolerance: Tolerance) -> None:
    """Raise where the stream gives something else than the model as it was made, at the length it was made for."""
    from rnnexport.source.eager import reference

    feed = _fresh(feed_at(signature, _SEED, 0, pair.domain), signature).arrays
    wanted = reference(source, signature, feed)
    steps = sequence_length(feed, pair.whole_signature)
    lengths = (1, steps // 2, steps - 1 - steps // 2) if steps > 2 else (1,) * steps
    found = joined([piece for _, piece in pair.feeds(feed, lengths)], pair.whole_signature)
    names = [spec.name for spec in signature.outputs]
    if name := _departed(wanted, found, names, tolerance):
        raise ConversionError(
            f"output {name} of {source.name} is another one at the length it was made for ({steps} timesteps)",
            "a model that does not depend on the length it was made with",
            _DO,
        )


def _require_alike_for_long(pair: ModelAndStream, tolerance: Tolerance) -> None:
    """Raise where chunks of a long sequence give something else."""
    allowed = tolerance.for_length(LONGEST)
    found = both_ways(pair, _SEED, allowed)
    if found is None:
        return
    whole, chunks = found
    _require_finite(pair.whole.name, whole)
    names = [spec.name for spec in pair.whole_signature.outputs]
    if name := _departed(whole, chunks, names, allowed):
        raise ConversionError(
            f"output {name} of {pair.whole.name} is another one in chunks of a sequence of {LONGEST} timesteps: a "
            "layer looks far ahead, or remembers for long what is no state",
            "a model that can be streamed",
            _DO,
        )


def _fresh(feed: Feed, signature: Signature) -> Feed:
    """The feed, every state at its start."""
    batch = len(next(iter(feed.arrays.values())))
    return replace(feed, arrays={**feed.arrays, **signature.fresh_states(batch)})


class _Truth:
    """What a whole sequence gives, and the sequences that it begins with.

    Attributes:
        pair: the model and its stream.
        feed: the sequence.
    """

    def __init__(self, pair: ModelAndStream, feed: Arrays, steps: int) -> None:
        self.pair = pair
        self.feed = feed
        self._steps = steps
        self._found: dict[int, Arrays] = {}

    def up_to(self, end: int) -> Arrays:
        """The outputs of the first `end` steps alone."""
        if end not in self._found:
            lengths = (end, self._steps - end) if end < self._steps else (end,)
            start = next(cut(self.feed, self.pair.whole_signature, lengths))
            self._found[end] = self.pair.run_whole({**self.feed, **start})
        return self._found[end]

    def whole(self) -> Arrays:
        """The outputs of all steps."""
        return self.up_to(self._steps)


def _require_alike(truth: _Truth, lengths: Sequence[int], tolerance: Tolerance) -> None:
    """Raise where chunks of these lengths give something else than the whole."""
    pair, pieces, end = truth.pair, [], 0
    steps = untimed(pair.whole_signature)
    for length, (_, piece) in zip(lengths, pair.feeds(truth.feed, lengths), strict=True):
        end += length
        pieces.append(piece)
        if steps and (name := _departed(truth.up_to(end), piece, steps, tolerance)):
            raise _not_causal(truth, lengths, name, tolerance)
    timed = [spec.name for spec in pair.whole_signature.outputs if spec.name not in steps]
    if name := _departed(truth.whole(), joined(pieces, pair.whole_signature), timed, tolerance):
        raise _not_causal(truth, lengths, name, tolerance)


def _require_rows(truth: _Truth, tolerance: Tolerance) -> None:
    """Raise where a row gives something else alone than among others, which in a stream are strangers to it."""
    pair = truth.pair
    sized = [
        spec for spec in pair.whole_signature.all_inputs if spec.shape[:1] == pair.whole_signature.inputs[0].shape[:1]
    ]
    count = len(truth.feed[sized[0].name])
    # Where the batch is fixed, each row fills it.
    repeat = 1 if sized[0].shape[0] == BATCH else count
    names = [spec.name for spec in pair.whole_signature.outputs if spec.shape[:1] == sized[0].shape[:1]]
    for row in range(count if count > 1 else 0):
        alone = {spec.name: np.repeat(truth.feed[spec.name][row : row + 1], repeat, axis=0) for spec in sized}
        wanted = {name: np.repeat(truth.whole()[name][row : row + 1], repeat, axis=0) for name in names}
        if name := _departed(wanted, pair.run_whole({**truth.feed, **alone}), names, tolerance):
            raise ConversionError(
                f"output {name} of {pair.whole.name} has other rows alone than in a batch",
                "rows that do not depend on each other",
                "look for a layer that mixes the batch, or export without --stream",
            )


def _departed(wanted: Arrays, found: Arrays, names: Sequence[str], tolerance: Tolerance) -> str:
    """The first of these outputs that is not what it has to be; empty where none is."""
    return next((name for name in names if not _alike(wanted[name], found[name], tolerance)), "")


def _alike(wanted: np.ndarray, found: np.ndarray, tolerance: Tolerance) -> bool:
    return wanted.shape == found.shape and excess(found, wanted, tolerance) <= 1


def _not_causal(truth: _Truth, lengths: Sequence[int], output: str, tolerance: Tolerance) -> ConversionError:
    """The refusal, with the name of the first layer that gives something else when it is given chunks."""
    pair = truth.pair
    layer = _culprit(truth, lengths, tolerance)
    where = f"layer {layer.layer.rpartition('/')[2]} ({layer.class_name})" if layer else f"output {output}"
    return ConversionError(
        f"{where} of {pair.whole.name} gives something else for the chunks {'+'.join(map(str, lengths))} of a sequence "
        "than for the whole: it looks ahead, or remembers what is no state",
        "a model that can be streamed",
        _DO,
    )


def _culprit(truth: _Truth, lengths: Sequence[int], tolerance: Tolerance) -> LayerValue | None:
    """The first layer, in the order of computation, whose steps are others in chunks."""
    from rnnexport.source.eager import layer_values

    pair = truth.pair
    whole = layer_values(pair.whole, pair.whole_signature, truth.feed)
    pieces = [layer_values(pair.chunked, pair.chunked_signature, feed) for feed, _ in pair.feeds(truth.feed, lengths)]
    for value, *parts in zip(whole, *pieces, strict=False):
        wanted: LayerValue = value
        if wanted.loop:
            continue  # a cell departs where its layer does
        arrays = [part.array for part in parts]
        steps = [array.shape[1] if array.ndim > 1 else 0 for array in arrays]
        found = np.concatenate(arrays, axis=1) if steps == list(lengths) else arrays[-1]
        if not _alike(wanted.array, found, tolerance):
            return wanted
    return None


def both_ways(pair: ModelAndStream, seed: int, tolerance: Tolerance) -> tuple[Arrays, Arrays] | None:
    """What the whole gives, and what its chunks give, joined; None where the model can't be traced.

    Args:
        pair: the model and its stream.
        seed: of the sequence.
        tolerance: of the comparison. Where the two are further apart than that, float64 tells whether rounding is why.
    """
    from rnnexport.source.trace import trace

    try:
        graphs = (
            trace(pair.whole, pair.whole_signature, unroll=False),
            trace(pair.chunked, pair.chunked_signature, unroll=False),
        )
    except ConversionError:
        return None  # nor can it be exported with an open length
    whole, chunks = rounded = _run(pair, seed, *(graph.run for graph in graphs))
    names = [spec.name for spec in pair.whole_signature.outputs]
    if _near(chunks, whole, names, tolerance):
        return rounded
    exact = _in_float64(pair, seed, graphs)
    drift = Tolerance(_DRIFT * tolerance.rtol, _DRIFT * tolerance.atol)
    # A program that was made wrongly says nothing of the model.
    right = exact and all(_near(one, other, names, drift) for one, other in zip(exact, rounded, strict=True))
    return exact if right else rounded


def _in_float64(pair: ModelAndStream, seed: int, graphs: tuple[TracedModel, ...]) -> tuple[Arrays, Arrays] | None:
    from rnnexport.emit.numpy.oracle import NoOracle, oracle

    runs: list[Run] = []
    for graph in graphs:
        found = oracle(graph)
        if isinstance(found, NoOracle):
            return None
        runs.append(found.run)
    try:
        return _run(pair, seed, *runs)
    except ConversionError:
        return None


def _near(found: Arrays, wanted: Arrays, names: list[str], tolerance: Tolerance) -> bool:
    """Whether outputs are numbers at the same places, and as near as is allowed."""
    return all(
        found[name].shape == wanted[name].shape
        and np.array_equal(_numbers(found[name]), _numbers(wanted[name]))
        and excess(found[name], wanted[name], tolerance) <= 1
        for name in names
    )


def _numbers(array: np.ndarray) -> np.ndarray:
    return np.isfinite(array) if np.issubdtype(array.dtype, np.inexact) else np.ones(array.shape, bool)


def _run(pair: ModelAndStream, seed: int, run_whole: Run, run_chunk: Run) -> tuple[Arrays, Arrays]:
    inputs = sequence_feed(pair.whole_signature, seed, LONGEST, pair.domain)
    batch, steps = len(next(iter(inputs.values()))), sequence_length(inputs, pair.whole_signature)
    whole = run_whole({**inputs, **pair.whole_signature.fresh_states(batch)})
    pieces = cut(inputs, pair.whole_signature, (*_CHUNKS, steps - sum(_CHUNKS)))
    found = [found for _, found in in_turn(run_chunk, pair.chunked_signature, pieces, batch)]
    return whole, joined(found, pair.whole_signature)
