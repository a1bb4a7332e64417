"""Where a traced graph chooses between values by comparing numbers, and what it compares: seen node by node.

A loop is a function of the graph, whose inner values no session gives. So each node is run by itself, eagerly; loops,
branches and calls are run as Python runs them. Gradients flow through all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import tensorflow as tf

from rnnexport.compat.tensorflow import context, execute, op_def_registry
from rnnexport.source.graphs import CALLS, CHOICES, LOOPS, NodeDef, TensorPlace
from rnnexport.source.trace import TracedModel

Tensor = Any
# Between two values; between what lets through and what holds; or between the middle and the ends of a curve.
Kind = Literal["branch", "gate", "curve"]
_COMPARISONS = frozenset({"Greater", "GreaterEqual", "Less", "LessEqual", "Maximum", "Minimum"})
_AT_ZERO = frozenset({"Relu", "Elu", "Selu", "LeakyRelu"})
# Past these a gate is within 0.3% of its bound.
_GATES = {"Sigmoid": 6.0, "Tanh": 3.0}
# What bends: a kernel may be right near 0 alone.
_CURVES = frozenset({*_GATES, *_AT_ZERO, "Softplus", "Softsign", "Exp", "Expm1", "Erf"})
_FAR = 1.0
# What these give says nothing of the values of what they are given.
_SHAPE_ALONE = frozenset({"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike", "TensorListLength"})
_MOST_STEPS = 10_000  # of one loop


class NotObservedError(Exception):
    """A graph that can't be run node by node; says which operator forbids it."""


@dataclass(frozen=True)
class Site:
    """A place that chooses by a number, or computes in another way where that is large.

    Attributes:
        scope: the function that it is in; empty for the graph itself.
        node: its name there.
        bound: what its number is compared with, where one node has several bounds.
        kind: what it chooses. The sides of a gate, a sigmoid or tanh, are those where it is saturated; those of a curve
            where its operand is above 1 and below -1.
    """

    scope: str
    node: str
    bound: str = ""
    kind: Kind = "branch"

    def __str__(self) -> str:
        return f"{self.node}{self.bound and ' at ' + self.bound}"


Note = Callable[[Site, Tensor], None]


@dataclass(frozen=True)
class _Value:
    """A tensor, and whether values of the inputs have a part in it."""

    tensor: Tensor
    live: bool


@dataclass(frozen=True, eq=False)
class _Scope:
    """The graph, or one of its functions: its nodes in the order of their computation.

    Of what is not in `valued` the shape alone matters to the results.
    """

    name: str
    nodes: tuple[NodeDef, ...]
    valued: frozenset[str]
    arguments: tuple[str, ...]
    results: tuple[TensorPlace, ...]


