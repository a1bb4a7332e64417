"""Whether what a layer starts from depends on the inputs of the model: read off the graph, not guessed from values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.core.errors import ForeignCode
from rnnexport.core.signature import Signature
from rnnexport.source.api import Layer
from rnnexport.source.carrying import LayerCall, calls_replaced
from rnnexport.source.eager import explain_call
from rnnexport.source.model import SourceModel

# Operators that read the shape of a tensor, and none of its values.
_SHAPE_ALONE = frozenset(("Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"))


def started_by_inputs(source: SourceModel, signature: Signature, layers: Sequence[Layer]) -> set[Layer]:
    """Those of the recurrent `layers` that are given an initial state in which values of the inputs may have a part.

    Args:
        source: the model.
        signature: its boundary.
        layers: some of its layers.

    Raises:
        ConversionError: the model's own code raises.
    """
    given: dict[Layer, list[Any]] = {}
    calls: dict[Layer, Callable[[LayerCall], Any]] = {layer: partial(_noted, given) for layer in layers}
    specs = [
        tf.TensorSpec([None if isinstance(dim, str) else dim for dim in spec.shape], np.dtype(spec.dtype))
        for spec in signature.inputs
    ]
    with ForeignCode(explain_call(source)), calls_replaced(calls):
        graph = tf.function(
            lambda *inputs: source.api.call(source.model, inputs), autograph=source.api.autograph
        ).get_concrete_function(*specs)
    inputs = {tensor.op for tensor in graph.inputs[: len(specs)]}
    return {layer for layer, tensors in given.items() if _reaches(tensors, inputs)}


def _noted(given: dict[Layer, list[Any]], call: LayerCall) -> Any:
    given.setdefault(call.layer, []).extend(call.initial_state() or [])
    return call.run()


def _reaches(tensors: Sequence[Any], inputs: set[Any]) -> bool:
    """Whether a path leads from the tensors back to one of the inputs."""
    waiting, seen = [tensor.op for tensor in tensors if tf.is_symbolic_tensor(tensor)], set()
    while waiting:
        operation = waiting.pop()
        if operation in inputs:
            return True
        if operation not in seen and operation.type not in _SHAPE_ALONE:
            seen.add(operation)
            waiting += [tensor.op for tensor in operation.inputs]
    return False
