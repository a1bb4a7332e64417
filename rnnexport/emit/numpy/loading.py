"""A program that was written, run where it is: without a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from rnnexport.emit.numpy.narrow import NarrowArray

# Bytes of weights in float64 that are kept, the smallest first. Others are cast where they are multiplied.
_KEPT = 1 << 28
# Squares of a weight, once something asked for them: a place that all readers of the weight share.
Squares = list[np.ndarray]
View = Callable[[np.ndarray, Squares], np.ndarray]


def opened(text: str, weights: Mapping[str, np.ndarray] | Layers, dtype: Any = np.float32, numpy: Any = None) -> Any:
    """An instance of the class of a program.

    Args:
        text: of the program.
        weights: its arrays by `layer/name`, or as they are read.
        dtype: what it computes in.
        numpy: what stands for NumPy in it; None for NumPy.
    """
    module = ModuleType("program")
    module.__file__ = "program.py"
    exec(compile(text, "program.py", "exec"), vars(module))  # the text is this package's own
    if numpy is not None:
        vars(module)["np"] = numpy
        if "sigmoid" in vars(module):
            vars(module)["sigmoid"] = numpy.approximated(vars(module)["sigmoid"])
    if isinstance(weights, Mapping):
        return module.MODEL(weights, dtype)
    model = module.MODEL({}, dtype)
    model.weights = weights
    return model


class Layers(SimpleNamespace):
    """The weights of a program by layer and name, `.lstm.kernel`."""


class Wide:
    """Arrays in float64, of which only small ones are held.

    Args:
        arrays: of a program, by `layer/name`.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays = arrays
        self._held: dict[str, tuple[np.ndarray, Squares]] = {}
        room = _KEPT
        for path, array in sorted(arrays.items(), key=lambda item: item[1].size):
            room -= 8 * array.size if _is_narrow(array) else 0
            if room >= 0 or not _is_narrow(array):
                self._held[path] = _cast(array), []

    @property
    def nbytes(self) -> int:
        """The bytes of all arrays as the program has them."""
        return sum(array.nbytes for array in self._arrays.values())

    def layers(self, view: View) -> Layers:
        """The weights for one program.

        Args:
            view: what the program is to read in the place of an array.
        """
        names: dict[str, list[str]] = {}
        for path in self._arrays:
            names.setdefault(path.partition("/")[0], []).append(path.partition("/")[2])
        return Layers(**{layer: _Layer(self, layer, found, view) for layer, found in names.items()})

    def read(self, path: str) -> tuple[np.ndarray, Squares]:
        """The array, and a place for its squares."""
        return self._held[path] if path in self._held else (self._arrays[path].view(NarrowArray), [])

    def is_held(self, path: str) -> bool:
        """Whether the array is the same one each time."""
        return path in self._held


class _Layer:
    """The weights of one layer: attributes that are there, or made when they are read."""

    def __init__(self, wide: Wide, layer: str, names: list[str], view: View) -> None:
        self._wide, self._layer, self._names, self._view = wide, layer, frozenset(names), view
        for name in names:
            if wide.is_held(f"{layer}/{name}"):
                setattr(self, name, view(*wide.read(f"{layer}/{name}")))

    def __getattr__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise AttributeError(name)
        return self._view(*self._wide.read(f"{self._layer}/{name}"))


def _is_narrow(array: np.ndarray) -> bool:
    """Whether float64 holds all numbers of a dtype; bfloat16 is none of NumPy's own floats."""
    return (array.dtype.kind == "f" and array.dtype != np.float64) or array.dtype.name == "bfloat16"


def _cast(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if _is_narrow(array) else array
