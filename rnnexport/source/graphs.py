"""A graph of TensorFlow with the functions that it calls, walked from a tensor back to where it comes from.

Loops and branches are functions: their arguments are tensors of the caller, and their results are its.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

GraphDef = Any
NodeDef = Any
LOOPS = frozenset({"While", "StatelessWhile"})
BRANCHES = frozenset({"If", "StatelessIf"})
CASES = frozenset({"Case", "StatelessCase"})
# The arguments of a function begin behind the operand that says which one is called.
CHOICES = BRANCHES | CASES
CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_RUNS = LOOPS | CHOICES | CALLS
_SAME = frozenset({"Identity", "StopGradient", "Snapshot"})
_DEEPEST = 100


def every_node(graph_def: GraphDef) -> list[NodeDef]:
    """The nodes of a graph and of all functions that it may call."""
    return [*graph_def.node, *(node for function in graph_def.library.function for node in function.node_def)]


@dataclass(frozen=True)
class TensorPlace:
    """A tensor: an output of a node, or an argument of a function.

    Attributes:
        scope: the function; empty for the graph itself.
        node: its name there.
        port: which output of the node.
    """

    scope: str
    node: str
    port: int = 0

    def input(self, node: NodeDef, at: int) -> TensorPlace:
        """The tensor that `node`, which is of this scope, reads as operand `at`."""
        name, *rest = node.input[at].split(":")
        return TensorPlace(self.scope, name, int(rest[-1]) if rest else 0)


class Scopes:
    """A graph and its functions.

    Args:
        graph_def: the graph.
        weights: its placeholders that stand for constants.
    """

    def __init__(self, graph_def: GraphDef, weights: Container[str] = ()) -> None:
        self._weights = weights
        self._nodes = {("", node.name): node for node in graph_def.node}
        self._functions = {function.signature.name: function for function in graph_def.library.function}
        for name, function in self._functions.items():
            self._nodes |= {(name, node.name): node for node in function.node_def}
        self._arguments = {
            (name, argument.name): at
            for name, function in self._functions.items()
            for at, argument in enumerate(function.signature.input_arg)
        }
        self._callers: dict[str, list[tuple[str, NodeDef]]] = {}
        for (scope, _), node in self._nodes.items():
            if self.is_call(node):
                for name in _called(node):
                    self._callers.setdefault(name, []).append((scope, node))

    def nodes(self) -> Iterator[tuple[TensorPlace, NodeDef]]:
        """Every node, with the place of its first output."""
        for (scope, name), node in self._nodes.items():
            yield TensorPlace(scope, name), node

    def node(self, place: TensorPlace) -> NodeDef | None:
        """The node that gives a tensor; None for an argument of a function."""
        return self._nodes.get((place.scope, place.node))

    @staticmethod
    def is_call(node: NodeDef) -> bool:
        """Whether the node calls functions."""
        return node.op in _RUNS

    def elsewhere(self, place: TensorPlace) -> Iterator[TensorPlace]:
        """What an argument is to the callers of its function, or what a result of a call is inside and before it."""
        at = self._arguments.get((place.scope, place.node))
        if at is not None:
            for scope, node in self._callers.get(place.scope, ()):
                yield TensorPlace(scope, node.name).input(node, at + (node.op in CHOICES))
            return
        node = self._nodes[place.scope, place.node]
        if node.op in LOOPS:
            yield place.input(node, place.port)
        for name in _called(node):
            function = self._functions.get(name)
            if function is not None and place.port < len(function.signature.output_arg):
                result = function.ret[function.signature.output_arg[place.port].name]
                given, *rest = result.split(":")
                yield TensorPlace(name, given, int(rest[-1]) if rest else 0)

    def shape(self, place: TensorPlace) -> tuple[int, ...] | None:
        """The shape of a constant; None for what is none."""
        node = self._constant(place)
        if node is None:
            return None
        shape = node.attr["value"].tensor.tensor_shape if node.op == "Const" else node.attr["shape"].shape
        return tuple(dim.size for dim in shape.dim)

    def value(self, place: TensorPlace) -> np.ndarray | None:
        """A constant; None for what is none, and for a weight that is not in the graph."""
        node = self._constant(place)
        return None if node is None or node.op != "Const" else tf.make_ndarray(node.attr["value"].tensor)

    def _constant(self, place: TensorPlace) -> NodeDef | None:
        for _ in range(_DEEPEST):
            node = self.node(place)
            if node is not None and (node.op == "Const" or (not place.scope and node.name in self._weights)):
                return node
            if node is not None and node.op in _SAME:
                place = place.input(node, 0)
            elif node is None and (place.scope, place.node) in self._arguments:
                callers = list(self.elsewhere(place))
                if not callers:
                    return None
                place = callers[0]
            else:
                return None
        return None


def _called(node: NodeDef) -> Iterator[str]:
    """The functions that a node calls, but for those that end loops."""
    for key, value in node.attr.items():
        if key != "cond":
            yield from (function.name for function in (value.func, *value.list.func) if function.name)
