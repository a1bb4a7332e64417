"""Parts of a traced graph as models of their own, to ask a converter of each what it makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.core.signature import Signature, TensorSpec
from rnnexport.source.inside import Scope, is_plain, runs_functions
from rnnexport.source.trace import TracedModel

# Operators that compute nothing.
_PLAIN = frozenset({"Const", "Placeholder", "Identity", "IdentityN", "NoOp", "StopGradient"})


@dataclass(frozen=True, eq=False)
class Island:
    """An operator by itself.

    Attributes:
        node: its path in the source.
        op: its type.
        kind: equal for operators that a converter can't tell apart.
        feed: what its inputs were, by the names of the signature.
        traced: makes a model of it, in which inputs that are constants stay constants.
    """

    node: str
    op: str
    kind: str
    feed: dict[str, np.ndarray]
    traced: Callable[[], TracedModel]


def islands(scope: Scope) -> Iterator[Island]:
    """The operators of a scope that have plain arrays for inputs and outputs, in the order of the graph.

    Operators that run functions are none: what is in these is in scopes of their own.
    """
    for operation in scope.graph.get_operations():
        tensors = [*operation.inputs, *operation.outputs]
        if operation.type in _PLAIN or not operation.outputs or runs_functions(operation):
            continue
        if all(_has_form(tensor) and tensor.name in scope.values for tensor in tensors):
            names = _names(operation)
            feed = {name: scope.values[tensor] for tensor, name in names.items()}
            yield Island(operation.name, operation.type, _kind(operation), feed, partial(_traced, operation))


def with_all_values(traced: TracedModel) -> tuple[TracedModel, dict[str, Any]]:
    """The model with every tensor of its graph that has a form as an output, and by the output what computes it.

    What a loop or a branch gives is taken from behind it: converters take no output of these for one of the model.
    """
    made: dict[str, tuple[tf.Tensor, Any]] = {}
    for operation in traced.function.graph.get_operations():
        for tensor in filter(_has_form, operation.outputs):
            if operation.type == "Identity" and runs_functions(operation.inputs[0].op):
                made[tensor.name] = tensor, operation.inputs[0].op
            elif operation.type not in _PLAIN and not runs_functions(operation) and tensor.consumers():
                made[tensor.name] = tensor, operation
    names = [f"value_{at}" for at in range(len(made))]
    outputs = tuple(_spec(name, tensor) for name, (tensor, _) in zip(names, made.values(), strict=True))
    whole = replace(traced, signature=Signature(traced.signature.all_inputs, outputs), output_tensors=tuple(made))
    return whole, {name: operation for name, (_, operation) in zip(names, made.values(), strict=True)}


def _has_form(tensor: tf.Tensor) -> bool:
    return tensor.shape.rank is not None and is_plain(tensor)


def _kind(operation: Any) -> str:
    names = _names(operation)
    attributes = sorted((name, str(value)) for name, value in operation.node_def.attr.items() if name[0] != "_")
    inputs = [
        f"{names[tensor.name]} {tensor.dtype} {tensor.shape}"
        if tensor.name in names
        else str(tensor.op.node_def.attr["value"])
        for tensor in operation.inputs
    ]
    return repr((operation.type, attributes, inputs))


def _names(operation: Any) -> dict[str, str]:
    """The name of each input that is no constant, by that of its tensor."""
    given = dict.fromkeys(tensor.name for tensor in operation.inputs if tensor.op.type != "Const")
    return {name: f"input_{at}" for at, name in enumerate(given)}


def _traced(operation: Any) -> TracedModel:
    names = _names(operation)
    read = {tensor.name: tensor for tensor in operation.inputs}
    with tf.Graph().as_default() as placeholders:
        for tensor, name in names.items():
            tf.compat.v1.placeholder(read[tensor].dtype, read[tensor].shape, name)
    graph_def = placeholders.as_graph_def()
    graph_def.node.extend({one.op.name: one.op.node_def for one in read.values() if one.name not in names}.values())
    node = graph_def.node.add()
    node.CopyFrom(operation.node_def)
    node.input[:] = [names.get(tensor.name, tensor.name) for tensor in operation.inputs]
    node.attr.pop("_class", None)  # which asks for another node to be beside it
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph_def, name=""), [])
    inputs = tuple(f"{name}:0" for name in names.values())
    outputs = tuple(tensor.name for tensor in operation.outputs)
    fetched = {f"output_{at}": wrapped.graph.get_tensor_by_name(name) for at, name in enumerate(outputs)}
    function = wrapped.prune([wrapped.graph.get_tensor_by_name(name) for name in inputs], fetched)
    signature = Signature(
        tuple(_spec(name, read[tensor]) for tensor, name in names.items()),
        tuple(_spec(f"output_{at}", tensor) for at, tensor in enumerate(operation.outputs)),
    )
    return TracedModel("operator", signature, function, inputs, outputs)


def _spec(name: str, tensor: tf.Tensor) -> TensorSpec:
    """With an open size wherever the graph has one."""
    dims = tensor.shape.as_list()
    shape = tuple(f"{name}_{axis}" if size is None else size for axis, size in enumerate(dims))
    return TensorSpec(name, tensor.dtype.name, shape)
