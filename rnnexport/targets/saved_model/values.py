"""The values inside a SavedModel: its one function, pruned to every tensor in it.

The bodies of its loops are not looked into: what a loop gives for each step is a value behind it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rnnexport.artifact.layer_map import InnerValue, InnerValues
from rnnexport.core.errors import ForeignCode, ProviderError, UsageError, reason
from rnnexport.core.signature import argument_name

# Numbers that one value may hold: 64 MiB of float32.
LARGEST = 1 << 24
_FLOATS = ("float16", "float32", "float64")
# What is no result of a computation.
_GIVEN = ("Const", "Placeholder", "ReadVariableOp")
_LOOPS = ("While", "StatelessWhile")


def inner_values(
    path: Path, feed: Mapping[str, np.ndarray], provider: str = "cpu", *, tf32: bool = False
) -> InnerValues:
    """Every floating-point value of the function that the signature calls, in the folder at `path`, for one feed.

    Args:
        feed: an array for every input, by its Keras name.
        provider: `cpu`, the one of this target.
        tf32: no matter here.

    Raises:
        UsageError: TensorFlow refuses the folder.
        ProviderError: TensorFlow is not installed.
    """
    del provider, tf32
    try:
        import tensorflow as tf
    except ModuleNotFoundError as error:
        raise ProviderError(
            "tensorflow is not installed",
            "TensorFlow, to look inside a SavedModel",
            "pip install 'rnnexport[convert]'",
        ) from error
    with ForeignCode(partial(_refused, path)):
        # The signature only calls this function, whose graph, weights included, is all that the folder computes.
        loaded = tf.saved_model.load(str(path))
        restored = loaded.call.graph
        graph_def = restored.as_graph_def()
        inner = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph_def, name=""), [])
        tensors = _tensors(inner.graph)
        held = dict(zip(restored.internal_captures, loaded.call.captured_inputs, strict=True))
        names = [*(f"{argument_name(name)}:0" for name in feed), *(tensor.name for tensor in held)]
        given = [*map(tf.constant, feed.values()), *held.values()]
        arrays = inner.prune(names, [tensor.name for tensor in tensors])(*given)
        found = [
            InnerValue(tensor.name, array.numpy(), _recurrence(tensor.op))
            for tensor, array in zip(tensors, arrays, strict=True)
        ]
    kept = tuple(value for value in found if value.array.size <= LARGEST)
    return InnerValues(kept, tuple(value.name for value in found if value.array.size > LARGEST))


def _tensors(graph: Any) -> list[Any]:
    """The floating-point results of all operations that compute something."""
    return [
        tensor
        for operation in graph.get_operations()
        if not _given(operation)
        for tensor in operation.outputs
        if tensor.dtype.name in _FLOATS
    ]


def _given(operation: Any) -> bool:
    """Whether it gives a constant or an input, or hands on a constant: what reading a variable has become."""
    if operation.type == "Identity":
        return bool(operation.inputs[0].op.type in _GIVEN)
    return operation.type in _GIVEN


def _recurrence(operation: Any) -> str:
    """The loop that gives this value, or the steps that are stacked in it."""
    if operation.type == "TensorListStack":
        operation = operation.inputs[0].op
    return str(operation.name) if operation.type in _LOOPS else ""


def _refused(path: Path, error: BaseException) -> UsageError:
    return UsageError(f"TensorFlow can't run {path.name}: {reason(error)}", "a whole SavedModel", "export it again")
