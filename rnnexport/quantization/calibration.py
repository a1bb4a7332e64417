"""Ranges of activations, over the steps of sequences that begin at their initial states, and uint8 numbers in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

_LEVELS = 255
_LEAST = 1e-30


@dataclass(frozen=True, eq=False)
class ObservedRange:
    """What a value was seen to be.

    Attributes:
        low, high: the least and the largest of each channel, which is a place on its last axis.
    """

    low: np.ndarray
    high: np.ndarray

    def merged(self, other: ObservedRange) -> ObservedRange:
        """Of both."""
        return ObservedRange(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    def affine(self) -> tuple[np.float32, np.uint8]:
        """(scale, zero): of the value as a whole, `x ~ scale * (q - zero)`, 0 being one of the numbers."""
        low, high = min(float(self.low.min()), 0.0), max(float(self.high.max()), 0.0)
        scale = np.float32(max((high - low) / _LEVELS, _LEAST))
        return scale, np.uint8(np.clip(np.rint(-low / float(scale)), 0, _LEVELS))

    @property
    def is_finite(self) -> bool:
        """Whether a scale can be made of it."""
        return bool(np.isfinite(self.low).all() and np.isfinite(self.high).all())


@dataclass(frozen=True)
class Saturation:
    """How many values of other sequences lie outside of the ranges.

    Attributes:
        count: how many do, by the name of the value.
        of: how many there are.
    """

    count: Mapping[str, int]
    of: Mapping[str, int]

    @property
    def share(self) -> float:
        """The share of all values."""
        total = sum(self.of.values())
        return sum(self.count.values()) / total if total else 0.0

    def worst(self) -> tuple[str, float]:
        """The value of which most lie outside, and the share of it; an empty name where none does."""
        shares = {name: self.count[name] / self.of[name] for name in self.count if self.of.get(name)}
        name = max(shares, key=lambda one: shares[one], default="")
        return (name, shares[name]) if name and shares[name] else ("", 0.0)
