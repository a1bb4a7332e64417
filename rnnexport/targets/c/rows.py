"""Whether a model computes each row of a batch from that row alone, as a program does that is called row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rnnexport.artifact.goldens import Arrays
from rnnexport.core.errors import ConversionError
from rnnexport.core.signature import BATCH, TensorSpec
from rnnexport.source.trace import TracedModel

_MOST = 0.9  # of the values
_FEEDS = 6  # of those that are small: rows of tiny numbers are alike, whatever becomes of them


def require_independent(traced: TracedModel, feeds: Sequence[Arrays]) -> None:
    """ConversionError where a row of an output is another one if its row of the inputs is alone; names the output.

    Args:
        traced: the model.
        feeds: inputs and states, of which the smallest with several rows are run.
    """
    specs = traced.signature.all_inputs
    batches = [feed for feed in feeds if _rows(specs, feed) > 1]
    for feed in sorted(batches, key=lambda one: sum(array.size for array in one.values()))[:_FEEDS]:
        together = traced.run(feed)
        last = _rows(specs, feed) - 1
        alone = traced.run({spec.name: _row(spec, feed[spec.name], last) for spec in specs})
        for spec in traced.signature.all_outputs:
            if not _alike(_row(spec, together[spec.name], last), alone[spec.name]):
                raise ConversionError(
                    f"{spec.name} of {traced.name} depends on the other rows of its batch",
                    "rows that do not: a C program is called with one",
                    "give --batch N, with which a call takes N rows, or export to another target",
                )


def _rows(specs: Sequence[TensorSpec], feed: Mapping[str, np.ndarray]) -> int:
    """The size of an open batch; 0 of a fixed one, and of a feed without states."""
    sizes = [feed[spec.name].shape[spec.shape.index(BATCH)] for spec in specs if BATCH in spec.shape]
    return min(sizes, default=0)


def _row(spec: TensorSpec, array: np.ndarray, at: int) -> np.ndarray:
    return np.take(array, [at], axis=spec.shape.index(BATCH)) if BATCH in spec.shape else array


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Equal in nearly all values, but for rounding, which differs with the batch: a few may be on an edge."""
    if one.shape != other.shape:
        return False
    if one.dtype.kind not in "fc":
        same = one == other
    else:
        scale = 1e-3 * np.abs(one[np.isfinite(one)]).max(initial=0.0)
        same = np.isclose(one, other, rtol=1e-2, atol=scale, equal_nan=True)
    return not same.size or bool(same.mean() > _MOST)
