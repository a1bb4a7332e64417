"""What judges an artifact of long sequences: eager Keras for the first feeds, and the model's own graph for the others.

Eager Keras takes some milliseconds a timestep, so that a dozen feeds of a thousand steps would take minutes. Where a
length is fixed no feed can be shorter. The graph is taken where it gave what eager Keras gives on each of the first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnnexport.artifact.goldens import Arrays
from rnnexport.core.errors import ForeignCode
from rnnexport.core.signature import Signature, timesteps
from rnnexport.reference.certainty import largest_excess, narrowest, tolerance_for
from rnnexport.verification.feeds import REQUIRED, is_long

if TYPE_CHECKING:
    from rnnexport.source.model import SourceModel
    from rnnexport.source.trace import TracedModel


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
            tolerance = tolerance_for(narrowest(self._source)).for_length(timesteps(feed, self._signature))
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
