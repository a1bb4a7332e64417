"""Whether a model follows from its file: a load whose variables start from its weights has to compute the same."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from rnnexport.artifact.goldens import Arrays
from rnnexport.core.errors import ConversionError
from rnnexport.core.signature import Signature
from rnnexport.verification.compare import excess
from rnnexport.verification.feeds import Feed
from rnnexport.verification.tolerance import Tolerance

if TYPE_CHECKING:
    from rnnexport.source.model import SourceModel

_RUNS = 4  # of the first feeds, the one of large values among them
_TODO = (
    "compute them in call() and train again, or make them weights (add_weight(trainable=False)), or export the trained "
    "model itself, from Python"
)


def require_determined(source: SourceModel, signature: Signature, runs: Iterable[tuple[Feed, Arrays]]) -> None:
    """Refuse a file whose weights do not say what it computes; warn of a live model whose file would be another model.

    Args:
        source: the model.
        signature: what goes in and comes out.
        runs: feeds, with what the source gave for them.

    Raises:
        ConversionError: names the layers, and what they hold that no file does.
    """
    if source.again is None:
        return
    from rnnexport.source.held import changed_values, listed

    try:
        other = source.again()
    except ConversionError:
        if source.file is None:
            return  # no file can be made of it, then
        raise
    others = changed_values(source, other)
    apart = _apart(replace(other, api=source.api), signature, runs, exactly=bool(others))
    if not apart:
        return
    what = f"{listed(others)}, made when the model is built" if others else "something made when the model is built"
    if source.file is None:
        warnings.warn(
            f"{source.name} computes with {what}: exported as it is, but a saved file would lose that (a copy of its "
            f"configuration and weights is {apart:.2g} off)",
            stacklevel=2,
        )
        return
    raise ConversionError(
        f"{source.file.path.name} computes with {what}, which no file holds: made of its weights it is {apart:.2g} off",
        "a model that follows from its file",
        _TODO,
    )


def _apart(other: SourceModel, signature: Signature, runs: Iterable[tuple[Feed, Arrays]], *, exactly: bool) -> float:
    """The largest difference of an output from that of `other`; 0 for what is rounding, unless `exactly`."""
    from rnnexport.source.eager import reference

    found = [(expected, reference(other, signature, feed.arrays)) for feed, expected in islice(runs, _RUNS)]
    pairs = [(one[name], two[name]) for one, two in found for name in one]
    return max((_difference(*pair) for pair in pairs if _differ(*pair, exactly=exactly)), default=0.0)


def _differ(one: np.ndarray, other: np.ndarray, *, exactly: bool) -> bool:
    if exactly or one.shape != other.shape or not np.issubdtype(one.dtype, np.inexact):
        return not np.array_equal(one, other, equal_nan=np.issubdtype(one.dtype, np.inexact))
    return excess(other, one, Tolerance()) > 1


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    if one.shape != other.shape:
        return np.inf
    return float(np.nanmax(np.abs(np.subtract(one, other, dtype=np.float64)), initial=0.0))
