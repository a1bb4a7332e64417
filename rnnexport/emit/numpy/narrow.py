"""Large weights that stay in their own dtype, and stand for their values in float64.

A float32 weight in float64 takes twice its memory and, where each row of it is used once, more time to write than to
multiply. So it is cast where something is computed with it: in a product a block of columns at a time, which stays in
the cache of a processor.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_BLOCK = 1 << 17  # values that are cast at once: 1 MiB in float64
_LAYING_OUT = frozenset({np.transpose, np.reshape, np.swapaxes, np.expand_dims, np.squeeze, np.shape, np.ndim, np.size})


class NarrowArray(np.ndarray):
    """An array of a narrow dtype, as are its parts and what it is reshaped to; every operation of it is in float64."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """As that of float64 arrays."""
        if is_product(ufunc, method, inputs, options):
            return product(inputs[0], inputs[1])
        return getattr(ufunc, method)(*map(wide, inputs), **options)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        """As that of float64 arrays; what lays an array out anew gives one that is narrow."""
        if function in _LAYING_OUT:
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
