"""Faults planted into what a converter makes of operators, by its own mechanism for handlers of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tf2onnx.handler import tf_op

from rnnexport.conversion import convert, handlers
from rnnexport.conversion.handlers.making import Rewrite

Handler = tuple[Callable[..., None], list[str]]


def plant(monkeypatch: Any, faults: Mapping[str, Handler]) -> None:
    """Until the end of the test, operators are converted by these handlers."""
    monkeypatch.setattr(convert, "HANDLERS", {**convert.HANDLERS, **faults})


def formula(write: Callable[..., str]) -> Handler:
    """An operator as what `write` makes of its inputs: `write(emit, *inputs)`, with `emit(op, *inputs)` for a node.

    An input may be a number.
    """

    def handler(graph: Any, node: Any, name: str, arguments: Any) -> None:
        shapes, dtypes = ([read(output) for output in node.output] for read in (graph.get_shape, graph.get_dtype))
        inputs, outputs = list(node.input), list(node.output)
        graph.remove_node(name)
        count = iter(range(1000))

        def emit(op: str, *parts: Any, **attributes: Any) -> str:
            at = f"{name}/wrong_{next(count)}"
            given = [
                part if isinstance(part, str) else graph.make_const(f"{at}/{k}", np.array(part, "float32")).output[0]
                for k, part in enumerate(parts)
            ]
            made = graph.make_node(op, given, name=at, attr=attributes, shapes=shapes, dtypes=dtypes)
            return str(made.output[0])

        result = write(emit, *inputs)
        graph.make_node("Identity", [result], outputs=outputs, name=name, shapes=shapes, dtypes=dtypes)

    return handler, []


def before(op: str, change: Callable[[Any, Any], None]) -> Handler:
    """An operator as its handler makes it, once `change(graph, node)` has changed the node."""

    def handler(graph: Any, node: Any, name: str, arguments: Any) -> None:
        right, settings = tf_op.create_mapping(18, None)[op]
        change(graph, node)
        if "onnx_op" in settings:
            node.type = settings["onnx_op"]
        right(graph, node, **settings)

    return handler, []


def swapped(graph: Any, node: Any) -> None:
    """The operands in the other order; of three the last two."""
    *first, one, other = node.input
    node.input[:] = [*first, other, one]


def with_constant(at: int, change: Callable[[np.ndarray], Any]) -> Callable[[Any, Any], None]:
    """An input that is a constant, as another one."""

    def changed(graph: Any, node: Any) -> None:
        value = node.inputs[at].get_tensor_value(as_list=False)
        made = graph.make_const(f"{node.name}/wrong_{at}", np.asarray(change(value), value.dtype))
        graph.replace_input(node, node.input[at], made.output[0], at)

    return changed


def attribute(name: str, change: Callable[[Any], Any]) -> Callable[[Any, Any], None]:
    """An attribute as another one."""

    def changed(graph: Any, node: Any) -> None:
        found = node.get_attr(name)
        node.set_attr(name, change(found.i if found else 0))

    return changed


class _Miswriting(Rewrite):
    """What a handler of ours writes, with one fault in it."""

    def __init__(self, graph: Any, node: Any, fault: Fault) -> None:
        super().__init__(graph, node)
        self._fault = fault

    def __call__(self, op: str, *inputs: str, **attributes: Any) -> str:
        op, inputs, attributes = self._fault.of_node(op, inputs, attributes)
        return super().__call__(op, *inputs, **attributes)

    def last(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> None:
        op, inputs, attributes = self._fault.of_node(op, inputs, attributes)
        super().last(op, *inputs, domain=domain, **attributes)

    def number(self, value: float, like: str) -> str:
        return super().number(self._fault.numbers.get(value, value), like)


@dataclass(frozen=True)
class Fault:
    """A fault in what a handler of ours writes.

    Attributes:
        op: which nodes of ONNX it is in.
        turned: whether their last two operands change places.
        becomes: what they are instead.
        attributes: what they have instead.
        numbers: what constants are instead.
    """

    op: str = ""
    turned: bool = False
    becomes: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    numbers: Mapping[float, float] = field(default_factory=dict)

    def of_node(self, op: str, inputs: Sequence[str], attributes: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
        """A node with it."""
        if op != self.op:
            return op, inputs, attributes
        turned = [*inputs[:-2], *reversed(inputs[-2:])] if self.turned else inputs
        return self.becomes or op, turned, {**attributes, **self.attributes}


def miswritten(op: str, fault: Fault) -> Handler:
    """An operator as our handler of it writes it, with a fault."""
    write = next(family.HANDLERS[op] for family in handlers._FAMILIES if op in family.HANDLERS)
    return lambda graph, node, name, arguments: write(_Miswriting(graph, node, fault)), []
