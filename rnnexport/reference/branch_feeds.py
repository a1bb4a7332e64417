"""The goldens that a model itself asks for, run by eager Keras, and what all goldens reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from rnnexport.artifact.goldens import Arrays, Golden
from rnnexport.core.coverage import Coverage
from rnnexport.core.errors import ConversionError
from rnnexport.reference.domain import Learner
from rnnexport.reference.search import Chosen, Sides, search

if TYPE_CHECKING:
    from rnnexport.source.model import SourceModel
    from rnnexport.source.trace import TracedModel


@dataclass(frozen=True, eq=False)
class Asked:
    """What a model asks for.

    Attributes:
        goldens: feeds on sides of branches that no planned feed reaches.
        sides: what all goldens reach; None where that is not known.
        unknown: why not.
    """

    goldens: tuple[Golden, ...] = ()
    sides: Sides | None = field(default=None)
    unknown: str = ""

    def coverage(self, notes: tuple[str, ...]) -> Coverage:
        """What is told of it, besides `notes`."""
        return Coverage(notes, unknown=self.unknown) if self.sides is None else self.sides.coverage(notes)


def asked_for(
    source: SourceModel, traced: TracedModel | None, goldens: Sequence[Golden], seed: int, learner: Learner
) -> Asked:
    """What the model asks for besides the goldens, which have whole feeds."""
    from rnnexport.source.branches import NotObservedError

    if traced is None:
        return Asked(unknown="the model can't be traced")
    try:
        chosen, sides = search(traced, goldens, seed, learner.domain)
    except NotObservedError as error:
        return Asked(unknown=str(error))
    found = []
    for one in chosen:
        if (expected := _expected(source, traced, one)) is not None:
            found.append(Golden(one.label, one.feed, expected))
            sides.reached |= one.sides
    return Asked(tuple(found), sides)


def _expected(source: SourceModel, traced: TracedModel, chosen: Chosen) -> Arrays | None:
    """What the source gives; None where it raises, or is not finite."""
    from rnnexport.source.eager import reference

    try:
        expected = reference(source, traced.signature, chosen.feed)
    except ConversionError:
        return None
    real = [array for array in expected.values() if np.issubdtype(array.dtype, np.inexact)]
    return expected if all(np.all(np.isfinite(array)) for array in real) else None
