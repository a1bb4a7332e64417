"""How certain a source is of its own values: what rounding does to it, and how far it is from float64."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rnnexport.artifact.goldens import Arrays, Golden
from rnnexport.core.signature import Signature
from rnnexport.verification.compare import excess, excesses
from rnnexport.verification.feeds import DARING, Feed, rounded
from rnnexport.verification.tolerance import Tolerance, leeway

if TYPE_CHECKING:
    from rnnexport.source.model import SourceModel
    from rnnexport.source.trace import TracedModel

# How far apart two right computations may be, in units of what one rounding step of the inputs does to the source.
_ROUNDING_STEPS = 2.0
# Decimal digits of each dtype that a model may compute in, and the rtol past which agreement would say nothing.
_PRECISIONS = {"bfloat16": 2, "float16": 3, "float32": 7, "float64": 15}
# The rtol that a narrow dtype needs whatever the inputs are: ten of its rounding steps, since every timestep rounds.
_NARROW = {"bfloat16": 5e-2, "float16": 1e-2}
_USUAL = Tolerance()
_UNCERTAIN = 4  # feeds that the certainty of a source is measured on: the first, the one of large values among them
_WIDEST = {"bfloat16": 1e-1, "float16": 5e-2, "float32": 1e-3, "float64": 1e-3}


def tolerance_of(
    source: SourceModel,
    signature: Signature,
    runs: Sequence[tuple[Feed, Arrays]],
    traced: TracedModel | None = None,
) -> Tolerance:
    """The default one, or `_ROUNDING_STEPS` times what one rounding step of the inputs does to the source.

    Args:
        source: the model.
        signature: what goes in and comes out.
        runs: feeds, with what the source gave for them.
        traced: see `narrowest`.
    """
    from rnnexport.source.eager import reference

    dtype = narrowest(source, traced)
    moved = [
        largest_excess(expected, reference(source, signature, rounded(feed, 10.0 ** -_PRECISIONS[dtype]).arrays))
        for feed, expected in runs[:_UNCERTAIN]
    ]
    least = _NARROW.get(dtype, 0.0) / Tolerance().rtol
    return _widened(max(*moved, least / _ROUNDING_STEPS) * _ROUNDING_STEPS, _WIDEST[dtype])


def tolerance_for(dtype: str) -> Tolerance:
    """That of a source that computes in the dtype, where it is known how much rounding moves each of its values."""
    return _widened(_NARROW.get(dtype, 0.0) / _USUAL.rtol, _WIDEST[dtype])


def without_daring(goldens: Iterable[Golden]) -> tuple[Golden, ...]:
    """The goldens without those of long and large feeds: how far rounding goes there is not known."""
    return tuple(golden for golden in goldens if golden.recipe is None or golden.recipe.index not in DARING)


@dataclass(frozen=True)
class Beyond:
    """Values at which a source is further from the truth than they may be off.

    Attributes:
        count: how many.
        worst: the largest distance, in units of what the value may be off; of any value.
    """

    count: int
    worst: float


def beyond(golden: Golden, tolerance: Tolerance) -> Beyond:
    """Those of one golden that has a truth."""
    found = [
        excesses(golden.expected[name], truth, tolerance, leeway(golden.spread.get(name, np.zeros(truth.shape))))
        for name, truth in golden.truth.items()
    ]
    return Beyond(sum(int(np.sum(one > 1)) for one in found), max(float(one.max(initial=0.0)) for one in found))


def largest_excess(one: Arrays, other: Arrays, tolerance: Tolerance = _USUAL) -> float:
    """The largest difference in units of the tolerance."""
    return max((excess(other[name], one[name], tolerance) for name in one), default=0.0)


def narrowest(source: SourceModel, traced: TracedModel | None) -> str:
    """The narrowest dtype that a layer computes in, or, of an artifact that is cast, that any number of its source has.

    Args:
        source: the model.
        traced: its graph; None where there is none.
    """
    from rnnexport.source.api import layers_by_dtype
    from rnnexport.source.floats import floats_in

    found = {*layers_by_dtype(source.api.layers(source.model))}
    if source.cast:
        found |= {source.cast} | (set() if traced is None else floats_in(traced) & _PRECISIONS.keys())
    return min(found, key=_PRECISIONS.__getitem__, default="float32")


def _widened(factor: float, widest: float) -> Tolerance:
    """The default tolerance, or that times `factor` rounded up to two digits, to an rtol of `widest` at most."""
    if not factor > 1:
        return Tolerance()
    digit = 10.0 ** (math.floor(math.log10(factor)) - 1)
    steps = min(math.ceil(factor / digit) * digit, widest / Tolerance().rtol)
    return Tolerance(Tolerance().rtol * steps, Tolerance().atol * steps)
