"""What an artifact gives for an operator, against what TensorFlow gives and what is exact: a verdict a cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["equal", "close", "wrong"]
# Below the smallest normal number a runtime may have zeros.
_FLUSHED = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Verdict:
    """One operator in one format, at elements of one kind.

    Attributes:
        kind: `equal`, what TensorFlow gives to the last bit; `close`, within the rounding of the operator; `wrong`.
        ulps: the largest error in units of the last place, of results that are right.
        why: the element that is furthest off.
    """

    kind: Kind
    ulps: float = 0.0
    why: str = ""


def judge(
    found: np.ndarray, wanted: np.ndarray, exact: np.ndarray, ulps: float, scale: np.ndarray | float = 0.0
) -> Verdict:
    """The verdict on an output.

    Args:
        found: what the artifact gives.
        wanted: what TensorFlow gives.
        exact: the same in float64, or `wanted` where there is none. A result that is nearer to it than TensorFlow's is
            right.
        ulps: how far a right result may be from either, in units of the last place.
        scale: of what goes into a result, where results are small by cancelling.
    """
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return Verdict("wrong", why=f"{found.dtype}{list(found.shape)}, not {wanted.dtype}{list(wanted.shape)}")
    if wanted.dtype.kind != "f":
        off = (found != wanted) & (found != exact)
        return Verdict("wrong", why=_told(found, wanted, off)) if off.any() else Verdict("equal")
    with np.errstate(all="ignore"):
        same = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
        distances = np.minimum(_distance(found, wanted, scale), _distance(found, exact, scale))
        better = np.abs(found - exact) <= np.abs(wanted - exact)
        distances = np.where(same | better, np.where(better, distances.clip(0, ulps), 0.0), distances)
    if (distances > ulps).any():
        return Verdict("wrong", why=_told(found, wanted, distances == distances.max()))
    return Verdict("equal") if same.all() else Verdict("close", float(distances.max(initial=0.0)))


def _distance(found: np.ndarray, wanted: np.ndarray, scale: np.ndarray | float) -> np.ndarray:
    """In units of the last place of `wanted`, or of `scale` where that is larger; 0 for what is the same infinity."""
    rounded = wanted.astype(found.dtype)
    size = np.maximum(np.abs(np.where(np.isfinite(rounded), rounded, 0.0)), np.where(np.isfinite(scale), scale, 0.0))
    unit = np.maximum(np.spacing(size.astype(found.dtype)), np.float32(_FLUSHED))
    apart = np.abs(found.astype(np.float64) - rounded) / unit
    equal = (found == rounded) | (np.isnan(found) & np.isnan(rounded))
    distance: np.ndarray = np.where(equal, 0.0, np.where(np.isfinite(rounded) & np.isfinite(found), apart, np.inf))
    return distance


def _told(found: np.ndarray, wanted: np.ndarray, where: np.ndarray) -> str:
    """The first of the elements, and how many there are."""
    at = tuple(int(index) for index in np.argwhere(where)[0])
    return f"{found[at]:.8g}, not {wanted[at]:.8g}, at {list(at)}; {int(where.sum())} of these"
