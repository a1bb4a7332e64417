"""Choosing by measurement: the proven forms of a recurrence timed on this host, at one size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from rnnexport.core.signature import BATCH
from rnnexport.lowering.cost_model import Choice
from rnnexport.lowering.differential_check import Feed

# Seconds that one call of each model takes on the feed, the models interleaved; the median.
Measure = Callable[[Sequence[ir.Model], Feed], list[float]]


def resized(model: ir.Model, feed: Feed, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """The feed at another batch and length, its values repeated, so that ids stay in their vocabulary.

    What the model fixes stays as it is.
    """
    batch, steps = size
    found = {}
    for value in model.graph.inputs:
        wanted = [dim if isinstance(dim, int) else batch if dim == BATCH else steps for dim in _dims(value)]
        found[str(value.name)] = np.resize(feed[str(value.name)], wanted)
    return found


def _dims(value: ir.Value) -> list[int | str | None]:
    return [dim.value if isinstance(dim, ir.SymbolicDim) else dim for dim in value.shape or ()]


def size_told(model: ir.Model, size: tuple[int, int]) -> str:
    """The size that is measured, in words: what the model fixes can't be chosen."""
    names = {dim for value in model.graph.inputs for dim in _dims(value) if not isinstance(dim, int)}
    parts = [
        f"batch {size[0]}" if BATCH in names else "the model's own batch",
        f"length {size[1]}" if names - {BATCH} else "its own length",
    ]
    return " and ".join(parts)


def measured(models: Mapping[str, ir.Model], feed: Feed, at: str, measure: Measure) -> Choice:
    """The fastest of the models, by measurement; `at` tells the size in words."""
    seconds = dict(zip(models, measure(list(models.values()), feed), strict=True))
    best = min(seconds, key=lambda name: seconds[name])
    others = ", ".join(f"{name} {1e6 * value:.0f}" for name, value in seconds.items() if name != best)
    return Choice(best, f"measured at {at}: {1e6 * seconds[best]:.0f} us ({others})")
