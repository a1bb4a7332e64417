"""The values inside a C program: none can be looked at, for a compiler keeps them in registers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rnnexport.artifact.layer_map import InnerValues


def inner_values(
    path: Path, feed: Mapping[str, np.ndarray], provider: str = "cpu", *, tf32: bool = False
) -> InnerValues:
    """Nothing: see the module."""
    del path, feed, provider, tf32
    return InnerValues((), ())
