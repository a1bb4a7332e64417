"""Rows of inputs to look for the other side of a branch among: constant, random and lopsided ones at growing scales."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from rnnexport.artifact.goldens import Arrays
from rnnexport.core.signature import BATCH, Signature, TensorSpec
from rnnexport.verification.domain import Domain, is_real, values, with_ends
from rnnexport.verification.feeds import sizes_of

_TIMESTEPS = 16  # where the length is open
_SCALES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1e3, 1e4)  # the smallest first: it is where a source is most certain
_PATTERNS = 4
ROWS = len(_SCALES) * _PATTERNS
_LARGEST = 1 << 22  # values of all rows together
_MOST_CALLS = 8  # where the batch is fixed


def candidates(signature: Signature, seed: int, domain: Domain) -> list[Arrays]:
    """Feeds whose rows differ in scale and pattern, the smallest scales first; none where rows can't be told apart."""
    first = signature.inputs[0].shape[:1]
    if any(spec.shape[:1] != first for spec in signature.all_inputs) or not first:
        return []
    rng = np.random.default_rng([seed, ROWS])
    sizes = sizes_of(signature, 0, ROWS, _TIMESTEPS + domain.longer) | {BATCH: ROWS}
    # As many rows as there are candidates, whatever the batch is fixed to.
    free = {spec.name: replace(spec, shape=(BATCH, *spec.shape[1:])) for spec in signature.all_inputs}
    made = {name: values(rng, spec, sizes, 1.0, domain) for name, spec in free.items()}
    if sum(array.size for array in made.values()) > _LARGEST:
        return []
    states = {state.input.name for state in signature.states}
    told = {
        spec.name: with_ends(
            rng, _patterned(rng, made[spec.name], spec, domain, state=spec.name in states), spec, domain
        )
        for spec in signature.all_inputs
    }
    batch = first[0] if isinstance(first[0], int) else ROWS
    return list(cut(told, batch))[:: max(1, ROWS // batch // _MOST_CALLS)]


def cut(rows: Arrays, batch: int) -> Iterator[Arrays]:
    """The rows in feeds of `batch` rows; the last one is filled up with its own last row."""
    count = len(next(iter(rows.values())))
    for start in range(0, count, batch):
        at = np.minimum(np.arange(start, start + batch), count - 1)
        yield {name: array[at] for name, array in rows.items()}


def joined(feeds: Sequence[Arrays]) -> dict[str, np.ndarray]:
    """The rows of all feeds."""
    return {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}


def inside(array: np.ndarray, spec: TensorSpec, domain: Domain) -> np.ndarray:
    """Real values moved into what the signature and the domain allow."""
    if domain.positive:
        array = np.abs(array)
    if domain.most is not None:
        array = np.clip(array, -domain.most, domain.most)
    if spec.range is not None:
        array = np.clip(array, *spec.range)
    return array.astype(spec.dtype)


def _patterned(
    rng: np.random.Generator, array: np.ndarray, spec: TensorSpec, domain: Domain, *, state: bool
) -> np.ndarray:
    """Row by row: all values the same, all the opposite, random ones, one column alone; at each scale in turn."""
    if not is_real(spec):
        return array
    scales = np.repeat(_SCALES, _PATTERNS).reshape(-1, *[1] * (array.ndim - 1))
    scales = np.sqrt(scales) * 0.5 if state else scales
    found = array.astype(np.float64)
    found[0::_PATTERNS] = 1.0
    found[1::_PATTERNS] = -1.0
    lopsided = found[3::_PATTERNS] * 0.01
    if array.ndim > 1:
        for row in lopsided:
            row[..., rng.integers(array.shape[-1])] *= 100
    found[3::_PATTERNS] = lopsided
    real = inside(found * scales, spec, domain)
    if spec.columns is None:
        return real
    real[..., list(spec.columns)] = array[..., list(spec.columns)]
    return real
