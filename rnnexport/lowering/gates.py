"""What the gates of a cell are made of: activations that ONNX has, of sums that are linear in input and state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rnnexport.ir.terms import Term
from rnnexport.lowering.activations import ODD
from rnnexport.lowering.algebra import (
    ROUNDING,
    Act,
    Lanes,
    Product,
    Sum,
    Unreadable,
    constant_of,
    negative,
    number,
    plus,
    times,
    total,
)


@dataclass(frozen=True)
class Activation:
    """An activation as ONNX names it, with its attributes; None for one that it does not have."""

    name: str
    alpha: float | None = None
    beta: float | None = None


LINEAR = Activation("Affine", 1.0, 0.0)
# Every hard sigmoid is clip(x, 0, 1) of a scaled sum: the scale goes into the weights.
_FUNCTIONS = {"Clip": Activation("HardSigmoid", 1.0, 0.0)}
_WITH_ALPHA = {"LeakyRelu", "Elu", "ThresholdedRelu"}
# Not Softplus: the recurrent kernels of ONNX Runtime compute it as log(1 + exp(x)), which overflows above 88.
_PLAIN = {"Sigmoid", "Tanh", "Relu", "Softsign"}


@dataclass(frozen=True, eq=False)
class Gate:
    """An activation of a sum; or, without a function, a constant.

    Attributes:
        argument: what the activation is applied to, or the constant.
        function: None for a constant.
    """

    argument: Sum
    function: Activation | None

    @property
    def value(self) -> np.ndarray | None:
        """The constant."""
        return constant_of(self.argument) if self.function is None else None


def function_of(act: Act) -> Activation:
    """The ONNX activation."""
    if act.function in _FUNCTIONS:
        return _FUNCTIONS[act.function]
    if act.function in _WITH_ALPHA:
        return Activation(act.function, act.parameter)
    if act.function in _PLAIN:
        return Activation(act.function)
    raise Unreadable(f"{act.function} is no activation that ONNX Runtime has")


def gate_of(value: Sum) -> Gate | None:
    """A gate: an activation, one minus a sigmoid, or a constant; None where it is none of these."""
    constant = constant_of(value)
    if constant is not None:
        return Gate(value, None)
    act, scale, rest = _one_act(value)
    if act is None or scale is None or constant_of(rest) is None:
        return None
    offset = _uniform(constant_of(rest))
    if scale == 1.0 and offset == 0.0:
        return Gate(act.argument, function_of(act))
    if scale == -1.0 and offset == 0.0 and act.function in ODD:
        return Gate(negative(act.argument), function_of(act))
    if scale == -1.0 and offset == 1.0 and act.function == "Sigmoid":
        return Gate(negative(act.argument), function_of(act))
    if scale == -1.0 and offset == 1.0 and act.function == "Clip":
        return Gate(plus(number(1.0, value.width), act.argument, -1), function_of(act))
    return None


def candidate_of(value: Sum) -> Gate:
    """What is added to a state: an activation, also a scaled tanh; else the sum itself, which has to be linear then."""
    gate = gate_of(value)
    if gate is not None and gate.function is not None:
        return gate
    if len(value.products) == 1:
        act, scale, _ = _one_act(value)
        if act is not None and scale is not None and act.function == "Tanh":
            return Gate(act.argument, Activation("ScaledTanh", scale, 1.0))
    return Gate(value, LINEAR)


def _one_act(value: Sum) -> tuple[Act | None, float | None, Sum]:
    """(act, scale, rest) with value = scale * act + rest; no act where there is none, no scale where it differs."""
    found: list[tuple[Act, np.ndarray]] = []
    others: list[Product] = []
    for product in value.products.values():
        if len(product.factors) == 1 and not product.base and isinstance(product.factors[0], Act):
            found.append((product.factors[0], product.weight))
        else:
            others.append(product)
    if len(found) != 1:
        return None, None, value
    ((act, weight),) = found
    return act, _uniform(weight), total(others, value.width)


def _uniform(weight: np.ndarray | None) -> float | None:
    """The number that all weights are, up to the rounding of float32."""
    if weight is None:
        return None
    first = float(weight.ravel()[0])
    if abs(abs(first) - 1.0) <= ROUNDING:
        first = float(np.sign(first))
    return first if np.all(np.abs(weight - first) <= ROUNDING * abs(first)) else None


@dataclass(frozen=True, eq=False)
class Linear:
    """A sum that is linear in input and state.

    Attributes:
        inputs: for each leaf that depends on no state, its matrix, (lanes of the leaf, H).
        recurrent: (H, H), what the state is multiplied with.
        peephole: (H,), what the cell state is multiplied with, lane by lane.
        bias: (H,).
    """

    inputs: Mapping[Term, np.ndarray]
    recurrent: np.ndarray
    peephole: np.ndarray
    bias: np.ndarray


def linear(value: Sum, state: Lanes, cell: Lanes | None = None) -> Linear:
    """Read a sum as linear.

    Args:
        value: the sum, of H lanes.
        state: the state that the recurrent matrix is applied to.
        cell: the state that may stand in it lane by lane, for peepholes.

    Raises:
        Unreadable: it is not linear in these.
    """
    size = value.width
    inputs: dict[Term, np.ndarray] = {}
    recurrent, peephole, bias = np.zeros((size, size)), np.zeros(size), np.zeros(size)
    for product in value.products.values():
        factors = (*product.factors, *product.base)
        if not factors:
            bias = bias + product.weight
            continue
        lanes = factors[0]
        if len(factors) != 1 or not isinstance(lanes, Lanes):
            raise Unreadable("a gate is no activation of a linear sum")
        matrix = product.weight if product.base else _spread(lanes, product.weight)
        if lanes.key == state.key:
            recurrent = recurrent + matrix
        elif cell is not None and lanes.key == cell.key:
            if product.base:
                raise Unreadable("the cell state goes through a matrix")
            peephole = peephole + product.weight
        elif lanes.leaf.of_state:
            raise Unreadable("a gate reads a part of a state that ONNX does not give it")
        else:
            whole = inputs.setdefault(lanes.leaf, np.zeros((lanes.leaf.width or 1, size)))
            whole[lanes.start : lanes.stop] += matrix
    return Linear(inputs, recurrent, peephole, bias)


def _spread(lanes: Lanes, weight: np.ndarray) -> np.ndarray:
    """A weight a lane as a matrix."""
    return weight[None, :] if lanes.width == 1 and weight.size != 1 else np.diag(weight)


def scaled(value: Sum, weight: np.ndarray) -> Sum:
    """Lane by lane."""
    return times(number(weight, value.width), value)
