"""A model and its stream over a sequence that is too long for eager Keras: as graphs, in float64 where rounding tells.

A delay line, or a convolution of its own, may look back further than any short sequence is long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from rnnexport.artifact.goldens import Arrays
from rnnexport.core.errors import ConversionError
from rnnexport.verification.chunks import cut, in_turn, joined, sequence_length
from rnnexport.verification.compare import excess
from rnnexport.verification.feeds import sequence_feed
from rnnexport.verification.tolerance import Tolerance

if TYPE_CHECKING:
    from rnnexport.reference.stream_equivalence import Pair
    from rnnexport.source.trace import TracedModel

LONGEST = 512
_CHUNKS = (1, 200, 3, 117)  # and what is left
_DRIFT = (
    10  # tolerances that a graph may be from the float64 program that was made of it, by rounding over such a length
)
Run = Callable[[Arrays], Arrays]


def both_ways(pair: Pair, seed: int, tolerance: Tolerance) -> tuple[Arrays, Arrays] | None:
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


def _in_float64(pair: Pair, seed: int, graphs: tuple[TracedModel, ...]) -> tuple[Arrays, Arrays] | None:
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


def _run(pair: Pair, seed: int, run_whole: Run, run_chunk: Run) -> tuple[Arrays, Arrays]:
    inputs = sequence_feed(pair.whole_signature, seed, LONGEST, pair.domain)
    batch, steps = len(next(iter(inputs.values()))), sequence_length(inputs, pair.whole_signature)
    whole = run_whole({**inputs, **pair.whole_signature.fresh_states(batch)})
    pieces = cut(inputs, pair.whole_signature, (*_CHUNKS, steps - sum(_CHUNKS)))
    found = [found for _, found in in_turn(run_chunk, pair.chunked_signature, pieces, batch)]
    return whole, joined(found, pair.whole_signature)
