"""One model under measurement, with everything that its sizes share: files, graphs, the eager truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx

import rnnexport
from benchmarks.cells import Cell, Size, call
from benchmarks.host import one_thread_session
from rnnexport.core.forms import TFLiteForm
from rnnexport.core.lowering import LoweringRequest
from rnnexport.core.signature import Boundary, Length
from rnnexport.source.describe import describe
from rnnexport.source.model import SourceModel
from rnnexport.source.trace import Graphs, trace
from rnnexport.targets.registry import target
from rnnexport.targets.tflite.export import converted

OPSET = 17
# More than rounding makes of a hundred steps, and far less than one wrong gate does. Outputs are around 1.
WRONG_FROM = 1e-3
_RECURRENT_OPS = ("LSTM", "GRU", "RNN", "Scan", "Loop")

Runner = Callable[[], Sequence[Any]]


class Subject:
    """A cell at some units. What one size has built, the next one finds again.

    Attributes:
        cell: the kind of model.
        units: its units.
        model: the live model, of dynamic batch and length.
        folder: where its artifacts are written.
    """

    def __init__(self, cell: Cell, units: int, folder: Path) -> None:
        self.cell = cell
        self.units = units
        self.model = cell.model(units)
        self.folder = folder

    @cached_property
    def source(self) -> SourceModel:
        """The model as rnnexport sees it."""
        return rnnexport.load(self.model)

    @cached_property
    def output_names(self) -> list[str]:
        """The names that rnnexport gives the outputs, in the order of the model's."""
        return list(self.source.api.output_names(self.model))

    @cached_property
    def function(self) -> Any:
        """The model as a `tf.function` with the signature of its inputs."""
        specs = [tf.TensorSpec(tensor.shape, tf.float32, name=tensor.name) for tensor in self.model.inputs]
        return tf.function(lambda *tensors: call(self.model, tensors), input_signature=specs)

    @cached_property
    def concrete(self) -> Any:
        """The one concrete function of `function`."""
        return self.function.get_concrete_function()

    @cached_property
    def tf2onnx_file(self) -> Path:
        """What tf2onnx makes of the model, with its own rewriters of recurrences."""
        path = self.folder / f"{self.cell.name}_{self.units}_tf2onnx.onnx"
        specs = self.function.input_signature
        tf2onnx.convert.from_function(self.function, list(specs), opset=OPSET, output_path=str(path))
        return path

    def onnx_file(self, form: str, timesteps: Length = None) -> Path:
        """What rnnexport makes of the model with `--lowering form`."""
        path = self.folder / f"{self.cell.name}_{self.units}_{form}_{timesteps or 'any'}.onnx"
        if not path.exists():
            request = LoweringRequest(form=form)
            rnnexport.export(self.model, "onnx", path, opset=OPSET, timesteps=timesteps, verify=False, lowering=request)
        return path

    def tflite_file(self, size: Size) -> Path:
        """What rnnexport makes of the model for TFLite, unrolled, at one size; less the proof, which takes longer."""
        path = self.folder / f"{self.cell.name}_{size}.tflite"
        signature = describe(self.source, Boundary(size.batch, size.timesteps))
        path.write_bytes(converted(Graphs(trace(self.source, signature, unroll=False)), TFLiteForm("unroll"))[0])
        return path

    def feed(self, size: Size) -> list[np.ndarray]:
        """The inputs at that size, in the order of the model's."""
        return self.cell.feed(self.model, size)

    def eager(self, size: Size) -> list[np.ndarray]:
        """The truth: what the model gives, called eagerly."""
        tensors = [tf.constant(array) for array in self.feed(size)]
        return [np.asarray(output) for output in call(self.model, tensors)]

    def by_name(self, size: Size, names: Sequence[str]) -> dict[str, np.ndarray]:
        """The inputs by the names that a file has for them."""
        given = zip(self.model.inputs, self.feed(size), strict=True)
        wanted = {tensor.name.partition(":")[0]: array for tensor, array in given}
        return {name: wanted[name.partition(":")[0]] for name in names}

    def onnx_runner(self, file: Path, size: Size) -> Runner:
        """One call of an ONNX file in ONNX Runtime, on one thread."""
        session: onnxruntime.InferenceSession = one_thread_session(file)
        arrays = self.by_name(size, [tensor.name for tensor in session.get_inputs()])
        return lambda: session.run(None, arrays)


def largest_error(found: Sequence[Any], wanted: Sequence[np.ndarray]) -> float:
    """The largest absolute difference of any output; infinite where there are others, or where NaN is."""
    arrays = [np.asarray(output) for output in found]
    if [array.shape for array in arrays] != [array.shape for array in wanted]:
        return float("inf")
    errors = [float(np.abs(array - truth).max()) for array, truth in zip(arrays, wanted, strict=True)]
    return float("inf") if np.isnan(errors).any() else max(errors)


def emitted(file: Path) -> str:
    """The recurrent operators of an ONNX file; `unrolled` where it has none."""
    found = Counter(target("onnx").operators(file))
    return "+".join(op for op in _RECURRENT_OPS if found[op]) or "unrolled"
