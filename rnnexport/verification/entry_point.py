"""Calling one signature of an artifact on goldens, and saying what each call should give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np

from rnnexport.artifact.goldens import Arrays, Golden
from rnnexport.core.errors import ForeignCode, MismatchError, reason
from rnnexport.core.signature import Signature, time_axis, timesteps
from rnnexport.targets.base import Runner
from rnnexport.user_data.recordings import cut, joined
from rnnexport.verification.compare import Wanted, compare_outputs, failed, merged_by_name
from rnnexport.verification.report import FeedReport
from rnnexport.verification.tolerance import Tolerances


@dataclass(frozen=True, eq=False)
class Entry:
    """One signature of an artifact, ready to be called.

    Attributes:
        runner: runs it.
        signature: what goes in and comes out.
        tolerances: how far what comes out may be off.
    """

    runner: Runner
    signature: Signature
    tolerances: Tolerances

    def run(self, feed: Arrays) -> Arrays:
        """Call it once.

        Raises:
            MismatchError: the runtime can't run a feed that the source runs (a batch is baked in, say).
        """
        with ForeignCode(_refused):
            return self.runner.run(feed)

    def run_in_chunks(self, golden: Golden) -> Arrays:
        """Feed it a recording chunk by chunk, its own states carried; of the outputs those that are expected.

        Raises:
            MismatchError: see `run`; or a state did not come out.
        """
        pieces: list[Arrays] = []
        states = {state.input.name: golden.feed[state.input.name] for state in self.signature.states}
        for piece in cut(golden.feed, self.signature, golden.chunk):
            found = self.run({**piece, **states})
            states = carry(found, self.signature)
            pieces.append({name: array for name, array in found.items() if name in golden.expected})
        return joined(pieces, golden.expected)

    def wanted(self, golden: Golden) -> dict[str, Wanted]:
        """What each output should be for a golden whose feed is whole."""
        specs = {spec.name: spec for spec in self.signature.all_outputs}
        length = golden.before + timesteps(golden.feed, self.signature)
        return {
            name: Wanted(
                value,
                golden.truth.get(name),
                time_axis(specs[name], self.signature) if name in specs else None,
                golden.kept.get(name),
                golden.spread.get(name),
                self.tolerances.least(name, golden.spread.get(name)),
                length,
            )
            for name, value in golden.expected.items()
        }

    def judged(self, label: str, found: Arrays, wanted: Mapping[str, Wanted]) -> FeedReport:
        """What a call gave against what it should have given."""
        return FeedReport(label, compare_outputs(found, wanted, self.tolerances.of))

    def reports(self, goldens: Iterable[Golden]) -> Iterator[FeedReport]:
        """Each golden in turn; one that carries starts from the states that came out of the one before it.

        Args:
            goldens: with whole feeds.
        """
        before: Arrays | None = None
        for golden in goldens:
            try:
                carried = carry(before or {}, self.signature) if golden.carries else {}
                before = None
                before = self.run_in_chunks(golden) if golden.chunk else self.run({**golden.feed, **carried})
            except MismatchError as error:
                yield FeedReport(golden.label, tuple(failed(name, error.found) for name in golden.expected))
            else:
                yield self.judged(golden.label, before, self.wanted(golden))


def carry(outputs: Arrays, signature: Signature) -> dict[str, np.ndarray]:
    """The states that came out of one call of an artifact, as the next one takes them.

    Raises:
        MismatchError: one of them did not come out.
    """
    try:
        return signature.carried(outputs)
    except KeyError as error:
        raise MismatchError(
            "the call before it gave no state to go on from", "every next state", "export it again"
        ) from error


def merged(label: str, reports: Iterable[FeedReport]) -> FeedReport:
    """All calls as one, at constant memory. It has no outputs where there was no call."""
    outputs = merged_by_name(chain.from_iterable(report.outputs for report in reports))
    return FeedReport(label, tuple(outputs.values()))


def _refused(error: BaseException) -> MismatchError:
    return MismatchError(f"the runtime raised {reason(error)}", "a result", "export it again")
