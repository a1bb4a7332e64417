"""Inside which domain a source is defined, learnt by running it.

`log` wants positive values, `exp` small ones, a mean over the tokens of a row one token at least. A feed on which the
source is not finite says nothing of an artifact, so the next narrower domain is tried: the first that gives finite
numbers alone, else the one that gives most of them.

What judges an artifact of long sequences: eager Keras for the first feeds, and the model's own graph for the others.

Eager Keras takes some milliseconds a timestep, so that a dozen feeds of a thousand steps would take minutes. Where a
length is fixed no feed can be shorter. The graph is taken where it gave what eager Keras gives on each of the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, product
from typing import TYPE_CHECKING

import numpy as np

from rnnexport.artifact.goldens import Arrays
from rnnexport.core.errors import ConversionError, ForeignCode
from rnnexport.core.signature import Signature, timesteps
from rnnexport.reference.certainty import largest_excess, narrowest, tolerance_for
from rnnexport.verification.domain import EVERYWHERE, Domain
from rnnexport.verification.feeds import LONG, REQUIRED, Feed, chunks, feed_at, is_long

if TYPE_CHECKING:
    from rnnexport.source.model import SourceModel
    from rnnexport.source.trace import TracedModel

# From the widest to the narrowest: `exp` is finite up to 88, `1 - x * x` positive below 1, an id may be a timestep.
_NARROWER = sorted(
    (
        *(Domain(most, *rest) for *rest, most in product((False, True), (False, True), (None, 30.0, 0.9))),
        *(Domain(positive=positive, last=last) for last, positive in product((4, 1, 0), (False, True))),
    ),
    key=lambda one: (one.most is not None) + one.positive + one.tokens + (one.last is not None),
)[1:]
_VAIN = 2  # searches that found nothing, after which there is no further one
_LONGEST_REASON = 160  # characters of what an error says


@dataclass(frozen=True, eq=False)
class Run:
    """One feed, and what the source gave.

    Attributes:
        feed: what went in.
        expected: what came out, by output; empty where the source raised.
        problem: what is wrong with that, as the rest of a sentence about the source; empty where all is finite.
        finite: the share of values that are, from 0 to 1.
    """

    feed: Feed
    expected: Arrays
    problem: str = ""
    finite: float = 1.0


class Learner:
    """Runs the feeds of one source, each in a domain where the source is finite.

    Args:
        source: the model.
        signature: what goes in and comes out.
        seed: of the feeds.
        longer: how many timesteps to add to each feed.
        judge: what runs a feed; eager Keras by default.
    """

    def __init__(
        self, source: SourceModel, signature: Signature, seed: int, longer: int = 0, judge: Judge | None = None
    ) -> None:
        self._source, self._signature, self._seed = source, signature, seed
        self._judge = judge or Judge(source, signature, None)
        self._longer = longer
        self._learnt: list[Domain] = []
        self._vain = 0
        self._refused: list[Run] = []
        self._notes: dict[tuple[str, str], int] = {}

    @property
    def domain(self) -> Domain:
        """In which the source was found to be finite, where it is not so everywhere."""
        return replace(self._learnt[0] if self._learnt else EVERYWHERE, longer=self._longer)

    @property
    def too_short(self) -> bool:
        """Whether there were feeds that the source can't be run on, or gives nothing for: longer ones may do."""
        return any(not run.expected or not _values(run.expected) for run in self._refused)

    def run(self, index: int) -> Run | None:
        """The feed of that place in the plan, narrowed as far as needed; None where it says nothing in any domain."""
        first = best = self._run(self._feed(index, EVERYWHERE))
        if not first.problem:
            return first
        for feed in self._narrower(index, first.feed):
            run = self._run(feed)
            best = max(best, run, key=lambda one: one.finite)
            if not best.problem:
                break
        self._learn(first, best)
        return best if best.finite > 0 else None

    def chunk_runs(self) -> list[tuple[Feed, Arrays]]:
        """A sequence in chunks, each started from the states that the source itself had after the one before.

        A source that can't run such a length (its length is fixed, say), or is never finite there, has none.
        """
        tried = [self._chunks(domain) for domain in (EVERYWHERE, *self._learnt)]
        whole = [runs for runs in tried if runs and not any(run.problem for run in runs)]
        return [(run.feed, run.expected) for run in (whole or tried)[0]]

    def notes(self) -> tuple[str, ...]:
        """Which feeds were replaced, and why, a sentence each."""
        longer = [f"all feeds have {self._longer} more timesteps than planned"] if self._longer else []
        return (
            *longer,
            *self._judge.notes(),
            *(
                f"{count} {'feed' if count == 1 else 'feeds'} {what}: the source {why}"
                for (what, why), count in self._notes.items()
            ),
        )

    def refusal(self) -> ConversionError:
        """Why there are too few feeds that say something."""
        first = self._refused[0]
        if not first.expected:
            return ConversionError(
                first.problem, "a model that runs at the lengths it declares", "fix the length with --timesteps N"
            )
        return ConversionError(
            f"{self._source.name} {first.problem}, and in no domain that was tried gives finite numbers "
            f"({', '.join(map(str, _NARROWER[:3]))} and so on)",
            "a model with finite outputs for finite inputs",
            "mend the model",
        )

    def _narrower(self, index: int, first: Feed) -> Iterator[Feed]:
        """The feed in narrower domains, what helped before first, each once."""
        search = self._vain < _VAIN and index != LONG
        seen = [first]
        for domain in dict.fromkeys(chain(self._learnt, _NARROWER if search else ())):
            feed = self._feed(index, domain)
            if not any(_same(feed, one) for one in seen):
                seen.append(feed)
                yield feed

    def _feed(self, index: int, domain: Domain) -> Feed:
        return feed_at(self._signature, self._seed, index, replace(domain, longer=self._longer))

    def _learn(self, first: Run, best: Run) -> None:
        if best.finite == 0:
            self._refused.append(first)
        if best is first:
            self._vain += 1
            what = "left out" if first.finite == 0 else "compared where it is finite"
        else:
            domain = replace(best.feed.domain, longer=0)
            self._learnt = [domain, *(one for one in self._learnt if one != domain)]
            what = f"replaced by {'one' if best.finite == 1 else 'a more finite one'} with {domain}"
        why = first.problem if first.expected else f"can't be run there ({first.problem[:_LONGEST_REASON]})"
        key = what, why
        self._notes[key] = self._notes.get(key, 0) + 1

    def _run(self, feed: Feed, carried: Arrays | None = None) -> Run:
        try:
            expected = self._judge({**feed.arrays, **(carried or {})})
        except ConversionError as error:
            return Run(feed, {}, error.found, 0.0)
        return Run(feed, expected, *_judged(expected))

    def _chunks(self, domain: Domain) -> list[Run]:
        runs: list[Run] = []
        for feed in chunks(self._signature, self._seed, replace(domain, longer=self._longer)):
            runs.append(self._run(feed, self._signature.carried(runs[-1].expected) if feed.carries else None))
            if runs[-1].finite == 0:
                return []
        return runs


