"""What the numbers of a feed may be: what the signature says, and what was learnt of the source besides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnexport.signature import TensorSpec

_DEFAULT_IDS = 10


@dataclass(frozen=True)
class Domain:
    """Bounds of the inputs of a feed besides those of the signature: a source may be defined inside them alone.

    Attributes:
        most: what no real value is larger than; None for no such bound. Larger feeds are made smaller as a whole.
        positive: whether no real value is below 0.
        tokens: whether each row of a padded sequence has a timestep that is no padding.
        longer: how many timesteps are added to the planned ones.
    """

    most: float | None = None
    positive: bool = False
    tokens: bool = False
    longer: int = 0

    def __str__(self) -> str:
        told = ["positive values"] if self.positive else []
        told += [f"values up to {self.most:g}"] if self.most is not None else []
        told += ["a token in each row"] if self.tokens else []
        told += [f"{self.longer} more timesteps"] if self.longer else []
        return ", ".join(told)

    def to_json(self) -> dict[str, Any]:
        """A value `from_json` reads back; empty for no bounds."""
        told = {"most": self.most, "positive": self.positive, "tokens": self.tokens, "longer": self.longer}
        return {key: value for key, value in told.items() if value not in (None, False, 0)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Domain:
        """The inverse of `to_json`. TypeError or ValueError where `value` is of another form."""
        most = value.get("most")
        return Domain(
            None if most is None else float(most),
            bool(value.get("positive", False)),
            bool(value.get("tokens", False)),
            int(value.get("longer", 0)),
        )


EVERYWHERE = Domain()


def values(
    rng: np.random.Generator, spec: TensorSpec, sizes: Mapping[str, int], scale: float, domain: Domain = EVERYWHERE
) -> np.ndarray:
    """Random values of an input: bools, ids of its vocabulary, or real ones of that scale in `domain`."""
    shape = spec.sized(sizes)
    if spec.dtype == "bool":
        return rng.random(shape) < 0.7
    if spec.high is not None or np.issubdtype(np.dtype(spec.dtype), np.integer):
        return rng.integers(_lowest(spec), _highest(spec) + 1, shape).astype(spec.dtype)
    real = rng.standard_normal(shape) * scale
    if domain.positive:
        real = np.abs(real)
    if domain.most is not None and (largest := float(np.max(np.abs(real), initial=0.0))) > domain.most:
        real *= domain.most / largest
    return real.astype(spec.dtype)


def padded(array: np.ndarray, spec: TensorSpec, index: int, domain: Domain = EVERYWHERE) -> np.ndarray:
    """Mark padding in the rows of all feeds but the first: behind, before, in the middle, all over, in turn."""
    if spec.mask is None or index == 0 or array.ndim < 2:
        return array
    steps = array.shape[1]
    third = max(1, steps // 3)
    spans = (slice(steps - third, None), slice(0, third), slice(third, 2 * third), slice(0, None))
    found = array.copy()
    for row in range(len(array)):
        span = spans[(row + index - 1) % len(spans)]
        if domain.tokens and span.start == 0 and (span.stop is None or span.stop >= steps):
            span = slice(1, None)
        if domain.tokens and steps == 1:
            continue
        found[row, span] = spec.mask
    return found


def with_ends(rng: np.random.Generator, ids: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """The ids, the first and the last of the vocabulary among them, where padding leaves two places."""
    if spec.high is None or spec.dtype == "bool":
        return ids
    places = np.flatnonzero(np.ones(ids.shape) if spec.mask is None else ids != spec.mask)
    if len(places) < 2:
        return ids
    found = ids.copy()
    found.flat[rng.choice(places, 2, replace=False)] = [_lowest(spec), _highest(spec)]
    return found


def _lowest(spec: TensorSpec) -> int:
    """Where 0 is padding it comes from the padding alone, so that every other step counts."""
    return 0 if spec.mask is None or spec.high == 1 else 1


def _highest(spec: TensorSpec) -> int:
    return (spec.high or _DEFAULT_IDS) - 1
