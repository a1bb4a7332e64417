"""A model and its stream over a sequence that is too long for eager Keras: as graphs, in float64 where that can be.

A delay line, or a convolution of its own, may look back further than any short sequence is long.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rnnexport.errors import ConversionError
from rnnexport.goldens import Arrays
from rnnexport.verification.chunks import cut, in_turn, joined, sequence_length
from rnnexport.verification.feeds import sequence_feed

if TYPE_CHECKING:
    from rnnexport.causality import Pair

LONGEST = 512
_CHUNKS = (1, 200, 3, 117)  # and what is left
Run = Callable[[Arrays], Arrays]


def both_ways(pair: Pair, seed: int) -> tuple[Arrays, Arrays] | None:
    """What the whole gives, and what its chunks give, joined; None where the model can't be traced.

    Args:
        pair: the model and its stream.
        seed: of the sequence.
    """
    from rnnexport.source.double import NoOracle, oracle
    from rnnexport.source.trace import trace

    try:
        graphs = (
            trace(pair.whole, pair.whole_signature, unroll=False),
            trace(pair.chunked, pair.chunked_signature, unroll=False),
        )
    except ConversionError:
        return None  # nor can it be exported with an open length
    with ExitStack() as stack:
        exact = [one for one in map(oracle, graphs) if not isinstance(one, NoOracle)]
        for one in exact:
            stack.callback(one.close)
        runs = [one.run for one in exact] if len(exact) == len(graphs) else [graph.run for graph in graphs]
        return _run(pair, seed, *runs)


def _run(pair: Pair, seed: int, run_whole: Run, run_chunk: Run) -> tuple[Arrays, Arrays]:
    inputs = sequence_feed(pair.whole_signature, seed, LONGEST)
    batch, steps = len(next(iter(inputs.values()))), sequence_length(inputs, pair.whole_signature)
    whole = run_whole({**inputs, **pair.whole_signature.fresh_states(batch)})
    pieces = cut(inputs, pair.whole_signature, (*_CHUNKS, steps - sum(_CHUNKS)))
    found = [found for _, found in in_turn(run_chunk, pair.chunked_signature, pieces, batch)]
    return whole, joined(found, pair.whole_signature)
