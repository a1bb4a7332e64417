"""Choosing by measurement: the proven forms of a recurrence timed on this host, at one size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from rnnexport.errors import UsageError
from rnnexport.lowering.checking import Feed
from rnnexport.lowering.choosing import Choice
from rnnexport.signature import BATCH

# Seconds that one call of each model takes on the feed, the models interleaved; the median.
Measure = Callable[[Sequence[ir.Model], Feed], list[float]]


def resized(model: ir.Model, feed: Feed, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """The feed with another batch and length: its values repeated, so that ids stay in their vocabulary.

    Raises:
        UsageError: the model fixes its batch or length to another number.
    """
    batch, steps = size
    found = {}
    for value in model.graph.inputs:
        array = feed[str(value.name)]
        dims = (
            []
            if value.shape is None
            else [dim.value if isinstance(dim, ir.SymbolicDim) else dim for dim in value.shape]
        )
        wanted = [dim if isinstance(dim, int) else batch if dim == BATCH else steps for dim in dims]
        found[str(value.name)] = np.resize(array, wanted)
    _require_size(model, batch, steps)
    return found


def _require_size(model: ir.Model, batch: int, steps: int) -> None:
    for value in model.graph.inputs:
        shape = list(value.shape or ())
        for axis, (name, wanted) in enumerate((("batch", batch), ("timesteps", steps))):
            if (
                axis < len(shape) - (axis == 1)
                and isinstance(shape[axis], int)
                and shape[axis] != wanted
                and len(shape) > 2
            ):
                raise UsageError(
                    f"--tune {batch}x{steps}, and {value.name} has {shape[axis]} fixed as its {name}",
                    f"{name} {shape[axis]}",
                    "change --tune",
                )


def measured(models: Mapping[str, ir.Model], feed: Feed, size: tuple[int, int], measure: Measure) -> Choice:
    """The fastest of the models, by measurement."""
    seconds = dict(zip(models, measure(list(models.values()), feed), strict=True))
    best = min(seconds, key=lambda name: seconds[name])
    others = ", ".join(f"{name} {1e6 * value:.0f}" for name, value in seconds.items() if name != best)
    return Choice(best, f"measured at {size[0]}x{size[1]}: {1e6 * seconds[best]:.0f} us ({others})")
