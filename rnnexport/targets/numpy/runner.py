"""A NumPy program in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from rnnexport.core.errors import ForeignCode, UsageError, reason
from rnnexport.core.signature import argument_name, as_text
from rnnexport.targets.base import RuntimeTensor
from rnnexport.targets.numpy.program import opened


class NumpyRunner:
    """See `Runner`. It calls `step` of the model, which keeps nothing."""

    ordered = True
    settings: Mapping[str, str] = MappingProxyType({})
    entries: tuple[str, ...] = ()

    def __init__(self, model: Any) -> None:
        self._model = model
        names, states = tuple(model.SIGNATURE), tuple(model.STATES)
        known = {*model.INPUTS, *model.OUTPUTS, *states}
        after = [name for name in names if name not in known]
        self._after = dict(zip(states, after, strict=True))
        told = {name: _runtime_tensor(name, *model.SIGNATURE[name]) for name in names}
        self.inputs = tuple(
            RuntimeTensor(argument_name(name), told[name].dtype, told[name].shape) for name in (*model.INPUTS, *states)
        )
        self.outputs = tuple(told[name] for name in (*model.OUTPUTS, *after))

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        # A parameter may have another name than its input, which could be one that the program needs itself.
        inputs = [as_text(feed[name]) for name in self._model.INPUTS]
        outputs, states = self._model.step(*inputs, {name: feed[name] for name in self._after})
        # An output may be a state, an input or a buffer of the program; it is the caller's own.
        found = {name: np.array(array) for name, array in outputs.items()}
        return found | {self._after[name]: np.array(array) for name, array in states.items()}

    def at(self, entry: str) -> NumpyRunner:
        raise KeyError(entry)

    def placement(self) -> None:
        return None


@contextmanager
def open_runner(path: Path, provider: str, tf32: bool = False) -> Iterator[NumpyRunner]:
    """Run the program, on the CPU, the one `provider` of this target, which has no TF32.

    Raises:
        UsageError: the program can't be read, is none of rnnexport's, or raises.
    """
    model = opened(path)
    with ForeignCode(partial(_refused, path)):
        runner = NumpyRunner(model)
    yield runner


def _runtime_tensor(name: str, dtype: str, shape: tuple[int | str, ...]) -> RuntimeTensor:
    return RuntimeTensor(name, str(dtype), tuple(shape))


def _refused(path: Path, error: BaseException) -> UsageError:
    return UsageError(
        f"{path.name} does not tell its inputs and outputs ({reason(error)})",
        "a program of rnnexport",
        "export it again",
    )
