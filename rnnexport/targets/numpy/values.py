"""The values inside a NumPy program: the local variables of its functions, seen as a debugger sees them.

1. A value is named after the calls that lead to it, the line that makes it and its variable:
   `step/88 scan/31 gru_cell/52 z`.
2. What one line makes several times is in a loop: its values are stacked.
3. It is seen when its name goes to another value, or its function returns: a buffer is full by then.
4. Weights and inputs, which are handed from function to function, are no results of a computation.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import numpy as np

from rnnexport.artifact.layer_map import InnerValue, InnerValues
from rnnexport.core.errors import ForeignCode, UsageError, reason
from rnnexport.targets.numpy.program import opened
from rnnexport.targets.numpy.runner import NumpyRunner

# Numbers that one value may hold: 64 MiB of float32.
LARGEST = 1 << 24
# Functions that hand on what others compute.
_PLUMBING = ("scan", "checked")


def inner_values(
    path: Path, feed: Mapping[str, np.ndarray], provider: str = "cpu", *, tf32: bool = False
) -> InnerValues:
    """Every floating-point value that the program at `path` gives a name, for one feed. The program is executed.

    Args:
        feed: an array for every input, by its Keras name.
        provider: `cpu`, the one of this target.
        tf32: no matter here.

    Raises:
        UsageError: the file can't be read, or the program raises.
    """
    del provider, tf32
    model = opened(path)
    seen = _RunValues(str(path), {_owner(array) for array in (*_arrays(vars(model)), *feed.values())})
    before = sys.gettrace()
    with ForeignCode(partial(_refused, path)):
        runner = NumpyRunner(model)
        sys.settrace(seen.called)
        try:
            runner.run(feed)
        finally:
            sys.settrace(before)
    return seen.values()


@dataclass
class _LineValue:
    """What one line made, each time it ran."""

    place: str
    arrays: list[np.ndarray] = field(default_factory=list)
    size: int = 0

    def add(self, array: np.ndarray) -> None:
        self.size += array.size
        if self.size > LARGEST:
            self.arrays.clear()
        else:
            self.arrays.append(array.copy())

    def stacked(self) -> np.ndarray | None:
        """One array, stacked where there are several; None where they are too large or have different shapes."""
        if len(self.arrays) == 1:
            return self.arrays[0]
        return np.stack(self.arrays) if len({array.shape for array in self.arrays}) == 1 else None


class _RunValues:
    """All values of one run.

    Args:
        file: the program, as its code names it.
        given: the owners of arrays that are no results.
    """

    def __init__(self, file: str, given: set[int]) -> None:
        self._file = file
        self._given = given
        self._values: dict[str, _LineValue] = {}

    def called(self, frame: FrameType, event: str, argument: Any) -> _Call | None:
        """The trace function of Python: what is to be told of a call, or None where that is nothing."""
        name = frame.f_code.co_name
        ours = frame.f_code.co_filename == self._file
        return _Call(self, self.place(frame)) if ours and name not in _PLUMBING and name.isidentifier() else None

    def place(self, frame: FrameType) -> str:
        """The calls that lead to a frame: the names of the program's functions, and the lines that call them."""
        name, caller = frame.f_code.co_name, frame.f_back
        if caller is None or caller.f_code.co_filename != self._file:
            return name
        return f"{self.place(caller)}/{caller.f_lineno} {name}"

    def is_result(self, value: object) -> bool:
        """Whether a variable holds an array of floating-point numbers that was not given."""
        return isinstance(value, np.ndarray) and value.dtype.kind == "f" and _owner(value) not in self._given

    def keep(self, place: str, name: str, array: np.ndarray) -> None:
        """Take a copy of a value."""
        self._values.setdefault(name, _LineValue(place)).add(array)

    def values(self) -> InnerValues:
        """All of them, in the order in which they were seen first."""
        found, left_out = [], []
        for name, value in self._values.items():
            array = value.stacked()
            if array is None:
                left_out.append(name)
            else:
                found.append(InnerValue(name, array, value.place if len(value.arrays) > 1 else ""))
        return InnerValues(tuple(found), tuple(left_out))


class _Call:
    """One call of a function of the program, told of every line that ran in it."""

    def __init__(self, seen: _RunValues, place: str) -> None:
        self._seen = seen
        self._place = place
        self._line = 0  # that ran last; 0 before the first, which makes the arguments
        self._bound: dict[str, tuple[np.ndarray, int]] = {}

    def __call__(self, frame: FrameType, event: str, argument: Any) -> _Call:
        for name, value in frame.f_locals.items():
            known = self._bound.get(name)
            if known is not None and known[0] is value:
                continue
            self._leave(name)
            if self._seen.is_result(value):
                self._bound[name] = (value, self._line)
        if event == "return":
            self._returned(argument)
        self._line = frame.f_lineno
        return self

    def _leave(self, name: str) -> None:
        if name in self._bound:
            array, line = self._bound.pop(name)
            self._seen.keep(self._place, f"{self._place}/{line} {name}", array)

    def _returned(self, result: Any) -> None:
        named = {id(array) for array, _ in self._bound.values()}
        for name in list(self._bound):
            self._leave(name)
        for at, array in enumerate(_arrays(result)):
            if id(array) not in named and self._seen.is_result(array):
                self._seen.keep(self._place, f"{self._place}/returned {at}", array)


def _owner(array: np.ndarray) -> int:
    """The identity of the array whose memory this one shows."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return id(array)


def _arrays(value: Any) -> Iterator[np.ndarray]:
    """The arrays in nested containers."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, SimpleNamespace):
        yield from _arrays(vars(value))
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _arrays(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _arrays(one)


def _refused(path: Path, error: BaseException) -> UsageError:
    return UsageError(f"NumPy can't run {path.name}: {reason(error)}", "a whole program", "export it again")
