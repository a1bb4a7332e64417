"""A program that was written, run where it is: without a file.

A large weight stays in its own dtype, and stands for its values in float64: a float32 weight in float64 takes twice its
memory and, if each row of it is used once, more time to write than to multiply. So it is cast where something is
computed with it: in a product a block of columns at a time, which stays in the cache of a processor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

# Bytes of weights in float64 that are kept, the smallest first, and of their squares, each. Others are cast where they
# are multiplied.
_KEPT = 1 << 26
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


_BLOCK = 1 << 17  # values that are cast at once: 1 MiB in float64
_RESHAPING = frozenset({np.transpose, np.reshape, np.swapaxes, np.expand_dims, np.squeeze, np.shape, np.ndim, np.size})


class NarrowArray(np.ndarray):
    """An array of a narrow dtype, as are its parts and what it is reshaped to; every operation of it is in float64."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """As that of float64 arrays."""
        if is_product(ufunc, method, inputs, options):
            return product(inputs[0], inputs[1])
        return getattr(ufunc, method)(*map(wide, inputs), **options)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        """As that of float64 arrays; what changes its shape or the order of its axes gives one that is narrow."""
        if function in _RESHAPING:
            return super().__array_function__(function, types, arguments, options)
        return function(*map(_widened, arguments), **{name: _widened(one) for name, one in options.items()})

    def __getitem__(self, key: Any) -> Any:
        """A part of the array; numbers that are picked out of it are a copy, and so in float64 at once."""
        plain = self.view(np.ndarray)
        found = plain[key]
        if isinstance(found, np.ndarray) and np.may_share_memory(found, plain):
            return found.view(NarrowArray)
        return found.astype(np.float64)

    def take(self, *arguments: Any, **options: Any) -> Any:
        """As that of float64 arrays."""
        return wide(self.view(np.ndarray).take(*arguments, **options))


def wide(value: Any) -> Any:
    """The value, cast to float64 if it is such an array."""
    return value.view(np.ndarray).astype(np.float64) if isinstance(value, NarrowArray) else value


def _widened(value: Any) -> Any:
    """The same of an argument, which may be a list of arrays."""
    return type(value)(map(_widened, value)) if type(value) in (list, tuple) else wide(value)


def is_product(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Whether an operation is the product of any array with such a matrix, and nothing else is asked."""
    if ufunc is not np.matmul or method != "__call__" or options:
        return False
    x, weight = inputs
    return isinstance(weight, NarrowArray) and weight.ndim == 2 and not isinstance(x, NarrowArray) and np.ndim(x) > 0


def product(x_NK: np.ndarray, weight_KM: NarrowArray) -> np.ndarray:
    """`x @ weight` in float64. N may be several dimensions, or none."""
    return products(x_NK, weight_KM, squared=False)[0]


def products(x_NK: np.ndarray, weight_KM: NarrowArray, *, squared: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """`x @ weight` and, if `squared`, `x**2 @ weight**2`, both in float64. N may be several dimensions, or none."""
    x = np.asarray(x_NK, np.float64)
    rows, columns = x.reshape(-1, x.shape[-1]), weight_KM.shape[1]
    found, sums = np.empty((len(rows), columns)), np.empty((len(rows) if squared else 0, columns))
    squares, plain = np.square(rows[: len(sums)]), weight_KM.view(np.ndarray)
    step = max(8, _BLOCK // max(1, len(plain)))
    for at in range(0, columns, step):
        block = plain[:, at : at + step].astype(np.float64)
        np.matmul(rows, block, out=found[:, at : at + step])
        if squared:
            np.square(block, out=block)
            np.matmul(squares, block, out=sums[:, at : at + step])
    shape = (*x.shape[:-1], columns)
    return found.reshape(shape), sums.reshape(shape) if squared else None
