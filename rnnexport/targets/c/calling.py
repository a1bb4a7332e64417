"""A compiled program, called by ctypes: arrays by name in, arrays by name out, a row after the other."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnnexport.core.errors import UsageError
from rnnexport.core.signature import BATCH, Signature, TensorSpec
from rnnexport.emit.c.arrays import at
from rnnexport.emit.c.interface import Argument, Interface, interface_of

_MESSAGES = {1: "a length of 0, or above its largest", 2: "too small a buffer"}


class CompiledModel:
    """A model in a shared object.

    Args:
        library: its path.
        signature: of the model.
        name: what its functions begin with.
        weights: the file of its weights, which it is told of in each call; None where it has none.

    Raises:
        UsageError: the program does not take these weights.
    """

    def __init__(self, library: Path, signature: Signature, name: str, weights: Path | None = None) -> None:
        self.signature = signature
        self.interface: Interface = interface_of(signature, name)
        loaded = ctypes.CDLL(str(library))
        self._run = getattr(loaded, f"{self.interface.name}_run")
        self._run.restype = ctypes.c_int
        self._work = getattr(loaded, f"{self.interface.name}_work_size")
        self._work.restype = ctypes.c_size_t
        # A library that is loaded keeps its path.
        self._library = loaded
        self._weights = None if weights is None else np.memmap(weights, np.uint8, "r")
        if self._weights is not None:
            check = getattr(loaded, f"{self.interface.name}_check")
            check.restype = ctypes.c_int
            if code := check(_pointer(self._weights), ctypes.c_size_t(self._weights.size)):
                raise UsageError(f"the program returned {code} for {weights}", "its own weights", "export it again")

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs, and the states after.

        Args:
            feed: an array for every input and state.

        Raises:
            UsageError: the arrays don't fit the signature, or the program refuses them.
        """
        sizes = self._sizes(feed)
        rows = sizes.get(BATCH, 1)
        found = [self._row(feed, sizes, row) for row in range(rows)]
        specs = self.signature.all_outputs
        return {spec.name: _joined(spec, [each[spec.name] for each in found]) for spec in specs}

    def _sizes(self, feed: Mapping[str, np.ndarray]) -> dict[str, int]:
        sizes: dict[str, int] = {}
        for spec in self.signature.all_inputs:
            found = np.shape(feed[spec.name])
            same = len(found) == len(spec.shape) and all(
                (sizes.setdefault(dim, size) if isinstance(dim, str) else dim) == size
                for dim, size in zip(spec.shape, found, strict=True)
            )
            if not same:
                raise UsageError(f"{spec.name} of the shape {found}", str(spec), "give arrays of the right shape")
        return sizes

    def _row(self, feed: Mapping[str, np.ndarray], sizes: Mapping[str, int], row: int) -> dict[str, np.ndarray]:
        face = self.interface
        lengths = {face.legend.dims[dim]: size for dim, size in sizes.items() if dim != BATCH}
        inputs = [_part(each, feed[each.spec.name], row) for each in face.inputs]
        states = [_part(each, feed[each.spec.name], row) for each in face.states]
        struct = _Struct(states)
        outputs = [np.empty([at(size, lengths) for size in each.shape], each.spec.dtype) for each in face.outputs]
        numbers = [ctypes.c_size_t(lengths[length]) for length in face.lengths]
        size = int(self._work(*numbers))
        work = ctypes.create_string_buffer(size) if size else None
        given: list[Any] = [] if self._weights is None else [_pointer(self._weights)]
        given += [struct.pointer] if states else []
        given += [_pointer(array) for array in inputs]
        given += [*numbers, *map(_pointer, outputs)]
        given += [] if work is None else [work, ctypes.c_size_t(size)]
        code = self._run(*given)
        if code != 0:
            raise UsageError(f"the program returned {code}", _MESSAGES.get(code, "0"), "give another length")
        after = struct.arrays()
        names = [state.output.name for state in self.signature.states]
        return {
            **{each.spec.name: array for each, array in zip(face.outputs, outputs, strict=True)},
            **dict(zip(names, after, strict=True)),
        }


class _Struct:
    """The states of one row as the struct of the program has them: one member after the other."""

    def __init__(self, states: list[np.ndarray]) -> None:
        self._states, self._places, size = states, [], 0
        for state in states:
            size = -(-size // state.itemsize) * state.itemsize
            self._places.append(size)
            size += max(state.nbytes, state.itemsize)
        self._memory = ctypes.create_string_buffer(size + 16)
        for place, state in zip(self._places, states, strict=True):
            ctypes.memmove(ctypes.addressof(self._memory) + place, state.tobytes(), state.nbytes)
        self.pointer = ctypes.byref(self._memory)

    def arrays(self) -> list[np.ndarray]:
        """What is in it now."""
        return [
            np.frombuffer(memoryview(self._memory), state.dtype, state.size, place).reshape(state.shape).copy()
            for place, state in zip(self._places, self._states, strict=True)
        ]


def _part(argument: Argument, array: np.ndarray, row: int) -> np.ndarray:
    """The row of an input, in the order in which C reads it."""
    spec = argument.spec
    if BATCH in spec.shape:
        array = np.take(array, [row], axis=spec.shape.index(BATCH))
    return np.ascontiguousarray(array, dtype=spec.dtype)


def _joined(spec: TensorSpec, rows: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(rows, axis=spec.shape.index(BATCH)) if BATCH in spec.shape else rows[-1]


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
