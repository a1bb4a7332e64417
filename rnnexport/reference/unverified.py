"""A source at one boundary as `describe` gives it, without all that only a verification needs.

No float64 run, no conditioning, no search for branches. The first feeds stay: forms of recurrences are compared on
them, and a source that takes none of them is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnnexport.core.signature import Boundary
from rnnexport.reference.certainty import narrowest, tolerance_for
from rnnexport.reference.describe import Described, golden_of, traced_at
from rnnexport.reference.eager_runs import runs_of

if TYPE_CHECKING:
    from rnnexport.source.model import SourceModel

_SEED = 0


def describe_unverified(source: SourceModel, boundary: Boundary) -> Described:
    """The signature of `source`, its graph, and what eager Keras gives for the first feeds.

    Raises as `describe_with_truth`.
    """
    signature, traced, _ = traced_at(source, boundary)
    runs, _ = runs_of(source, signature, _SEED)
    goldens = tuple(golden_of(feed, expected, _SEED) for feed, expected in runs)
    return Described(signature, goldens, tolerance_for(narrowest(source)), traced, "it was not verified")
