"""How well a model determines each of its values: what rounding alone does to it, measured on the float64 run.

The float64 program is run again in Monte Carlo arithmetic, several times, every operation off by up to four rounding
errors of the dtype that the source computes in. How far a value moves away from the truth in these runs, its *spread*,
is what any right computation in that dtype may be off by: little where the model is well conditioned, much where
differences of large numbers, a chaotic recurrence or a threshold nearby let rounding decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rnnexport.goldens import Arrays, Golden
from rnnexport.reference.rounding import Rounding
from rnnexport.signature import Signature

if TYPE_CHECKING:
    from rnnexport.reference.float64 import Exact

# Binary digits of the dtypes that have fewer than float64; of bfloat16 and float32 with the one that is not written.
_DIGITS = {"bfloat16": 8, "float16": 11, "float32": 24}
# So many runs: a value that each of them leaves by chance where it is, though rounding moves it, is one of a million.
_RUNS = 6
# In units of half a last place: kernels approximate tanh and exp to some, and a threshold is met from further away.
_ERRORS = 4.0


class Conditioning:
    """Runs of a model in arithmetics that round as a dtype does; none where there is no float64 run, or no such dtype.

    Args:
        run: of the model in float64.
        signature: what goes in and comes out.
        dtype: the narrowest that the source computes in.
    """

    def __init__(self, run: Exact, signature: Signature, dtype: str) -> None:
        digits = _DIGITS.get(dtype, 0)
        unit = _ERRORS * 2.0**-digits
        self._signature = signature
        self._runs = [run.rounding(Rounding(digits, unit, seed)) for seed in range(_RUNS)] if digits else []
        self._before: list[Arrays] = [{} for _ in self._runs]

    def with_spread(self, golden: Golden) -> Golden:
        """The golden with its spread; a call that carries goes on, in each run, from the states of that run."""
        if not golden.truth:
            return golden
        found = [self._run(at, golden) for at in range(len(self._runs))]
        moved = {name: _furthest([one[name] for one in found if one], truth) for name, truth in golden.truth.items()}
        return replace(golden, spread={name: spread for name, spread in moved.items() if spread is not None})

    def _run(self, at: int, golden: Golden) -> Arrays:
        feed = dict(golden.feed)
        if golden.carries:
            feed |= self._signature.carried({**golden.expected, **self._before[at]})
        found = self._runs[at].run(feed, golden.expected)
        self._before[at] = found
        return found


def _furthest(runs: Sequence[np.ndarray], truth: np.ndarray) -> np.ndarray | None:
    """The most that one of the runs moved each value; infinite where one gave no number. None without a run."""
    if not runs:
        return None
    with np.errstate(invalid="ignore"):
        moved = np.stack([np.where(one == truth, 0.0, np.abs(one - truth)) for one in runs])
    spread: np.ndarray = np.max(np.where(np.isnan(moved), np.inf, moved), axis=0)
    return spread
