"""What the numbers of a feed may be: what the signature says, and what was learnt of the source besides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rnnexport.core.signature import TEXT, TensorSpec

_DEFAULT_IDS = 10
_OTHER_WORDS = ("", "other", "Two words", "a-b, c!", "\u00fcber", "12", "-3.5")  # than a vocabulary has, most likely


@dataclass(frozen=True)
class Domain:
    """Bounds of the inputs of a feed besides those of the signature: a source may be defined inside them alone.

    Attributes:
        most: what no real value is larger than; None for no such bound. Larger feeds are made smaller as a whole.
        positive: whether no real value is below 0, and no id below 1.
        tokens: whether each row of a padded sequence has a timestep that is no padding.
        longer: how many timesteps are added to the planned ones.
        last: what no id is larger than; None for the last one of its vocabulary.
    """

    most: float | None = None
    positive: bool = False
    tokens: bool = False
    longer: int = 0
    last: int | None = None

    def __str__(self) -> str:
        told = ["positive values"] if self.positive else []
        told += [f"values up to {self.most:g}"] if self.most is not None else []
        told += [f"ids up to {self.last}"] if self.last is not None else []
        told += ["a token in each row"] if self.tokens else []
        told += [f"{self.longer} more timesteps"] if self.longer else []
        return ", ".join(told)

    def to_json(self) -> dict[str, Any]:
        """A value `from_json` reads back; empty for no bounds."""
        return {key: value for key, value in asdict(self).items() if value != getattr(EVERYWHERE, key)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Domain:
        """The inverse of `to_json`. TypeError or ValueError where `value` is of another form."""
        most, last = value.get("most"), value.get("last")
        return Domain(
            None if most is None else float(most),
            bool(value.get("positive", False)),
            bool(value.get("tokens", False)),
            int(value.get("longer", 0)),
            None if last is None else int(last),
        )


EVERYWHERE = Domain()


def values(
    rng: np.random.Generator,
    spec: TensorSpec,
    sizes: Mapping[str, int],
    scale: float | tuple[float, ...],
    domain: Domain = EVERYWHERE,
) -> np.ndarray:
    """Random values of an input: bools, ids of its vocabulary, or real ones of that scale in `domain`.

    Several scales are those of the rows, in turn; of three rows one is positive and one negative throughout.
    """
    shape = spec.sized(sizes)
    if spec.dtype == "bool":
        return rng.random(shape) < 0.7
    if spec.dtype == TEXT:
        return rng.choice([*(spec.keys or ()), *_OTHER_WORDS], shape)
    places = _ids(spec, shape)
    if places.all():
        return _whole(rng, spec, shape, domain).astype(spec.dtype)
    real = _real(rng, spec, shape, scale, domain)
    if places.any():
        real = np.where(places, _whole(rng, spec, shape, domain), real)
    return real.astype(spec.dtype)


def _real(
    rng: np.random.Generator,
    spec: TensorSpec,
    shape: tuple[int, ...],
    scale: float | tuple[float, ...],
    domain: Domain,
) -> np.ndarray:
    by_row: np.ndarray = (
        np.resize(scale, shape[:1]).reshape(-1, *[1] * (len(shape) - 1)) if shape else np.asarray(np.max(scale))
    )
    if spec.range is not None:
        # Evenly over the range; a small feed is near the value that is nearest to 0.
        low, high = spec.range
        nearest = min(max(0.0, low), high)
        near: np.ndarray = nearest + (rng.uniform(low, high, shape) - nearest) * np.minimum(1.0, by_row)
        return near
    real: np.ndarray = rng.standard_normal(shape) * by_row
    if isinstance(scale, tuple):
        real[1::3], real[2::3] = np.abs(real[1::3]), -np.abs(real[2::3])
    if domain.positive:
        real = np.abs(real)
    if domain.most is not None and (largest := float(np.max(np.abs(real), initial=0.0))) > domain.most:
        real *= domain.most / largest
    return real


def _whole(rng: np.random.Generator, spec: TensorSpec, shape: tuple[int, ...], domain: Domain) -> np.ndarray:
    if spec.keys is not None and spec.range is None:
        # What is looked up, and as often what lies beside it.
        near = rng.choice(spec.keys, shape) + rng.integers(-1, 2, shape) * rng.integers(0, 2, shape)
        kind = np.iinfo(spec.dtype)
        found: np.ndarray = np.clip(near, kind.min, kind.max)
        return found
    first, last = _ends(spec, domain)
    return rng.integers(first, last + 1, shape)


def _ids(spec: TensorSpec, shape: tuple[int, ...]) -> np.ndarray:
    """Where in an input of that shape there are whole numbers."""
    if np.issubdtype(np.dtype(spec.dtype), np.integer) or (spec.columns is None and (spec.high or spec.words)):
        return np.ones(shape, bool)
    found = np.zeros(shape, bool)
    if spec.columns is not None:
        found[..., list(spec.columns)] = True
    return found


def is_real(spec: TensorSpec) -> bool:
    """Whether an input holds real numbers, or some beside ids."""
    if spec.dtype == TEXT or not np.issubdtype(np.dtype(spec.dtype), np.floating):
        return False
    return spec.columns is not None or (spec.high is None and spec.words is None)


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


def with_ends(rng: np.random.Generator, array: np.ndarray, spec: TensorSpec, domain: Domain = EVERYWHERE) -> np.ndarray:
    """The input, the first and the last id of its vocabulary among its ids, where padding leaves two places."""
    if spec.dtype == "bool" or (spec.high is None and spec.words is None):
        return array
    places = np.flatnonzero(_ids(spec, array.shape) & (True if spec.mask is None else array != spec.mask))
    if len(places) < 2:
        return array
    found = array.copy()
    found.flat[rng.choice(places, 2, replace=False)] = _ends(spec, domain)
    return found


def with_peak(array: np.ndarray, spec: TensorSpec, peak: float, domain: Domain = EVERYWHERE) -> np.ndarray:
    """The real values, the largest of each row at least `peak` or what the domain allows."""
    if not array.size or not np.issubdtype(array.dtype, np.floating) or spec.range is not None:
        return array
    found = array.copy()
    rows = found.reshape(len(found), -1)
    at = np.arange(len(rows)), np.argmax(np.abs(rows), axis=1)
    least = peak if domain.most is None else min(peak, domain.most)
    rows[at] = np.copysign(np.maximum(np.abs(rows[at]), least), rows[at])
    return found


def _ends(spec: TensorSpec, domain: Domain) -> tuple[int, int]:
    """The first and the last id. Where 0 is padding it comes from that alone, so that every other step counts."""
    if spec.range is not None:
        return math.ceil(spec.range[0]), math.floor(spec.range[1])
    last = (spec.high or spec.words or _DEFAULT_IDS) - 1
    last = last if domain.last is None else min(last, domain.last)
    return min(int(spec.mask is not None or domain.positive), last), last
