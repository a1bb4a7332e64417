"""A source run in float64, and whether that run can be the truth."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rnnexport.errors import ConversionError
from rnnexport.goldens import Arrays, Golden
from rnnexport.reference.certainty import distance
from rnnexport.signature import Signature
from rnnexport.verification.tolerance import Tolerance

if TYPE_CHECKING:
    from rnnexport.codegen.oracle import Oracle, Rounds
    from rnnexport.source.trace import TracedModel


class Exact:
    """A model in float64, or why there is none."""

    def __init__(self, oracle: Oracle | None, no_truth: str) -> None:
        self._oracle = oracle
        self.no_truth = no_truth

    def rounding(self, rounds: Rounds) -> Exact:
        """The same run in an arithmetic that rounds."""
        return Exact(self._oracle and self._oracle.rounding(rounds), self.no_truth)

    def run(self, feed: Arrays, expected: Arrays) -> dict[str, np.ndarray]:
        """The float64 outputs for `feed` of those that are real in `expected`; nothing where it can't be run."""
        if self._oracle is None or self.no_truth:
            return {}
        try:
            outputs = self._oracle.run(feed)
        except ConversionError as error:
            self.no_truth = error.found
            return {}
        floats = {name: array for name, array in expected.items() if np.issubdtype(array.dtype, np.floating)}
        if any(outputs[name].shape != array.shape for name, array in floats.items()):
            self.no_truth = "outputs have other shapes in float64: one of them counts steps of a real number"
            return {}
        # Where the source is not finite its own value is all there is to compare with.
        return {name: np.where(np.isfinite(array), outputs[name], array) for name, array in floats.items()}


def exact(traced: TracedModel | None, no_truth: str = "") -> Exact:
    """The float64 run of a traced model."""
    if traced is None or no_truth:
        return Exact(None, no_truth)
    from rnnexport.codegen.oracle import NoOracle, oracle

    found = oracle(traced)
    return Exact(None, found.reason) if isinstance(found, NoOracle) else Exact(found, "")


def with_truth(goldens: tuple[Golden, ...], signature: Signature, run: Exact) -> tuple[Golden, ...]:
    """The goldens with their float64 truth; with none at all where one of them has none."""
    found: list[Golden] = []
    for golden in goldens:
        feed = dict(golden.feed)
        if golden.carries:
            # A chunk goes on from the float64 states: rounding is not carried into the truth.
            before = {**found[-1].expected, **found[-1].truth}
            feed |= signature.carried(before)
        found.append(replace(golden, truth=run.run(feed, golden.expected)))
    return goldens if run.no_truth else tuple(found)


def doubt(goldens: tuple[Golden, ...], tolerance: Tolerance) -> str:
    """Why the float64 run can't be the truth: its program was made of the source, and may have been made wrongly."""
    pairs = [(golden.expected[name], array) for golden in goldens for name, array in golden.truth.items()]
    if any(np.any(np.isfinite(expected) & ~np.isfinite(array)) for expected, array in pairs):
        return "the float64 program gives no number where eager Keras gives one"
    worst = max((distance(golden, tolerance) for golden in goldens if golden.truth), default=0.0)
    return f"the float64 program is {worst:.1f} times the tolerance from eager Keras" if worst > 1 else ""
