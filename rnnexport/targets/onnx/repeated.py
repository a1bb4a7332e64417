"""An ONNX file that is called again and again with the same shapes: what goes in and comes out is bound once.

ONNX Runtime takes some 3 us for each array that a call hands over, and more for each that it makes; a step of three
small GRUs takes 30 us with its arrays bound, and 50 without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnexport.core.placement import Placement
from rnnexport.core.signature import TEXT
from rnnexport.targets.base import Runner, RuntimeTensor

if TYPE_CHECKING:
    import onnxruntime

Shapes = Sequence[tuple[int, ...]]


@dataclass(frozen=True)
class _Bound:
    """Arrays of one set of shapes that a session reads and writes.

    Attributes:
        binding: an `IOBinding` of ONNX Runtime.
        inputs: by name.
        outputs: by name.
    """

    binding: Any
    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]


class RepeatedRunner:
    """See `Runner`. Results are arrays of their own, as of any other.

    Args:
        runner: what has loaded the file, on the CPU; it is called where the inputs do not tell the shape of an output.
        session: of that.
    """

    ordered = True
    entries: tuple[str, ...] = ()

    def __init__(self, runner: Runner, session: onnxruntime.InferenceSession) -> None:
        self._runner, self._session = runner, session
        self.inputs, self.outputs, self.settings = runner.inputs, runner.outputs, runner.settings
        self._dtypes = [(one.name, None if one.dtype == TEXT else np.dtype(one.dtype)) for one in runner.inputs]
        self._shapes: Shapes | None = None
        self._bound: _Bound | None = None

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        shapes, fit = [], True
        for name, dtype in self._dtypes:
            array = feed[name]
            shapes.append(array.shape)
            fit = fit and array.dtype == dtype
        if shapes != self._shapes:
            self._shapes, self._bound = shapes, self._bind(shapes)
        bound = self._bound
        if bound is None or not fit:
            return self._runner.run(feed)  # which says what is wrong, where it is
        for name, array in bound.inputs.items():
            array[...] = feed[name]
        self._session.run_with_iobinding(bound.binding)
        return {name: array.copy() for name, array in bound.outputs.items()}

    def at(self, entry: str) -> RepeatedRunner:
        raise KeyError(entry)

    def placement(self) -> Placement | None:
        return self._runner.placement()

    def _bind(self, shapes: Shapes) -> _Bound | None:
        """Arrays of these shapes, bound; None where an output has another shape than they tell."""
        from onnxruntime import OrtValue

        made = sizes_of(self.inputs, shapes)
        wanted = [None if made is None else shape_of(tensor, made) for tensor in self.outputs]
        if made is None or any(tensor.dtype == TEXT for tensor in (*self.inputs, *self.outputs)):
            return None
        inputs = {tensor.name: np.zeros(shape, tensor.dtype) for tensor, shape in zip(self.inputs, shapes, strict=True)}
        outputs = {
            tensor.name: np.zeros(shape, tensor.dtype)
            for tensor, shape in zip(self.outputs, wanted, strict=True)
            if shape is not None
        }
        if len(outputs) < len(wanted):
            return None
        binding = self._session.io_binding()
        for name, array in inputs.items():
            binding.bind_ortvalue_input(name, OrtValue.ortvalue_from_numpy(array))
        for name, array in outputs.items():
            binding.bind_ortvalue_output(name, OrtValue.ortvalue_from_numpy(array))
        return _Bound(binding, inputs, outputs)


def sizes_of(tensors: Sequence[RuntimeTensor], shapes: Shapes) -> dict[str, int] | None:
    """What each named dimension is; None where shapes do not fit the tensors, or each other."""
    sizes: dict[str, int] = {}
    for tensor, shape in zip(tensors, shapes, strict=True):
        if len(shape) != len(tensor.shape):
            return None
        for dim, size in zip(tensor.shape, shape, strict=True):
            known = sizes.setdefault(dim, size) if isinstance(dim, str) else dim
            if known is not None and known != size:
                return None
    return sizes


def shape_of(tensor: RuntimeTensor, sizes: Mapping[str, int]) -> tuple[int, ...] | None:
    """The shape of an output; None where it has a dimension that no input has."""
    found = [sizes.get(dim) if isinstance(dim, str) else dim for dim in tensor.shape]
    known = tuple(size for size in found if size is not None)
    return known if len(known) == len(found) else None
