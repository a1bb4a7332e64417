"""Inputs to verify with, for any signature, from a fixed generator.

What they are chosen to reveal:

- batch and length differ from each other in every feed, so that a swapped or hard-coded axis shows in the shape;
- length 1, odd lengths, and lengths no tracer saw;
- rows and timesteps are all different, so that a permutation shows in the values;
- large values saturate gates, tiny ones leave them at their bias;
- states start at their recorded initial value, then at random ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from rnnexport.signature import BATCH, TIME, Signature, TensorSpec

# (batch, timesteps, scale, whether states start at their initial value)
_PLAN = (
    (2, 5, 1.0, True),
    (3, 1, 1.0, False),
    (4, 9, 1.0, False),
    (1, 12, 6.0, False),
    (5, 3, 0.01, True),
)
_SPARES = (2, 3, 4, 6, 7, 8, 9, 10, 11, 13)
_OTHER_SIZES = (9, 12, 7, 10, 8)
_DEFAULT_IDS = 10


@dataclass(frozen=True, eq=False)
class Feed:
    """One call: a label for the report, and the arrays by input name, states included."""

    label: str
    arrays: Mapping[str, np.ndarray]


def feeds(signature: Signature, seed: int = 0) -> Iterator[Feed]:
    """Five feeds, of different sizes where the signature leaves sizes open."""
    rng = np.random.default_rng(seed)
    for index, (batch, timesteps, scale, fresh) in enumerate(_PLAN):
        sizes = _sizes(signature, index, batch, timesteps)
        arrays = {spec.name: _values(rng, spec, sizes, scale) for spec in signature.inputs}
        for state in signature.states:
            random = _values(rng, state.input, sizes, 0.5)
            arrays[state.input.name] = state.initial.copy() if fresh else random
        start = " from the initial state" if signature.states and fresh else ""
        yield Feed(f"{_sizes_text(signature, sizes)}scale {scale:g}{start}", arrays)


def _sizes(signature: Signature, index: int, batch: int, timesteps: int) -> dict[str, int]:
    """A size for every dynamic dimension. A planned size that meets a fixed one of the other axis makes way."""
    lengths, batches = _fixed(signature, 1), _fixed(signature, 0)
    if batch in lengths:
        batch = next(spare for spare in _SPARES[index:] + _SPARES if spare not in lengths and spare != timesteps)
    if timesteps in batches:
        timesteps += 1
    others = [dim for dim in signature.dynamic_dims if dim not in (BATCH, TIME)]
    sizes = {dim: _OTHER_SIZES[(index + shift) % len(_OTHER_SIZES)] for shift, dim in enumerate(others)}
    return {BATCH: batch, TIME: timesteps} | sizes


def _fixed(signature: Signature, axis: int) -> set[int]:
    """Every size that an input fixes on that axis."""
    shapes = [spec.shape for spec in signature.inputs if len(spec.shape) > axis]
    return {dim for shape in shapes if isinstance(dim := shape[axis], int)}


def _values(rng: np.random.Generator, spec: TensorSpec, sizes: Mapping[str, int], scale: float) -> np.ndarray:
    shape = spec.sized(sizes)
    if spec.dtype == "bool":
        return rng.random(shape) < 0.7
    if np.issubdtype(np.dtype(spec.dtype), np.integer):
        return rng.integers(0, spec.high or _DEFAULT_IDS, shape).astype(spec.dtype)
    return (rng.standard_normal(shape) * scale).astype(spec.dtype)


def _sizes_text(signature: Signature, sizes: Mapping[str, int]) -> str:
    shown = {dim: sizes[dim] for dim in signature.dynamic_dims}
    return "".join(f"{dim} {size}, " for dim, size in shown.items())
