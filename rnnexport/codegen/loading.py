"""A program that was written, run where it is: without a file."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np


def opened(text: str, arrays: Mapping[str, np.ndarray], dtype: Any = np.float32, numpy: Any = None) -> Any:
    """An instance of the class of a program.

    Args:
        text: of the program.
        arrays: its weights.
        dtype: what it computes in.
        numpy: what stands for NumPy in it; None for NumPy.
    """
    module = ModuleType("program")
    module.__file__ = "program.py"
    exec(compile(text, "program.py", "exec"), vars(module))  # the text is this package's own
    if numpy is not None:
        vars(module)["np"] = numpy
    return module.MODEL(arrays, dtype)
