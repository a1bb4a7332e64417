"""What is wrong with the wiring of states, by their values: crossed, not updated, baked in, a step late.

A fault is named only where every call shows it, and where what should have come out is clearly another value: states
that are equal can't be told apart, and nothing is said of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

from rnnexport.artifact.goldens import Arrays
from rnnexport.core.signature import TIME, Signature, StateSpec
from rnnexport.verification.compare import Wanted, compare, excess
from rnnexport.verification.tolerance import Tolerance

# By how many times the tolerance two values differ that are not the same.
_TELLING = 100.0
_SWAPS = 30  # pairs of states that are tried in each other's place
_TRIED = 3  # calls that are run again with another input
Run = Callable[[Arrays], Arrays | None]
Bound = Callable[[str, int], Tolerance]


@dataclass(frozen=True, eq=False)
class Observed:
    """One call: what went in, what came out, what should have."""

    feed: Arrays
    found: Arrays
    wanted: Mapping[str, Wanted]


@dataclass(frozen=True, eq=False)
class Wiring:
    """An artifact whose states may be wired wrongly.

    Attributes:
        signature: what goes in and comes out.
        calls: of the artifact, none of which carries.
        run: calls it once more; None where it can't be run so.
        bound: the tolerance of an output at a number of timesteps.
    """

    signature: Signature
    calls: Sequence[Observed]
    run: Run
    bound: Bound

    def problem(self) -> str:
        """What is wrong, as one sentence; empty where the values do not tell, or nothing is."""
        if all(self._right(call.found, call.wanted) for call in self.calls):
            return ""
        crossed = dict(self._crossed())
        told = [f"{name} holds what {other} should" for name, other in crossed.items()]
        if crossed:
            told[-1] += ": the states are wired crosswise" if set(crossed) & set(crossed.values()) else ""
        others = [state for state in self.signature.states if state.output.name not in crossed]
        told += [said for state in others if (said := self._alone(state))]
        return "; ".join(told) or self._inputs()

    def _crossed(self) -> Iterator[tuple[str, str]]:
        """Each next state that holds what another should, and that other."""
        outputs = [state.output for state in self.signature.states]
        for one in outputs:
            alike = [spec.name for spec in outputs if spec is not one and spec.shape == one.shape]
            other = next((name for name in alike if self._holds(one.name, partial(_wanted, name))), None)
            if other is not None:
                yield one.name, other

    def _alone(self, state: StateSpec) -> str:
        """What is wrong with one state, as a sentence, or nothing."""
        before, after = state.input.name, state.output.name
        if self._passes(after, self.calls):
            return ""
        if self._holds(after, lambda call: call.feed.get(before)):
            return f"{after} is {before} as it went in: the state is not updated"
        if self._holds(after, partial(_start, state)):
            return f"{after} is the initial value of the state, whatever goes in"
        if self._late(after):
            return f"{after} is what it should be one timestep earlier"
        return self._baked(state)

    def _late(self, name: str) -> bool:
        """Whether one timestep more, whatever it is, makes a state right that is wrong."""
        calls = self.calls[:_TRIED]
        found = [self.run(self._longer(call.feed)) for call in calls]
        later = [Observed(call.feed, one or {}, call.wanted) for call, one in zip(calls, found, strict=True)]
        return self._passes(name, later) and any(self._differs(name, call, call.found.get(name)) for call in calls)

    def _longer(self, feed: Arrays) -> Arrays:
        """The feed with the last timestep of each sequence twice."""
        longer = dict(feed)
        for spec in self.signature.inputs:
            for axis, dim in enumerate(spec.shape):
                if isinstance(dim, str) and (dim == TIME or dim.endswith(f"_{TIME}")):
                    last = feed[spec.name].take([-1], axis)
                    longer[spec.name] = np.concatenate([feed[spec.name], last], axis)
        return longer

    def _baked(self, state: StateSpec) -> str:
        """Whether it makes no difference where a state starts, although it should."""
        before, after = state.input.name, state.output.name
        away = [call for call in self.calls if not np.array_equal(call.feed[before], _start(state, call))]
        again = [(call, self.run({**call.feed, before: _start(state, call)}) or {}) for call in away[:_TRIED]]
        if not again:
            return ""
        same = {name for name in again[0][0].found if all(_same(call.found, found, name) for call, found in again)}
        if same == set(again[0][0].found):
            return f"nothing that comes out depends on {before}: the state is baked in"
        # A state may be one that forgets all in a call; it is wrong where it is right from its initial value alone.
        at_start = [call for call in self.calls if all(call is not other for other in away)]
        if after in same and at_start and self._passes(after, at_start):
            return f"{after} does not depend on {before}: its initial value is baked in"
        return ""

    def _inputs(self) -> str:
        """Which two states are taken for each other going in, as a sentence, or nothing."""
        pairs = [
            (one, other)
            for one, other in combinations(self.signature.states, 2)
            if one.input.shape == other.input.shape and one.input.dtype == other.input.dtype
        ]
        wrong = next(call for call in self.calls if not self._right(call.found, call.wanted))
        for one, other in pairs[:_SWAPS]:
            told = self._swapped(wrong, one, other)
            if told and all(self._swapped(call, one, other) == told for call in self.calls[:_TRIED]):
                return told
        return ""

    def _swapped(self, call: Observed, one: StateSpec, other: StateSpec) -> str:
        """What is said of two states where the call is right once they change places."""
        names = one.input.name, other.input.name
        feed = {**call.feed, names[0]: call.feed[names[1]], names[1]: call.feed[names[0]]}
        found = self.run(feed)
        if found is None:
            return ""
        pair = f"{names[0]} and {names[1]}"
        if self._right(found, call.wanted):
            return f"what comes out is right when {pair} change places: these inputs are wired crosswise"
        after = one.output.name, other.output.name
        if not found.keys() >= set(after):
            return ""
        found = {**found, after[0]: found[after[1]], after[1]: found[after[0]]}
        if self._right(found, call.wanted):
            return f"{pair} are wired crosswise, and so are the states that come out"
        return ""

    def _right(self, found: Arrays, wanted: Mapping[str, Wanted]) -> bool:
        return all(
            compare(name, found.get(name), one, self._tolerance(name, one)).passed for name, one in wanted.items()
        )

    def _passes(self, name: str, calls: Sequence[Observed]) -> bool:
        """Whether one output is what it should be in all these calls."""
        return all(self._right(call.found, {name: call.wanted[name]}) for call in calls)

    def _holds(self, name: str, instead: Callable[[Observed], np.ndarray | None]) -> bool:
        """Whether a next state is `instead` in all calls, and that is not what it should be.

        Args:
            name: the output.
            instead: another value it may hold: a whole array, or those values of it that are kept of the output.
        """
        others = [(call, _kept(instead(call), call.wanted[name])) for call in self.calls]
        return all(self._is(name, call, other) for call, other in others) and any(
            self._differs(name, call, other) for call, other in others
        )

    def _is(self, name: str, call: Observed, other: np.ndarray | None) -> bool:
        wanted, found = call.wanted[name], _kept(call.found.get(name), call.wanted[name])
        if other is None or found is None:
            return False
        return compare(name, found, Wanted(other, least=wanted.least), self._tolerance(name, wanted)).passed

    def _differs(self, name: str, call: Observed, other: np.ndarray | None) -> bool:
        """Whether a value is clearly another than the output should have."""
        wanted = call.wanted[name]
        value = _kept(other, wanted)
        if value is None:
            return True
        if not np.issubdtype(wanted.value.dtype, np.inexact):
            return not np.array_equal(value, wanted.value)
        return excess(value, wanted.value, self._tolerance(name, wanted), wanted.least) > _TELLING

    def _tolerance(self, name: str, wanted: Wanted) -> Tolerance:
        return self.bound(name, wanted.timesteps)


def _wanted(name: str, call: Observed) -> np.ndarray:
    return call.wanted[name].value


def _start(state: StateSpec, call: Observed) -> np.ndarray:
    """The state as it is before the first call, of as many rows as the call has."""
    return state.start(len(np.atleast_1d(call.feed[state.input.name])))


def _kept(array: np.ndarray | None, wanted: Wanted) -> np.ndarray | None:
    """The values of an output that are kept; None where they can't be those of that output."""
    if array is None or array.dtype != wanted.value.dtype:
        return None
    if wanted.kept is not None and array.shape == wanted.shape:
        values: np.ndarray = array.reshape(-1)[wanted.kept.indices]
        return values
    return array if array.shape == wanted.value.shape else None


def _same(one: Arrays, other: Arrays, name: str) -> bool:
    """Equal, and numbers: what is not finite says nothing of where it comes from."""
    return name in other and bool(np.array_equal(one[name], other[name]))
