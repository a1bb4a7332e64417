"""What is inside a traced graph on one feed in float64, and its operators as models of their own.

Each of these, an island, is to ask a converter what it makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.compat.tensorflow import function_def_to_graph
from rnnexport.core.errors import ForeignCode, reason
from rnnexport.core.signature import Signature, TensorSpec
from rnnexport.source.double import Double, plain_session
from rnnexport.source.graphs import BRANCHES, CALLS, CASES, LOOPS
from rnnexport.source.trace import TracedModel

# Operators that compute nothing.
_PLAIN = frozenset({"Const", "Placeholder", "Identity", "IdentityN", "NoOp", "StopGradient"})
_STEPS = 40  # of a loop that are looked at: in the first a state is often all zeros, which hides what is done with it
# Where an operator that runs functions has their names, and how many of its inputs it keeps to itself.
_BODIES = {
    **dict.fromkeys(LOOPS, (("body",), 0)),
    **dict.fromkeys(BRANCHES, (("then_branch", "else_branch"), 1)),
    **dict.fromkeys(CASES, (("branches",), 1)),
    **dict.fromkeys(CALLS, (("f",), 0)),
}


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


def islands(scope: ExecutedGraph) -> Iterator[Island]:
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


@dataclass(frozen=True, eq=False)
class ExecutedGraph:
    """The graph, or a function of it, as it ran once.

    Attributes:
        caller: the node that runs the function; empty for the graph itself.
        graph: with the types of the source.
        values: of its tensors that have a form in NumPy, by their names there; in float64 where they are real.
    """

    caller: str
    graph: tf.Graph
    values: Mapping[str, np.ndarray]


class InsideError(Exception):
    """TensorFlow does not run a part of the graph by itself."""


def runs_functions(operation: Any) -> bool:
    """Whether an operator is a loop, a branch or a call."""
    return any(value.HasField("func") or value.list.func for value in operation.node_def.attr.values())


def is_plain(tensor: tf.Tensor) -> bool:
    """Whether a tensor has a form in NumPy: the list that a loop fills has none."""
    dtype = tensor.dtype
    return bool(dtype.is_floating or dtype.is_integer or dtype.is_bool or dtype.is_complex)


def scopes(traced: TracedModel, graph: Double, feed: Mapping[str, np.ndarray]) -> Iterator[ExecutedGraph]:
    """The graph, then every function as it ran, those of a node behind the node's own scope.

    Raises:
        InsideError: see there.
    """
    with ForeignCode(lambda error: InsideError(reason(error))):
        yield from _Inside(traced, graph, feed).scopes()


class _Inside:
    """The graph in wide types, written out: steps of loops and branches stand behind each other in one graph."""

    def __init__(self, traced: TracedModel, graph: Double, feed: Mapping[str, np.ndarray]) -> None:
        self._narrow, self._wide = tf.Graph(), tf.Graph()
        for made, given in ((self._narrow, traced.function.graph), (self._wide, graph.graph)):
            with made.as_default():
                tf.import_graph_def(given.as_graph_def(), name="")
        self._feed = {tensor.name: np.asarray(feed[name]) for name, tensor in graph.inputs.items()}
        self._feed |= {tensor.name: array for tensor, array in graph.held.items()}
        self._session = plain_session(self._wide)

    def scopes(self) -> Iterator[ExecutedGraph]:
        tensors = {tensor.name: tensor for one in self._wide.get_operations() for tensor in one.outputs}
        return self._scopes("", self._narrow, tensors)

    def _scopes(self, caller: str, narrow: tf.Graph, tensors: Mapping[str, tf.Tensor]) -> Iterator[ExecutedGraph]:
        wanted = {name: tensor for name, tensor in tensors.items() if is_plain(tensor)}
        yield ExecutedGraph(caller, narrow, self._session.run(wanted, self._feed))
        for operation in narrow.get_operations():
            if operation.type in _BODIES:
                given = [tensors[tensor.name] for tensor in operation.inputs]
                yield from self._of_functions(operation, given)

    def _of_functions(self, operation: Any, given: Sequence[tf.Tensor]) -> Iterator[ExecutedGraph]:
        keys, own = _BODIES[operation.type]
        attributes = [operation.get_attr(key) for key in keys]
        for function in [one for each in attributes for one in (each if isinstance(each, list) else [each])]:
            if operation.type in LOOPS:
                yield from self._of_loop(operation, given)
            else:
                shapes = [tensor.shape for tensor in operation.inputs][own:]
                narrow, body = (_function(function.name, graph, shapes) for graph in (self._narrow, self._wide))
                yield from self._scopes(operation.name, narrow, self._placed(body, given[own:]))

    def _of_loop(self, operation: Any, given: Sequence[tf.Tensor]) -> Iterator[ExecutedGraph]:
        shapes = [tensor.shape for tensor in operation.outputs]
        body_name, cond_name = (operation.get_attr(key).name for key in ("body", "cond"))
        narrow, body = (_function(body_name, graph, shapes) for graph in (self._narrow, self._wide))
        condition = _function(cond_name, self._wide, shapes)
        for _ in range(_STEPS):
            going = self._placed(condition, given)[condition.outputs[0].name]
            if not self._session.run(going, self._feed):
                return
            tensors = self._placed(body, given)
            yield from self._scopes(operation.name, narrow, tensors)
            given = [tensors[tensor.name] for tensor in body.outputs]

    def _placed(self, body: Any, given: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
        """A function written out in the graph, called with what is given; its tensors by their names in it."""
        inputs = {tensor.name: value for tensor, value in zip(body.inputs, given, strict=True)}
        names = [tensor.name for one in body.get_operations() for tensor in one.outputs if tensor.name not in inputs]
        with self._wide.as_default():
            found = tf.import_graph_def(body.as_graph_def(), inputs, names, name="inside")
        return inputs | dict(zip(names, found, strict=True))


def _function(name: str, graph: tf.Graph, shapes: Sequence[tf.TensorShape]) -> Any:
    """A function of a graph as a graph, given the shapes of its arguments."""
    library = {function.signature.name: function for function in graph.as_graph_def().library.function}
    with graph.as_default():
        return function_def_to_graph(library[name], input_shapes=list(shapes))