class Observer:
    """Runs a traced graph, and tells at each site how far the number is above its bound.

    Args:
        traced: the graph.
    """

    def __init__(self, traced: TracedModel) -> None:
        graph_def = traced.graph_def()
        self._library = {function.signature.name: function for function in graph_def.library.function}
        self._signature = traced.signature
        arguments = [name.partition(":")[0] for name in traced.input_tensors]
        results = [_place("", name) for name in traced.output_tensors]
        self._main = _ordered("", {node.name: node for node in graph_def.node}, arguments, results)
        self._scopes: dict[str, _Scope] = {}
        self._constants: dict[tuple[str, str], Tensor] = {("", name): one for name, one in traced.open_weights.items()}

    def run(self, feed: Mapping[str, Any], note: Note) -> None:
        """Run the graph for a feed, and call `note` with each site that the inputs have a part in, and the difference.

        Raises:
            NotObservedError: an operator can't be run by itself.
        """
        values = [_Value(tf.convert_to_tensor(feed[spec.name]), live=True) for spec in self._signature.all_inputs]
        try:
            self._call(self._main, values, note)
        except (tf.errors.OpError, TypeError, ValueError, AttributeError) as error:
            raise NotObservedError(f"{type(error).__name__}: {str(error)[:120]}") from error

    def _call(self, scope: _Scope, arguments: Sequence[_Value], note: Note | None) -> list[_Value]:
        known: dict[str, list[_Value]] = {name: [value] for name, value in zip(scope.arguments, arguments, strict=True)}
        for node in scope.nodes:
            if node.name not in known:
                inputs = [known[place.node][place.port] for place in _operands(scope.name, node)]
                known[node.name] = self._node(scope, node, inputs, note)
        return [known[place.node][place.port] for place in scope.results]

    def _node(self, scope: _Scope, node: NodeDef, inputs: list[_Value], note: Note | None) -> list[_Value]:
        key = scope.name, node.name
        if node.op == "Const" or key in self._constants:
            if key not in self._constants:
                self._constants[key] = tf.constant(tf.make_ndarray(node.attr["value"].tensor))
            return [_Value(self._constants[key], live=False)]
        if node.op in LOOPS:
            return self._loop(node, inputs, note)
        if node.op in CALLS:
            return self._call(self._function(node.attr["f"].func.name), inputs, note)
        if node.op in CHOICES:
            return self._choice(node, inputs, note)
        live = node.op not in _SHAPE_ALONE and any(value.live for value in inputs)
        tensors = [value.tensor for value in inputs]
        if note is not None and live and node.name in scope.valued:
            for site, margin in _margins(scope.name, node, tensors):
                note(site, margin)
        return [_Value(tensor, live) for tensor in _run(node, tensors)]

    def _loop(self, node: NodeDef, values: list[_Value], note: Note | None) -> list[_Value]:
        condition, body = (self._function(node.attr[key].func.name) for key in ("cond", "body"))
        for _ in range(_MOST_STEPS):
            if not bool(self._call(condition, values, None)[0].tensor):
                return values
            values = self._call(body, values, note)
        raise NotObservedError(f"the loop {node.name} takes more than {_MOST_STEPS} steps")

    def _choice(self, node: NodeDef, inputs: list[_Value], note: Note | None) -> list[_Value]:
        branches = [node.attr[key].func.name for key in ("then_branch", "else_branch") if key in node.attr]
        branches = branches or [function.name for function in node.attr["branches"].list.func]
        chosen = int(inputs[0].tensor)
        at = min(max(chosen, 0), len(branches) - 1) if "branches" in node.attr else int(not chosen)
        return self._call(self._function(branches[at]), inputs[1:], note)

    def _function(self, name: str) -> _Scope:
        if name not in self._scopes:
            function = self._library[name]
            results = [_place(name, function.ret[one.name]) for one in function.signature.output_arg]
            arguments = [one.name for one in function.signature.input_arg]
            self._scopes[name] = _ordered(name, {node.name: node for node in function.node_def}, arguments, results)
        return self._scopes[name]


def _ordered(
    name: str, nodes: Mapping[str, NodeDef], arguments: Sequence[str], results: Sequence[TensorPlace]
) -> _Scope:
    """What the results need of the nodes, each behind what it reads."""
    order: list[NodeDef] = []
    done = set(arguments)
    waiting = [place.node for place in reversed(results)]
    while waiting:
        node = nodes.get(waiting[-1])
        if waiting[-1] in done or node is None:
            waiting.pop()
            continue
        missing = [place.node for place in _operands(name, node) if place.node not in done]
        if missing:
            waiting += missing
        else:
            done.add(waiting.pop())
            order.append(node)
    return _Scope(name, tuple(order), _valued(name, nodes, results), tuple(arguments), tuple(results))


def _valued(name: str, nodes: Mapping[str, NodeDef], results: Sequence[TensorPlace]) -> frozenset[str]:
    """The nodes whose values have a part in the results."""
    found: set[str] = set()
    waiting = [place.node for place in results]
    while waiting:
        one = waiting.pop()
        node = nodes.get(one)
        if one not in found and node is not None:
            found.add(one)
            waiting += [] if node.op in _SHAPE_ALONE else [place.node for place in _operands(name, node)]
    return frozenset(found)


def _operands(scope: str, node: NodeDef) -> list[TensorPlace]:
    return [_place(scope, name) for name in node.input if not name.startswith("^")]


def _place(scope: str, name: str) -> TensorPlace:
    node, *rest = name.split(":")
    port = int(rest[-1]) if rest else 0
    return TensorPlace(scope, node, port)


