"""How well a model determines each of its values: what rounding alone does to it, measured on the float64 run.

The float64 program is run again in Monte Carlo arithmetic, several times, every operation off by up to eight rounding
errors of the dtype that the source computes in. How far a value moves away from the truth in these runs, its *spread*,
is what any right computation in that dtype may be off by: little where the model is well conditioned, much where
differences of large numbers, a chaotic recurrence or a threshold nearby let rounding decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from rnnexport.artifact.goldens import Arrays, Golden
from rnnexport.core.errors import ConversionError
from rnnexport.core.signature import BATCH, Signature
from rnnexport.reference.certainty import tolerance_for
from rnnexport.reference.rounding import Rounding
from rnnexport.verification.compare import excesses
from rnnexport.verification.tolerance import Tolerance, bounds, leeway, uncertain

if TYPE_CHECKING:
    from rnnexport.reference.float64 import Float64Run

# Of the dtypes that are narrower than float64: binary digits, with the one that is not written, and the smallest number
# that no kernel takes for 0.
_DTYPES = {"bfloat16": (8, 2.0**-126), "float16": (11, 2.0**-24), "float32": (24, 2.0**-126)}
# So many pairs of runs, one with the opposite errors of the other: of values that rounding moves, one in a hundred
# thousand is left by all of them where it is. Of a large model, which takes long to run, the first is enough where it
# moves all values of a call by far less than the tolerance, and none of them by a step: now and then one is on an edge
# that another pair would have shown. Where rows do not depend on each other, all but that one are copies of each row
# in one run, which costs a fraction.
_PAIRS = 6
_LARGE = 1 << 24  # bytes of weights
# The spread of six pairs over that of one, as it usually is.
_ALL_OVER_ONE = 2.0
# How far below its bound the spread of all values has to be for one pair to be enough.
_CLEAR = 1.5
# Values that come out of one copy from which copies are run one after the other.
_MUCH = 1 << 18
# How far the copies of a row may be apart where nothing rounds, relative to the largest value.
_ALIKE = 1e-9
# In units of half a last place: kernels approximate tanh and exp to some, and a threshold is met from further away.
_ERRORS = 8.0
# The part of the usual spread of the ill-conditioned units of a row and timestep that each of them has at least: once a
# state has diverged, a unit of it that is where it was in all runs is so by chance.
_SHARED = 0.25
# Where rounding decides this part of the units, it decides all, and as far as the others are apart.
_DIVERGED, _APART = 0.5, 2.0
# A spread of more than this part of what a value, or its output, usually is does not grow with the errors any more: the
# runs show some of the places where the value may be, and it may be anywhere that the output goes.
_LOST = 0.5
_MOST = 0.99  # of an output's values may be so ill conditioned that agreement says nothing


class Conditioning:
    """Runs of a model in arithmetics that round as a dtype does; none where there is no float64 run, or no such dtype.

    Args:
        run: of the model in float64.
        signature: what goes in and comes out.
        dtype: the narrowest that the source computes in.

    Attributes:
        signature: what goes in and comes out.
    """

    def __init__(self, run: Float64Run, signature: Signature, dtype: str) -> None:
        self.signature, self._tolerance = signature, tolerance_for(dtype)
        self._run_of, self._dtype = run, dtype
        self._first: Sample | None = None
        self._others: list[Sample] = []

    def with_spreads(self, goldens: Sequence[Golden]) -> tuple[Golden, ...]:
        """The goldens with their spread; a call that carries goes on, in each run, from the states of that run."""
        followed = [golden.carries for golden in (*goldens[1:], *goldens[:1])]
        return tuple(
            self.with_spread(golden, alone=not golden.carries and not follows)
            for golden, follows in zip(goldens, followed, strict=True)
        )

    def with_spread(self, golden: Golden, *, alone: bool = False) -> Golden:
        """The golden with its spread.

        Args:
            golden: with its truth. A call that carries goes on, in each run, from the states of that run.
            alone: whether no other call goes on from this one, nor this one from another.
        """
        if self._run_of.no_truth or self._run_of.fault or self._dtype not in _DTYPES:  # a faulty program tells nothing
            return golden
        first = list(self._first_of(golden))
        smooth = self._first is not None and not self._first.has_steps
        single = bool(first) and smooth and (alone or not self.signature.states)
        if single and (small := self._small(first, golden)):
            return replace(golden, spread=small)
        if not self._others:
            self._begin(golden)
        runs = chain(first, *(other.of(golden) for other in self._others))
        if (start := next(runs, None)) is None:
            return golden
        moved = {name: _moved(start[name], truth) for name, truth in golden.truth.items()}
        ends = {name: _ends(golden.expected[name], truth, start[name]) for name, truth in golden.truth.items()}
        chosen = {name: np.zeros(array.shape) for name, array in start.items() if name not in moved}
        for one in runs:
            for name, furthest in moved.items():
                np.maximum(furthest, _moved(one[name], golden.truth[name]), out=furthest)
                ends[name] = _ends(one[name], ends[name])
            for name, decided in chosen.items():
                decided[one[name] != start[name]] = np.inf
        real = {name: self._shared(one, golden.expected[name]) for name, one in moved.items()}
        real = {name: _anywhere(one, golden.expected[name], np.ptp(ends[name])) for name, one in real.items()}
        return replace(golden, spread=chosen | real)

    def _first_of(self, golden: Golden) -> Iterator[Arrays]:
        """What the first pair of a large model gives, which may be enough; nothing of a small one."""
        if self._run_of.nbytes < _LARGE:
            return iter(())
        self._first = self._first or self._sample(0, 1)
        return self._first.of(golden)

    def _sample(self, seed: int, copies: int) -> Sample:
        return Sample(self._run_of, self.signature, _DTYPES[self._dtype], seed, copies)

    def _small(self, pair: Sequence[Arrays], golden: Golden) -> dict[str, np.ndarray]:
        """About the spread that all pairs would give, where one shows that it is far below the tolerance; else nothing.

        How far one run moved a value may be little by chance: how far it moved its neighbours tells, too.
        """
        others = [name for name in pair[0] if name not in golden.truth]
        if not all(np.array_equal(pair[0][name], pair[1][name]) for name in others):
            return {}
        found = {name: np.zeros(pair[0][name].shape) for name in others}
        for name, truth in golden.truth.items():
            moved = np.maximum(*(_moved(one[name], truth) for one in pair))
            usual = np.sqrt(np.mean(np.square(moved), axis=-1, keepdims=True)) if moved.ndim and moved.size else moved
            found[name] = _ALL_OVER_ONE * np.maximum(moved, usual)
            if not np.all(leeway(_CLEAR * found[name]) <= self._tolerance.bound(golden.expected[name])):
                return {}
        return found

    def _begin(self, golden: Golden) -> None:
        """Open the pairs that there are not yet: copies of the rows in one, where a copy gives what its row does."""
        seed = 0 if self._first is None else 1
        if self._is_row_by_row(golden):
            self._others = [self._sample(seed, 2 * (_PAIRS - seed))]
        else:
            self._others = [self._sample(one, 1) for one in range(seed, _PAIRS)]

    def _is_row_by_row(self, golden: Golden) -> bool:
        """Whether the rows of the first call give the same with the first row behind them, again and again.

        Copies of all rows would not do: their mean over the batch is the same.
        """
        specs = (*self.signature.all_inputs, *self.signature.all_outputs)
        if golden.carries or not golden.truth or any(spec.shape[:1] != (BATCH,) for spec in specs):
            return False
        if any(len(array) < 2 for array in golden.feed.values()):  # one row tells nothing of others
            return False
        found = self._run_of.program().run(_beside(golden.feed), _beside(golden.expected))
        return bool(found) and all(
            np.allclose(array, found[name], rtol=0, atol=_ALIKE * _largest(array), equal_nan=True)
            for name, array in _beside(golden.truth).items()
        )

    def _shared(self, spread: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """The spread of ill-conditioned values no less than a part of that of their neighbours that are so, too.

        Where rounding decides half of the units, all that it moves are taken to be ill conditioned.
        """
        if not spread.ndim:
            return spread
        wider, coarse = uncertain(self._tolerance, expected, leeway(spread))
        diverged = np.mean(coarse, axis=-1, keepdims=True) >= _DIVERGED
        ill = wider | (diverged & (spread > 0))
        known = ill & np.isfinite(spread)
        count = np.maximum(known.sum(axis=-1, keepdims=True), 1)
        usual = np.sqrt(np.sum(np.square(spread), axis=-1, keepdims=True, where=known) / count)
        shared: np.ndarray = np.where(ill, np.maximum(spread, np.where(diverged, _APART, _SHARED) * usual), spread)
        return shared


class Sample:
    """Runs of a program that rounds at random: a pair of them, one with the opposite errors of the other.

    Where each row has copies it is one run: as many copies as pairs have runs are over an edge nearby as surely.

    Args:
        run: of the model in float64.
        signature: what goes in and comes out.
        dtype: digits and least number, see `_DTYPES`.
        seed: of the random numbers.
        copies: of each row, each with errors of its own.
    """

    def __init__(
        self, run: Float64Run, signature: Signature, dtype: tuple[int, float], seed: int, copies: int = 1
    ) -> None:
        self._signature, self._copies = signature, copies
        digits, least = dtype
        signs = (1, -1) if copies == 1 else (1,)
        self._rounds = [Rounding(digits, least, sign * _ERRORS * 2.0**-digits, seed) for sign in signs]
        self._runs = list(map(run.rounding, self._rounds))
        self._before: list[Arrays] = [{} for _ in signs]

    @property
    def has_steps(self) -> bool:
        """See `Rounding`."""
        return any(one.has_steps for one in self._rounds)

    def of(self, golden: Golden) -> Iterator[Arrays]:
        """What the runs give, by copy; nothing where they can't be run.

        Copies of much are run one after the other.
        """
        return chain.from_iterable(self._ran(at, golden) for at in range(len(self._runs)))

    def _ran(self, at: int, golden: Golden) -> Iterator[Arrays]:
        together = 1 if sum(array.size for array in golden.expected.values()) > _MUCH else self._copies
        before = {name: _pieces(array, self._copies) for name, array in self._before[at].items()}
        after: dict[str, list[np.ndarray]] = {state.output.name: [] for state in self._signature.states}
        self._before[at] = {}
        for first in range(0, self._copies, together):
            feed, expected = _copied(golden.feed, together), _copied(golden.expected, together)
            if golden.carries:
                own = {name: _joined(pieces[first : first + together]) for name, pieces in before.items()}
                feed |= self._signature.carried({**expected, **own})
            found = self._runs[at].run(feed, expected)
            if not found:
                return
            for name in after.keys() & found.keys():
                after[name].append(found[name])
            parts = {name: _pieces(array, together) for name, array in found.items()}
            yield from ({name: pieces[copy] for name, pieces in parts.items()} for copy in range(together))
        self._before[at] = {name: _joined(pieces) for name, pieces in after.items() if pieces}


def _pieces(array: np.ndarray, copies: int) -> list[np.ndarray]:
    """The rows of each copy."""
    return [array] if copies == 1 else np.split(array, copies)


def _joined(pieces: Sequence[np.ndarray]) -> np.ndarray:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def _copied(arrays: Arrays, copies: int) -> dict[str, np.ndarray]:
    """The arrays with so many copies of their rows behind each other."""
    return {name: np.concatenate([array] * copies) if copies > 1 else array for name, array in arrays.items()}


def _largest(array: np.ndarray) -> float:
    """The largest size of its numbers, or 1."""
    return float(np.max(np.abs(array), initial=1.0, where=np.isfinite(array)))


def _beside(arrays: Arrays) -> dict[str, np.ndarray]:
    """The arrays with their first row behind them, as many times as they have rows."""
    return {name: np.concatenate([array, np.repeat(array[:1], len(array), axis=0)]) for name, array in arrays.items()}


def with_luck(golden: Golden, tolerance: Tolerance) -> Golden:
    """The golden with a spread as large as the source's own error at the few values where that is beyond its bound."""
    spread = dict(golden.spread)
    for name, one in spread.items():
        if name not in golden.truth:
            continue
        expected, truth = golden.expected[name], golden.truth[name]
        beyond = excesses(expected, truth, tolerance, leeway(one)) > 1
        spread[name] = np.where(beyond, np.abs(expected - truth), one)
    return replace(golden, spread=spread)


