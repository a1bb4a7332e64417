"""The reset gate of a GRU on the wrong side of the product: `r * (h R)` for `(r * h) R`, and the other way round."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx

from benchmarks.mutation.nodes import evaluated, set_attribute, told, value_of
from benchmarks.mutation.view import Edit, Place, View

_ACTIVATIONS = ("Sigmoid", "HardSigmoid", "Mul", "Clip", "Tanh", "Softsign", "Relu")


@dataclass(frozen=True)
class _Product:
    """`h matrix + bias`, of a state h."""

    state: str
    matrix: np.ndarray
    bias: np.ndarray | None


def reset_moved(view: View) -> Iterator[Edit]:
    """`linear_before_reset` turned over, or the same done in the body of a loop."""
    for _, node in view.nodes("GRU"):
        other = 1 - int(str(value_of(node, "linear_before_reset", 0)))
        yield Edit(told(node), partial(set_attribute, node, "linear_before_reset", other))
    for place in view.places:
        if place.loop:
            states = {str(place.graph.input[at].name) for at in place.states()}
            for node in list(place.graph.node):
                if node.op_type == "Mul":
                    yield from _to_before(view, place, node, states)
                elif node.op_type in ("MatMul", "Gemm"):
                    yield from _to_after(view, place, node, states)


def _to_before(view: View, place: Place, node: onnx.NodeProto, states: set[str]) -> Iterator[Edit]:
    """`r * (h R + b)` becomes `(r * h) R + b`."""
    for gate, other in (tuple(node.input), tuple(node.input)[::-1]):
        product, maker = _product(view, other, states), view.producer(gate)
        if product is None or maker is None or maker.op_type not in _ACTIVATIONS:
            continue
        if product.matrix.shape[0] == product.matrix.shape[1]:
            yield Edit(told(node), partial(_before, view, place, node, gate, product))


def _before(view: View, place: Place, node: onnx.NodeProto, gate: str, product: _Product) -> None:
    state = view.before(place, node, "Mul", [gate, product.state])
    bias = np.zeros(product.matrix.shape[1], np.float32) if product.bias is None else product.bias
    inputs = [state, view.constant(product.matrix), view.constant(bias)]
    made = view.before(place, node, "Gemm", inputs)
    node.op_type = "Identity"
    del node.input[:]
    node.input.append(made)


def _product(view: View, name: str, states: set[str]) -> _Product | None:
    """What `name` is, if it is a state's product, or a part of one."""
    node = view.producer(name)
    if node is None:
        return None
    if node.op_type in ("MatMul", "Gemm"):
        return _whole(view, node, states)
    if node.op_type == "Add":
        return _with_bias(view, node, states)
    return _part(view, node, name, states) if node.op_type in ("Split", "Slice") else None


def _part(view: View, node: onnx.NodeProto, name: str, states: set[str]) -> _Product | None:
    """Columns of a product: the matrix and the bias are cut as the product is."""
    whole, bounds = _product(view, node.input[0], states), [view.known(one) for one in node.input[1:]]
    given = [bound for bound in bounds if bound is not None]
    if whole is None or len(given) < len(bounds):
        return None
    at = list(node.output).index(name)
    matrix = evaluated(node, [whole.matrix, *given])[at]
    if whole.bias is None:
        return _Product(whole.state, matrix, None)
    return _Product(
        whole.state, matrix, evaluated(node, [np.broadcast_to(whole.bias, whole.matrix.shape), *given])[at][0]
    )


def _whole(view: View, node: onnx.NodeProto, states: set[str]) -> _Product | None:
    matrix = view.known(node.input[1])
    bias = view.known(node.input[2]) if len(node.input) > 2 else None
    plain = not node.attribute and matrix is not None and matrix.ndim == 2 and node.input[0] in states
    if not plain or matrix is None or (len(node.input) > 2 and bias is None):
        return None
    return _Product(node.input[0], matrix, None if bias is None else np.broadcast_to(bias, matrix.shape[1:]))


def _with_bias(view: View, node: onnx.NodeProto, states: set[str]) -> _Product | None:
    for name, other in (tuple(node.input), tuple(node.input)[::-1]):
        bias, product = view.known(other), _product(view, name, states)
        if product is not None and bias is not None and bias.ndim <= 1:
            both = np.broadcast_to(bias, product.matrix.shape[1:])
            return _Product(product.state, product.matrix, both if product.bias is None else both + product.bias)
    return None


def _to_after(view: View, place: Place, node: onnx.NodeProto, states: set[str]) -> Iterator[Edit]:
    """`(r * h) R + b` becomes `r * (h R) + b`."""
    gated, matrix = view.producer(node.input[0]), view.known(node.input[1])
    if gated is None or gated.op_type != "Mul" or matrix is None or node.attribute:
        return
    for state, gate in (tuple(gated.input), tuple(gated.input)[::-1]):
        if state in states and gate not in states and matrix.shape[0] == matrix.shape[-1]:
            yield Edit(told(node), partial(_after, view, place, node, state, gate))


def _after(view: View, place: Place, node: onnx.NodeProto, state: str, gate: str) -> None:
    product = view.before(place, node, "MatMul", [state, node.input[1]])
    result = view.before(place, node, "Mul", [gate, product])
    inputs = [result, *node.input[2:]]
    node.op_type = "Add" if len(inputs) == 2 else "Identity"
    del node.input[:]
    node.input.extend(inputs)
