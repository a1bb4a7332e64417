"""Operators in one graph, an output each, exported as a model is, and run by the runtime of the format."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from benchmarks.edges.cases import Case
from rnnexport.artifact.goldens import Arrays
from rnnexport.core.errors import ConversionError, ForeignCode, RnnExportError, one_line, reason
from rnnexport.core.lowering import LoweringRequest
from rnnexport.core.signature import Signature, TensorSpec
from rnnexport.source.trace import Graphs, TracedModel
from rnnexport.targets.base import DEFAULT_OPSET, ExportOptions
from rnnexport.targets.registry import TARGET_NAMES, target

# Operators in one graph: one that is refused costs as many exports as halves it.
_TOGETHER = 60


@dataclass(frozen=True)
class Column:
    """One format, at one opset where it has opsets.

    Attributes:
        title: of the column.
        target: the name of the format.
        opset: of ONNX.
    """

    title: str
    target: str
    opset: int = DEFAULT_OPSET


_OPSETS = (13, 17, 18, 26)  # the oldest, the default, where reductions take their axes as an input, the newest


def _columns() -> Iterator[Column]:
    """All formats that there are, ONNX at several opsets."""
    for name in TARGET_NAMES:
        if target(name).opsets is None:
            yield Column(name, name)
        else:
            yield from (Column(f"{name} {opset}", name, opset) for opset in _OPSETS)


COLUMNS = tuple(_columns())


@dataclass(frozen=True)
class Found:
    """What an artifact gives for one operator: its output, or why there is none."""

    output: np.ndarray | None
    refused: str = ""


def eager(case: Case, feed: Arrays) -> np.ndarray:
    """What TensorFlow gives, operator by operator."""
    output: np.ndarray = case.function(*(tf.constant(feed[name]) for name in case.inputs)).numpy()
    return output


def exact(case: Case, feed: Arrays, wanted: np.ndarray) -> np.ndarray:
    """The same in float64; what TensorFlow gives where the operator has no such form."""
    wide = {name: array.astype(np.float64) if array.dtype.kind == "f" else array for name, array in feed.items()}
    with np.errstate(all="ignore"):
        if case.exact is not None:
            return case.exact(*(wide[name] for name in case.inputs))
    try:
        found = eager(case, wide)
    except (TypeError, ValueError, tf.errors.InvalidArgumentError):  # constants of float32 inside
        return wanted
    return found if found.shape == wanted.shape else wanted


def traced(cases: Sequence[Case], feed: Arrays) -> TracedModel:
    """One graph of these operators; their outputs are called `o0`, `o1`, ..."""
    names = [name for name in feed if any(name in case.inputs for case in cases)]

    def call(*tensors: tf.Tensor) -> list[tf.Tensor]:
        given = dict(zip(names, tensors, strict=True))
        return [tf.identity(case.function(*(given[name] for name in case.inputs))) for case in cases]

    specs = [tf.TensorSpec(feed[name].shape, feed[name].dtype, name) for name in names]
    frozen = convert_variables_to_constants_v2(
        tf.function(call, autograph=False).get_concrete_function(*specs), lower_control_flow=False
    )
    inputs = [TensorSpec(name, feed[name].dtype.name, feed[name].shape) for name in names]
    outputs = [TensorSpec(f"o{at}", tensor.dtype.name, tuple(tensor.shape)) for at, tensor in enumerate(frozen.outputs)]
    graph = frozen.graph
    fetches = {spec.name: tensor for spec, tensor in zip(outputs, frozen.outputs, strict=True)}
    function = frozen.prune([graph.get_tensor_by_name(f"{name}:0") for name in names], fetches)
    signature = Signature(tuple(inputs), tuple(outputs))
    tensors = tuple(tensor.name for tensor in frozen.outputs)
    return TracedModel("edges", signature, function, tuple(f"{name}:0" for name in names), tensors)


def run_all(column: Column, cases: Sequence[Case], feed: Arrays, alone: Collection[str] = ()) -> dict[str, Found]:
    """What artifacts of these operators give, by their names.

    Args:
        column: the format.
        cases: the operators.
        feed: the inputs.
        alone: the names of those that are known to be refused: each is exported alone, so that it stops no other.
    """
    together = [case for case in cases if case.name not in alone]
    parts = [together[at : at + _TOGETHER] for at in range(0, len(together), _TOGETHER)]
    parts += [[case] for case in cases if case.name in alone]
    return {name: found for part in parts for name, found in run(column, part, feed).items()}


def run(column: Column, cases: Sequence[Case], feed: Arrays) -> dict[str, Found]:
    """What one artifact of these operators gives, by their names. One that can't be exported is refused alone."""
    try:
        outputs = _exported(column, cases, feed)
    except RnnExportError as error:
        if len(cases) == 1:
            return {cases[0].name: Found(None, error.found)}
        half = len(cases) // 2
        return run(column, cases[:half], feed) | run(column, cases[half:], feed)
    return {case.name: Found(outputs[f"o{at}"]) for at, case in enumerate(cases)}


def _exported(column: Column, cases: Sequence[Case], feed: Arrays) -> Mapping[str, Any]:
    model, form = traced(cases, feed), target(column.target)
    given = {spec.name: feed[spec.name] for spec in model.signature.inputs}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"edges_{form.suffix}" if form.suffix.startswith(".") else Path(folder) / "edges"
        form.export(Graphs(model), [given], path, ExportOptions(column.opset, LoweringRequest()))
        with form.runner(path, "cpu") as runner, ForeignCode(_not_run):
            return runner.run(given)


def _not_run(error: BaseException) -> ConversionError:
    return ConversionError(f"the runtime raises {one_line(reason(error), 120)}", "outputs", "")
