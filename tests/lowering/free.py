"""Cells of which nothing is claimed but that a lowering must equal the Loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.lowering.cells import Written
from tests.lowering.draws import kernel, vector
from tests.lowering.spelling import add, product


@dataclass(frozen=True)
class Free:
    """A cell that is a function.

    Attributes:
        what: it is.
        features: of x.
        states: the shape of each, without the batch; None for a counter of steps.
        write: (body, values, states) to what is written.
        outputs: the shape of each.
        constants: the shapes of inputs of the model that every step reads.
    """

    what: str
    features: int
    states: Mapping[str, tuple[int, ...] | None]
    write: Callable[..., Written]
    outputs: Mapping[str, tuple[int, ...]]
    constants: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    op = "any"

    def __str__(self):
        return self.what


def read(body, value, rows, columns, biased=True):
    """Some affine map of a value."""
    made = product(body, value, kernel(body.rng, rows, columns))
    return add(body, made, body.weight(vector(body.rng, columns))) if biased else made