def _judged(expected: Arrays) -> tuple[str, float]:
    """What is wrong with outputs, and the share of their values that are finite."""
    if not _values(expected):
        return "gives no values", 0.0
    real = {name: array for name, array in expected.items() if np.issubdtype(array.dtype, np.inexact) and array.size}
    finite = {name: np.count_nonzero(np.isfinite(array)) for name, array in real.items()}
    bad = [name for name, array in real.items() if finite[name] < array.size]
    if not bad:
        return "", 1.0
    return f"is not finite in {', '.join(bad)}", sum(finite.values()) / sum(array.size for array in real.values())


def _values(expected: Arrays) -> int:
    return sum(array.size for array in expected.values())


def _same(one: Feed, other: Feed) -> bool:
    return all(np.array_equal(array, other.arrays[name]) for name, array in one.arrays.items())


class Judge:
    """Gives what every artifact must give.

    Args:
        source: the model.
        signature: what goes in and comes out.
        traced: it as a graph at these sizes; None where it can't be one.
    """

    def __init__(self, source: SourceModel, signature: Signature, traced: TracedModel | None) -> None:
        recurrent = any(map(source.api.recurrent, source.api.layers(source.model)))
        self._source, self._signature = source, signature
        self._traced = traced if recurrent and is_long(signature) else None
        self._agreed = self._by_graph = 0

    def __call__(self, feed: Arrays) -> Arrays:
        """The outputs, by name. ConversionError where the model's own code raises."""
        from rnnexport.source.eager import reference

        if self._traced is not None and self._agreed >= REQUIRED:
            self._by_graph += 1
            return self._of_graph(self._traced, feed)
        expected = reference(self._source, self._signature, feed)
        if self._traced is not None:
            dtype = narrowest(self._source, self._traced)
            tolerance = tolerance_for(dtype).for_length(timesteps(feed, self._signature))
            agrees = largest_excess(expected, self._of_graph(self._traced, feed), tolerance) <= 1
            # Where it does not, eager Keras alone says what is right.
            self._traced, self._agreed = self._traced if agrees else None, self._agreed + 1
        return expected

    def _of_graph(self, traced: TracedModel, feed: Arrays) -> Arrays:
        from rnnexport.source.eager import explain_call

        with ForeignCode(explain_call(self._source)):
            return traced.run(feed)

    def notes(self) -> tuple[str, ...]:
        """What is told of it."""
        if not self._by_graph:
            return ()
        return (
            f"long feeds run by the model's TensorFlow graph: {self._by_graph}; on {self._agreed} others it gave what "
            "eager Keras gives",
        )
