"""What a caller gives to a model, checked against what the model takes: names, dtypes, shapes, ids, rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, cast

import numpy as np
from numpy.typing import ArrayLike

from rnnexport.core.errors import UsageError
from rnnexport.core.signature import TensorSpec


class Tensors:
    """What may come in, by name. Shapes that were found right are not looked at again: a step has to cost little.

    Args:
        specs: what they have to be.
        what: what they are called together.
        sequences: the names of those whose axis 1 counts timesteps.
    """

    def __init__(self, specs: Iterable[TensorSpec], what: str, sequences: Iterable[str] = ()) -> None:
        self._specs = {spec.name: (spec, np.dtype(spec.dtype)) for spec in specs}
        self._what = what
        self._sequences = frozenset(sequences)
        self._shapes: list[tuple[int, ...]] = []
        self._sizes: dict[str, int] = {}

    def checked(self, given: ArrayLike | Mapping[str, ArrayLike]) -> tuple[dict[str, np.ndarray], Mapping[str, int]]:
        """The arrays, each of its dtype, with the sizes of the open dimensions.

        Args:
            given: the array of a lone input, or all by name.

        Raises:
            UsageError: a name is missing or not known, a dtype or a shape is another, an id is outside its vocabulary.
        """
        values = self._by_name(given)
        arrays = {}
        for name, (spec, dtype) in self._specs.items():
            value = values[name]
            same = isinstance(value, np.ndarray) and value.dtype == dtype
            arrays[name] = cast("np.ndarray", value) if same else _converted(spec, dtype, value)
            if spec.high is not None:
                _require_ids(spec, spec.high, spec.ids(arrays[name]))
        shapes = [array.shape for array in arrays.values()]
        if shapes != self._shapes:
            self._sizes, self._shapes = self._measured(shapes), shapes
        return arrays, self._sizes

    def _by_name(self, given: ArrayLike | Mapping[str, ArrayLike]) -> Mapping[str, ArrayLike]:
        if isinstance(given, np.ndarray) or not isinstance(given, Mapping):
            if len(self._specs) == 1:
                return dict.fromkeys(self._specs, cast("ArrayLike", given))
            raise UsageError("one array", f"the {self._what} {', '.join(self._specs)}", "give them by name")
        if given.keys() == self._specs.keys():
            return given
        if missing := [name for name in self._specs if name not in given]:
            raise UsageError(f"no {', '.join(missing)}", f"all {self._what} of the model", "give each by its name")
        extra = ", ".join(str(name) for name in given if name not in self._specs)
        raise UsageError(f"{extra} besides the {self._what}", ", ".join(self._specs), "leave it out")

    def _measured(self, shapes: Sequence[tuple[int, ...]]) -> dict[str, int]:
        """The sizes of the open dimensions, one size a name."""
        sizes: dict[str, int] = {}
        for (spec, _), shape in zip(self._specs.values(), shapes, strict=True):
            if len(shape) != len(spec.shape):
                raise _of_another_rank(spec, shape, spec.name in self._sequences)
            for axis, (found, wanted) in enumerate(zip(shape, spec.shape, strict=True)):
                if isinstance(wanted, int) and found != wanted:
                    raise _of_another_size(spec, axis, found, axis == 1 and spec.name in self._sequences)
                if found == 0:
                    raise UsageError(f"{spec.name} of shape {list(shape)}", "at least one of each", "skip this step")
                if isinstance(wanted, str) and sizes.setdefault(wanted, found) != found:
                    raise UsageError(
                        f"{spec.name} has {found} at axis {axis} ({wanted}), and another of the {self._what} has "
                        f"{sizes[wanted]}",
                        f"one size of {wanted}",
                        "make them equal",
                    )
        return sizes


def selection(rows: ArrayLike, batch: int | None) -> np.ndarray:
    """A mask or indices, as what selects these rows.

    Args:
        rows: bools, one a row, or numbers from 0. Negative ones are refused: -1 often says that there is none.
        batch: how many rows there are; None where that is not known.

    Raises:
        UsageError: it is neither, a mask of another length, or an index of no row.
    """
    found = np.asarray(rows)
    if found.size == 0 and found.dtype.kind == "f":  # an empty list has no dtype
        found = found.astype(np.intp)
    if found.dtype.kind == "b" and found.ndim == 1:
        if batch not in (None, found.size):
            raise UsageError(f"a mask of {found.size} rows", f"one of {batch}, the batch", "give a value a row")
    elif found.dtype.kind not in "iu" or found.ndim > 1:
        raise UsageError(f"rows of {found.dtype}{list(found.shape)}", "a mask or indices", "change the rows")
    elif found.size and (found.min() < 0 or (batch is not None and found.max() >= batch)):
        where = "from 0" if batch is None else f"from 0 to {batch - 1}"
        raise UsageError(f"row {found.min() if found.min() < 0 else found.max()}", f"rows {where}", "change the rows")
    return found


def _converted(spec: TensorSpec, dtype: np.dtype, value: ArrayLike) -> np.ndarray:
    """`value` in the dtype of its input. What would lose digits that were meant is refused."""
    # The numbers of a list have no dtype of their own, those of an array have.
    rule: Literal["safe", "same_kind"] = "safe" if hasattr(value, "dtype") else "same_kind"
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{spec.name} is no array ({error})", str(spec), "give one array of numbers") from error
    with np.errstate(over="ignore"):
        converted = array.astype(dtype) if np.can_cast(array.dtype, dtype, rule) else None
    if converted is None:
        raise UsageError(f"{spec.name} of dtype {array.dtype}", str(spec), f"convert it by astype({dtype.name!r})")
    if _overflows(array, converted):
        raise UsageError(f"{spec.name} has numbers that {dtype} has not", f"numbers of {dtype}", "change them")
    return converted


def _overflows(array: np.ndarray, converted: np.ndarray) -> bool:
    if converted.dtype.kind in "iu":
        return bool(np.any(array != converted))
    return converted.dtype.kind == "f" and bool(np.any(np.isinf(converted) & np.isfinite(array)))


def _require_ids(spec: TensorSpec, high: int, ids: np.ndarray) -> None:
    """An id outside the vocabulary means another thing to each runtime."""
    low, top = ids.min(initial=0), ids.max(initial=0)
    if not (low >= 0 and top < high):  # NaN is no id either
        raise UsageError(
            f"the id {low if low < 0 else top} in {spec.name}", f"ids from 0 to {high - 1}", "change the input"
        )


def _of_another_rank(spec: TensorSpec, shape: tuple[int, ...], sequence: bool) -> UsageError:
    if len(shape) > len(spec.shape):
        todo = "drop the other axes"
    elif sequence and len(shape) == len(spec.shape) - 1:
        todo = f"give {spec.name}[:, np.newaxis] if it is one timestep"
    else:
        todo = "give it the axes it lacks"
    return UsageError(f"{spec.name} of shape {list(shape)}", str(spec), todo)


def _of_another_size(spec: TensorSpec, axis: int, found: int, time: bool) -> UsageError:
    wanted = cast("int", spec.shape[axis])
    if not time:
        return UsageError(f"{spec.name} has {found} at axis {axis}", str(spec), f"give it {wanted} there")
    if found > wanted:
        todo = f"cut it: {spec.name}[:, 0:{wanted}] first, and so on"
    else:
        todo = f"wait until there are {wanted}, or export it with a length of 1"
    return UsageError(f"{spec.name} has {found} timesteps", f"chunks of {wanted}, as {spec} says", todo)