def _margins(scope: str, node: NodeDef, inputs: Sequence[Tensor]) -> Iterator[tuple[Site, Tensor]]:
    """How far the number of each site of a node is above its bound."""
    if not inputs or not inputs[0].dtype.is_floating:
        return
    x = inputs[0]
    if node.op in _COMPARISONS:
        yield Site(scope, node.name), x - inputs[1]
    elif node.op in _AT_ZERO:
        yield Site(scope, node.name), x
    elif node.op == "Relu6":
        yield Site(scope, node.name, "0"), x
        yield Site(scope, node.name, "6"), x - 6.0
    elif node.op == "ClipByValue":
        yield Site(scope, node.name, "its least"), x - inputs[1]
        yield Site(scope, node.name, "its most"), x - inputs[2]
    elif node.op in _GATES:
        yield Site(scope, node.name, kind="gate"), _outside(x, _GATES[node.op])
    if node.op in _CURVES:
        yield Site(scope, node.name, kind="curve"), _outside(x, _FAR)


def _outside(x: Tensor, bound: float) -> Tensor:
    """How far a number is above a bound, or, below 0, below its opposite; 0 between them."""
    return x - tf.clip_by_value(x, -bound, bound)


def _run(node: NodeDef, inputs: Sequence[Tensor]) -> list[Tensor]:
    """One node by itself. `tf.raw_ops` would do it too, but names operands and attributes otherwise than nodes do."""
    definition = op_def_registry.get(node.op)
    if definition is None:
        raise NotObservedError(f"operator {node.op} can't be run by itself")
    names = {one.name for one in definition.attr}
    attributes: list[Any] = []
    for key, value in node.attr.items():
        if key in names:
            attributes += [key, _attribute(value)]
    count = sum(_count(node, one) for one in definition.output_arg)
    found = execute.execute(node.op.encode(), count, list(inputs), tuple(attributes), context.context())
    if execute.must_record_gradient():
        execute.record_gradient(node.op, list(inputs), tuple(attributes), found)
    return list(found or ())


def _count(node: NodeDef, result: Any) -> int:
    """How many tensors one result of an operator is."""
    if result.number_attr:
        return int(node.attr[result.number_attr].i)
    return len(node.attr[result.type_list_attr].list.type) if result.type_list_attr else 1


def _attribute(value: Any) -> Any:
    """An attribute of a node as `execute` takes it."""
    kind = value.WhichOneof("value")
    if kind == "shape":
        return _shape(value.shape)
    if kind == "tensor":
        return value.tensor
    if kind != "list":
        return getattr(value, kind)
    listed = value.list
    return list(listed.type or listed.i or listed.f or listed.s or listed.b) or [_shape(one) for one in listed.shape]


def _shape(proto: Any) -> list[int | None] | None:
    shape = tf.TensorShape(proto)
    return None if shape.rank is None else shape.as_list()


def climb(
    observer: Observer, feed: Mapping[str, Any], names: Sequence[str], site: Site, side: int
) -> tuple[float, dict[str, Any]]:
    """How far a feed comes on a side of a site, below 0 where it is not there, and which way each of its inputs leads.

    Args:
        observer: of the graph.
        feed: the inputs.
        names: of those that may move.
        site: the place.
        side: 1 for above the bound, -1 for below.

    Raises:
        NotObservedError: an operator can't be run by itself.
    """
    tensors = {name: tf.convert_to_tensor(array) for name, array in feed.items()}
    seen: list[Tensor] = []
    with tf.GradientTape() as tape:
        tape.watch([tensors[name] for name in names])
        observer.run(tensors, lambda at, margin: seen.append(tf.reduce_max(side * margin)) if at == site else None)
        reach = tf.reduce_max(tf.stack(seen)) if seen else tf.constant(float("-inf"))
    try:
        slopes = tape.gradient(reach, [tensors[name] for name in names]) if seen else [None] * len(names)
    except LookupError:  # an operator has no gradient
        slopes = [None] * len(names)
    found = {name: slope.numpy() for name, slope in zip(names, slopes, strict=True) if slope is not None}
    return float(reach), found
