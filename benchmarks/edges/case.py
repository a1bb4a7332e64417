"""What the conformance table is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Function = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """One operator.

    Attributes:
        name: of it, and of the output that it gives.
        family: under which the table has it.
        inputs: that it takes, a letter each.
        function: of these.
        ulps: how far a right result may be from TensorFlow's or from the exact one, in units of the last place.
        conditioned: whether a result may be off by so many units of the largest number that goes into it: sums cancel.
        exact: of float64 arrays, where TensorFlow in float64 is off as well.
    """

    name: str
    family: str
    inputs: str
    function: Function
    ulps: float = 16
    conditioned: bool = False
    exact: Callable[..., np.ndarray] | None = None
