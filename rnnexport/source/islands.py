"""Parts of a traced graph as models of their own, to ask a converter of each what it makes of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.signature import Signature, TensorSpec
from rnnexport.source.inside import Scope, is_plain, runs_functions
from rnnexport.source.trace import TracedModel

# Operators that compute nothing.
_PLAIN = frozenset({"Const", "Placeholder", "Identity", "IdentityN", "NoOp", "StopGradient"})


@dataclass(frozen=True, eq=False)
class Island:
    """An operator by itself.

    Attributes:
        node: its path in the source.
        op: its kind.
        traced: it as a model: its inputs that are constants stay constants.
        feed: what the inputs were, by the names of the signature.
    """

    node: str
    op: str
    traced: TracedModel
    feed: dict[str, np.ndarray]


def islands(scope: Scope) -> Iterator[Island]:
    """The operators of a scope that have plain arrays for inputs and outputs; of equal ones the first.

    Operators that run functions are none: what is in these is in scopes of their own.
    """
    seen: set[str] = set()
    for operation in scope.graph.get_operations():
        tensors = [*operation.inputs, *operation.outputs]
        if operation.type in _PLAIN or not operation.outputs or runs_functions(operation):
            continue
        if not all(_has_form(tensor) and tensor.name in scope.values for tensor in tensors):
            continue
        key = _kind(operation)
        if key not in seen:
            seen.add(key)
            yield _island(operation, scope)


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
    """What two operators have in common that a converter can't tell apart."""
    attributes = sorted((name, str(value)) for name, value in operation.node_def.attr.items() if name[0] != "_")
    inputs = [
        str(tensor.op.node_def.attr["value"]) if tensor.op.type == "Const" else f"{tensor.dtype} {tensor.shape}"
        for tensor in operation.inputs
    ]
    return repr((operation.type, attributes, inputs))


def _island(operation: Any, scope: Scope) -> Island:
    read = list({tensor.name: tensor for tensor in operation.inputs}.values())
    given = [tensor for tensor in read if tensor.op.type != "Const"]
    names = {tensor.name: f"input_{at}" for at, tensor in enumerate(given)}
    with tf.Graph().as_default() as placeholders:
        for tensor in given:
            tf.compat.v1.placeholder(tensor.dtype, tensor.shape, names[tensor.name])
    graph_def = placeholders.as_graph_def()
    graph_def.node.extend(tensor.op.node_def for tensor in read if tensor.op.type == "Const")
    node = graph_def.node.add()
    node.CopyFrom(operation.node_def)
    node.input[:] = [names.get(tensor.name, tensor.name) for tensor in operation.inputs]
    node.attr.pop("_class", None)  # which asks for another node to be beside it
    inputs = [_spec(name, tensor) for tensor, name in zip(given, names.values(), strict=True)]
    outputs = [_spec(f"output_{at}", tensor) for at, tensor in enumerate(operation.outputs)]
    feed = {names[tensor.name]: scope.values[tensor.name] for tensor in given}
    traced = _traced(graph_def, Signature(tuple(inputs), tuple(outputs)), [tensor.name for tensor in operation.outputs])
    return Island(operation.name, operation.type, traced, feed)


def _traced(graph_def: Any, signature: Signature, outputs: Sequence[str]) -> TracedModel:
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph_def, name=""), [])
    inputs = [f"{spec.name}:0" for spec in signature.inputs]
    fetches = {
        spec.name: wrapped.graph.get_tensor_by_name(tensor)
        for spec, tensor in zip(signature.outputs, outputs, strict=True)
    }
    function = wrapped.prune([wrapped.graph.get_tensor_by_name(tensor) for tensor in inputs], fetches)
    return TracedModel("operator", signature, function, tuple(inputs), tuple(outputs))


def _spec(name: str, tensor: tf.Tensor) -> TensorSpec:
    """With an open size wherever the graph has one."""
    dims = tensor.shape.as_list()
    shape = tuple(f"{name}_{axis}" if size is None else size for axis, size in enumerate(dims))
    return TensorSpec(name, tensor.dtype.name, shape)
