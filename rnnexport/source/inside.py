"""What is inside a traced graph on one feed in float64: every tensor, in the bodies of loops and branches too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.compat.tensorflow import function_def_to_graph
from rnnexport.core.errors import ForeignCode, reason
from rnnexport.source.double import Double, plain_session
from rnnexport.source.trace import TracedModel

_STEPS = 40  # of a loop that are looked at: in the first a state is often all zeros, which hides what is done with it
# Where an operator that runs functions has their names, and how many of its inputs it keeps to itself.
_BODIES = {
    **dict.fromkeys(("While", "StatelessWhile"), (("body",), 0)),
    **dict.fromkeys(("If", "StatelessIf"), (("then_branch", "else_branch"), 1)),
    **dict.fromkeys(("Case", "StatelessCase"), (("branches",), 1)),
    **dict.fromkeys(("PartitionedCall", "StatefulPartitionedCall"), (("f",), 0)),
}
_LOOPS = ("While", "StatelessWhile")


@dataclass(frozen=True, eq=False)
class Scope:
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


def scopes(traced: TracedModel, graph: Double, feed: Mapping[str, np.ndarray]) -> Iterator[Scope]:
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

    def scopes(self) -> Iterator[Scope]:
        tensors = {tensor.name: tensor for one in self._wide.get_operations() for tensor in one.outputs}
        return self._scopes("", self._narrow, tensors)

    def _scopes(self, caller: str, narrow: tf.Graph, tensors: Mapping[str, tf.Tensor]) -> Iterator[Scope]:
        wanted = {name: tensor for name, tensor in tensors.items() if is_plain(tensor)}
        yield Scope(caller, narrow, self._session.run(wanted, self._feed))
        for operation in narrow.get_operations():
            if operation.type in _BODIES:
                given = [tensors[tensor.name] for tensor in operation.inputs]
                yield from self._of_functions(operation, given)

    def _of_functions(self, operation: Any, given: Sequence[tf.Tensor]) -> Iterator[Scope]:
        keys, own = _BODIES[operation.type]
        attributes = [operation.get_attr(key) for key in keys]
        for function in [one for each in attributes for one in (each if isinstance(each, list) else [each])]:
            if operation.type in _LOOPS:
                yield from self._of_loop(operation, given)
            else:
                shapes = [tensor.shape for tensor in operation.inputs][own:]
                narrow, body = (_function(function.name, graph, shapes) for graph in (self._narrow, self._wide))
                yield from self._scopes(operation.name, narrow, self._placed(body, given[own:]))

    def _of_loop(self, operation: Any, given: Sequence[tf.Tensor]) -> Iterator[Scope]:
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
