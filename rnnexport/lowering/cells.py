"""Normal forms matched to the equations of ONNX: RNN, GRU and LSTM.

    RNN     h' = f(W x + R h + b)
    GRU     z, r = f(...);  h' = (1 - z) n + z h
            n = g(W x + R (r h) + b)        reset before, linear_before_reset = 0
            n = g(W x + r (R h + c) + b)    reset after,  linear_before_reset = 1
    LSTM    i, f = F(W x + R h + p c + b);  c' = f c + i g(W x + R h + b)
            o = F(W x + R h + p c' + b);    h' = o H(c')

The equations and the order of gates (GRU z r h, LSTM i o f c) are those of the ONNX operator specification. A gate that
a cell does not have is held at its constant by a bias; one minus a sigmoid is the sigmoid of the negated sum.

Weights and attributes of the ONNX operators LSTM, GRU and RNN, of a matched cell.

Layouts, from the ONNX operator specification:  W (1, G*H, I), R (1, G*H, H), B (1, 2*G*H) with the biases of W before
those of R, P (1, 3*H) for i, o, f. Gates stand in the order z r h, or i o f c; the matrices of a cell are (inputs, H),
as Keras has them, and are transposed.

What the gates of a cell are made of: activations that ONNX has, of sums that are linear in input and state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rnnexport.ir.terms import Term, Terms
from rnnexport.lowering.activations import ODD
from rnnexport.lowering.algebra import (
    ROUNDING,
    Act,
    Lanes,
    Product,
    Sum,
    Unreadable,
    acts_of,
    constant_of,
    negative,
    number,
    plus,
    split_by,
    times,
    total,
)

# sigmoid(100) is 1 in float32 and in float64; sigmoid(-100) is 4e-44.
_SATURATED = 100.0
# The activations of an operator that names none, of one direction.
DEFAULT_ACTIVATIONS = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}
# Which inputs of an operator are its initial states.
INITIAL_STATES = {"RNN": (5,), "GRU": (5,), "LSTM": (5, 6)}


@dataclass(frozen=True, eq=False)
class CellState:
    """One state of the cell: lanes of a state of the recurrence, and the sum of its next value."""

    lanes: Lanes
    after: Sum


@dataclass(frozen=True, eq=False)
class Cell:
    """A cell as a native operator.

    Attributes:
        op: `RNN`, `GRU` or `LSTM`.
        what: what it is, in words.
        gates: in the order of the operator.
        functions: the activations, in the order of the operator.
        hidden: the state h.
        cell: the state c of an LSTM.
        recurrent_bias: of the gates, where it is apart from the other bias (GRU, reset after).
        reset_after: of a GRU.
    """

    op: str
    what: str
    gates: tuple[Linear, ...]
    functions: tuple[Activation, ...]
    hidden: CellState
    cell: CellState | None = None
    recurrent_bias: np.ndarray | None = None
    reset_after: bool = False


def shared(gates: Sequence[Gate]) -> Activation:
    """The one activation of all gates; constants take any."""
    functions = {gate.function for gate in gates if gate.function is not None}
    if len(functions) > 1:
        names = sorted(function.name for function in functions)
        raise Unreadable(f"its gates have different activations ({', '.join(names)}), and ONNX has one for all")
    return functions.pop() if functions else LINEAR


def as_linear(gate: Gate, function: Activation, state: Lanes, cell: Lanes | None = None) -> Linear:
    """The sum of a gate; of a constant, the bias at which the activation gives it."""
    value = gate.value
    if value is None:
        return linear(gate.argument, state, cell)
    size = gate.argument.width
    zeros = np.zeros((size, size))
    return Linear({}, zeros, np.zeros(size), _held(np.broadcast_to(value, (size,)), function))


def _held(value: np.ndarray, function: Activation) -> np.ndarray:
    if function == LINEAR or (function.name == "HardSigmoid" and np.all((value >= 0) & (value <= 1))):
        return value
    if function.name == "Sigmoid" and np.all((value == 0) | (value == 1)):
        return np.where(value == 1, _SATURATED, -_SATURATED)
    raise Unreadable(f"a gate is a constant that {function.name} can't be held at")


def over(value: Sum, weight: Sum) -> Sum:
    """Q with value = weight * q, where the weight is a gate, one minus a gate, or a constant.

    Raises:
        Unreadable: there is none.
    """
    constant = constant_of(weight)
    if constant is not None:
        if np.any(constant == 0):
            raise Unreadable("the state is carried on unchanged")
        return scaled(value, 1.0 / constant)
    acts = acts_of(weight)
    if len(acts) == 1:
        quotient, rest = split_by(value, acts[0])
        weight_of, constant_part = split_by(weight, acts[0])
        scale, offset = constant_of(weight_of), constant_of(constant_part)
        if scale is not None and offset is not None and np.all(scale != 0):
            # value = (offset + scale * act) * q, so that the part with the act is scale * q.
            found = scaled(quotient, 1.0 / scale)
            if rest.equals(scaled(found, offset)):
                return found
    raise Unreadable("what is added to the state has another weight than one minus that of the state")


def weights_of(
    cell: Cell, columns: Mapping[Term, int], keeps: float | None, terms: Terms
) -> tuple[Term, Term, Term | None]:
    """W, R and B; no B where it is zero.

    Args:
        cell: the cell.
        columns: where each part of the input begins.
        keeps: the weight of one column more, behind them, that keeps the state of a GRU where it is 1.
        terms: what makes the terms.
    """
    count, size = len(cell.gates), cell.hidden.lanes.width
    width = sum(leaf.width or 1 for leaf in columns) + (keeps is not None)
    w_GHI = np.zeros((count, size, max(width, 1)))
    for at, gate in enumerate(cell.gates):
        for leaf, matrix in gate.inputs.items():
            w_GHI[at, :, columns[leaf] : columns[leaf] + matrix.shape[0]] = matrix.T
    if keeps is not None:
        w_GHI[0, :, -1] = keeps  # the update gate is the first
    r_GHH = np.stack([gate.recurrent.T for gate in cell.gates])
    bias = np.concatenate([gate.bias for gate in cell.gates])
    behind = np.zeros_like(bias) if cell.recurrent_bias is None else cell.recurrent_bias
    both = np.concatenate([bias, behind])
    return (
        terms.const(w_GHI.reshape(1, count * size, -1), np.float32),
        terms.const(r_GHH.reshape(1, count * size, size), np.float32),
        terms.const(both[None], np.float32) if both.any() else None,
    )


def peepholes_of(cell: Cell, terms: Terms) -> Term | None:
    """P of an LSTM, in the order i o f, which is that of the gates; the candidate has none."""
    peepholes = np.concatenate([gate.peephole for gate in cell.gates[:3]])
    return terms.const(peepholes[None], np.float32) if peepholes.any() else None


def attributes_of(cell: Cell) -> dict[str, object]:
    """All but the direction."""
    attributes: dict[str, object] = {"hidden_size": cell.hidden.lanes.width}
    names = tuple(function.name for function in cell.functions)
    if names != DEFAULT_ACTIVATIONS[cell.op]:
        attributes["activations"] = list(names)
        attributes |= _constants_of(cell.functions)
    if cell.op == "GRU" and cell.reset_after:
        attributes["linear_before_reset"] = 1
    return attributes


def _constants_of(functions: Sequence[Activation]) -> dict[str, list[float]]:
    """Alphas and betas: each activation that has one takes the next of the list."""
    alphas = [function.alpha for function in functions if function.alpha is not None]
    betas = [function.beta for function in functions if function.beta is not None]
    return ({"activation_alpha": alphas} if alphas else {}) | ({"activation_beta": betas} if betas else {})


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