def require_conditioned(name: str, goldens: Sequence[Golden], tolerance: Tolerance, *, cast: bool = False) -> None:
    """Refuse a model one of whose outputs rounding decides on all feeds: no comparison could tell right from wrong.

    Args:
        name: of the model.
        goldens: with their spread.
        tolerance: of the model.
        cast: whether the artifact computes in another dtype. One in float32 of a model in bfloat16 is judged by its
            distance from the truth, where the source says little.

    Raises:
        ConversionError: names the output.
    """
    for output in dict.fromkeys(name for golden in goldens for name in golden.spread):
        known = [golden for golden in goldens if output in golden.spread]
        found = [bounds(tolerance, one.expected[output], leeway(one.spread[output])) for one in known]
        coarse, count = sum(one.coarse for one in found), sum(one.expected[output].size for one in known)
        if cast:
            coarse = sum(int(np.sum(~np.isfinite(one.spread[output]))) for one in known)
        if coarse > _MOST * count:
            raise ConversionError(
                f"rounding alone moves {coarse:,} of {count:,} values of output {output} of {name} by over a hundredth",
                "a model whose outputs follow from its inputs in the precision that it computes in",
                "look for differences of nearly equal numbers, or weights that have diverged",
            )


def _ends(*arrays: np.ndarray) -> np.ndarray:
    """The smallest and the largest number of all; 0 twice where there is none."""
    numbers = np.concatenate([array[np.isfinite(array)].astype(np.float64) for array in arrays])
    return np.array([numbers.min(), numbers.max()]) if numbers.size else np.zeros(2)


def _anywhere(spread: np.ndarray, expected: np.ndarray, reach: np.floating) -> np.ndarray:
    """The spread no less than what the output reaches in all, where rounding has lost a value; see `_LOST`."""
    sizes = np.where(np.isfinite(expected), np.abs(expected), 0.0).astype(np.float64)
    usual = np.sqrt(np.mean(np.square(sizes))) if sizes.size else 0.0
    wide: np.ndarray = np.where(spread > _LOST * np.maximum(sizes, usual), np.maximum(spread, reach), spread)
    return wide


def _moved(one: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """How far a run moved each value; infinite where it gave no number."""
    with np.errstate(invalid="ignore"):
        moved = np.where(one == truth, 0.0, np.abs(one - truth))
    return np.where(np.isnan(moved), np.inf, moved)
