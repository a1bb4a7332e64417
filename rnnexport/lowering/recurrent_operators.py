"""Cells as the operators LSTM, GRU and RNN.

An LSTM may have peepholes, coupled gates, no output gate, other activations. A GRU may be flipped, without reset,
minimal gated, leaky.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rnnexport.lowering.activations import activation
from rnnexport.lowering.algebra import (
    Act,
    Lanes,
    Sum,
    Unreadable,
    acts_of,
    bases_acts_of,
    negative,
    number,
    plus,
    single,
    split_by,
    times,
    total,
)
from rnnexport.lowering.cells import (
    LINEAR,
    Activation,
    Cell,
    CellState,
    Gate,
    Linear,
    as_linear,
    candidate_of,
    gate_of,
    linear,
    over,
    shared,
)


def lstm(hidden: CellState, cell: CellState) -> Cell:
    """C' = f c + i g, h' = o H(c'); `hidden` and `cell` may be one state."""
    kept, rest = split_by(cell.after, cell.lanes)
    forget = gate_of(kept)
    if forget is None:
        raise Unreadable("what the cell state is multiplied with is no gate")
    reasons = []
    for output, squash in _outputs(hidden, cell):
        for weight, added in _weighted(rest):
            try:
                return _lstm(hidden, cell, (weight, forget, output), candidate_of(added), squash)
            except Unreadable as error:
                reasons.append(str(error))
    raise Unreadable(reasons[0] if reasons else "the output is no gated activation of the cell state")


def _lstm(hidden: CellState, cell: CellState, gates: tuple[Gate, Gate, Gate], added: Gate, squash: Activation) -> Cell:
    function = shared(gates)
    assert added.function is not None
    weight, forget, output = gates
    # Only the output gate sees the new cell state, and it alone may.
    late = _with_new_cell(output, cell)
    read = [as_linear(gate, function, hidden.lanes, cell.lanes) for gate in (weight, forget)]
    opened = as_linear(late[0], function, hidden.lanes)
    opened = Linear(opened.inputs, opened.recurrent, late[1], opened.bias)
    candidate = linear(added.argument, hidden.lanes)
    order = (read[0], opened, read[1], candidate)  # i o f c
    peeps = any(np.any(part.peephole) for part in order)
    coupled = _complementary(weight, forget)
    words = "LSTM" + (", coupled gates" if coupled else "") + (", peepholes" if peeps else "")
    if output.function is None:
        words += ", no output gate"
    return Cell("LSTM", words, order, (function, added.function, squash), hidden, cell)


def _complementary(weight: Gate, forget: Gate) -> bool:
    if weight.function is None or forget.function is None:
        return False
    return weight.argument.equals(negative(forget.argument))


def _weighted(rest: Sum) -> Iterator[tuple[Gate, Sum]]:
    """Every (i, g) with rest = i * g."""
    for act in acts_of(rest):
        value = single(act)
        # The sign of tanh goes either way: -tanh(a) is tanh(-a).
        for weight in (value, plus(number(1.0, act.width), value, -1), negative(value)):
            try:
                gate, added = gate_of(weight), over(rest, weight)
            except Unreadable:
                continue
            if gate is not None:
                yield gate, added
    yield Gate(number(1.0, rest.width), None), rest


def _outputs(hidden: CellState, cell: CellState) -> Iterator[tuple[Gate, Activation]]:
    """Every (o, H) with h' = o * H(c')."""
    one = Gate(number(1.0, hidden.after.width), None)
    if hidden is cell or hidden.after.equals(cell.after):
        yield one, LINEAR
        return
    for act in acts_of(hidden.after):
        # The normal form of tanh(c') may be -tanh(-c'), that of a sigmoid 1 - sigmoid(-c').
        value = activation(act.function, cell.after, act.parameter)
        if [part.key for part in acts_of(value)] == [act.key]:
            squash = candidate_of(value).function
            try:
                gate = gate_of(over(hidden.after, value))
            except Unreadable:
                continue
            if gate is not None and squash is not None:
                yield gate, squash
    yield from _scaled(hidden.after, cell.after)
    for gate, value in _weighted(hidden.after):
        if value.equals(cell.after):
            yield gate, LINEAR


def _scaled(after: Sum, cell: Sum) -> Iterator[tuple[Gate, Activation]]:
    """Every (o, H) with h' = o * H(c') and H(c') = a tanh(b c') or a c'."""
    for act in acts_of(after):
        inner = _multiple(act.argument, cell) if act.function == "Tanh" else None
        if inner is not None:
            try:
                opened = over(after, single(act))
            except Unreadable:
                continue
            for scale, output in _opened(opened):
                yield output, Activation("ScaledTanh", scale, inner)
    for weight, value in _weighted(after):
        outer = _multiple(value, cell)
        if outer is not None:
            yield weight, Activation("Affine", outer, 0.0)


def _opened(value: Sum) -> Iterator[tuple[float, Gate]]:
    """Every (a, o) with value = a * o and o a gate that is an activation or 1."""
    for product in value.products.values():
        for sign in (1.0, -1.0):
            scale = sign * float(product.weight.ravel()[0])
            gate = gate_of(times(number(1.0 / scale, value.width), value)) if scale else None
            if gate is not None and (gate.value is None or np.all(gate.value == 1)):
                yield scale, gate


def _multiple(value: Sum, cell: Sum) -> float | None:
    """The number b with value = b * cell; None if there is none."""
    if value.width != cell.width:  # states of two cells in one layer
        return None
    for kind, product in value.products.items():
        if kind in cell.products:
            ratios = _ratio(product.weight, cell.products[kind].weight)
            number_of = float(ratios.ravel()[0])
            if number_of and value.equals(times(number(number_of, cell.width), cell)):
                return number_of
    return None


def _with_new_cell(output: Gate, cell: CellState) -> tuple[Gate, np.ndarray]:
    """The output gate without its peephole, and the peephole: argument = rest + p * c'."""
    size = cell.after.width
    nothing = np.zeros(size)
    if output.function is None:
        return output, nothing
    gated = [
        product
        for product in cell.after.products.values()
        if any(isinstance(factor, Act) for factor in product.factors)
    ]
    for product in gated[:1]:
        found = output.argument.products.get(product.kind)
        if found is not None:
            weight = _ratio(found.weight, product.weight)
            return Gate(plus(output.argument, times(number(weight, size), cell.after), -1), output.function), weight
    return output, nothing


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """For each lane above / below, taken where below is largest; 0 where it is 0."""
    rows, lanes = np.abs(np.atleast_2d(below)).argmax(axis=0), np.arange(below.shape[-1])
    parts = np.atleast_2d(above)[rows, lanes], np.atleast_2d(below)[rows, lanes]
    ratio: np.ndarray = np.divide(*parts, out=np.zeros(lanes.size), where=parts[1] != 0)
    return ratio


def rnn(part: CellState) -> Cell:
    """H' = f(W x + R h + b)."""
    gate = candidate_of(part.after)
    assert gate.function is not None  # a candidate always has one
    words = "SimpleRNN" if gate.function != LINEAR else "linear recurrence"
    return Cell("RNN", words, (linear(gate.argument, part.lanes),), (gate.function,), part)


def gru(part: CellState) -> Cell:
    """H' = (1 - z) n + z h, where z may be a constant, and so may r."""
    after = part.after
    kept, rest = split_by(after, part.lanes)
    update = gate_of(kept)
    if update is None:
        raise Unreadable("what the state is multiplied with is no gate")
    candidate = candidate_of(over(rest, plus(number(1.0, after.width), kept, -1)))
    assert candidate.function is not None
    reset = _reset(candidate.argument, part.lanes)
    function = shared([update, reset.gate])
    gates = (as_linear(update, function, part.lanes), as_linear(reset.gate, function, part.lanes), reset.candidate)
    biases = np.concatenate([np.zeros(2 * after.width), reset.bias])
    return Cell(
        "GRU",
        _named(update, reset),
        gates,
        (function, candidate.function),
        part,
        recurrent_bias=biases,
        reset_after=reset.after,
    )


def _named(update: Gate, reset: Reset) -> str:
    if update.function is None:
        return "leaky cell"
    words = "GRU without reset" if reset.gate.function is None else f"GRU, reset {'after' if reset.after else 'before'}"
    same = reset.gate.function is not None and update.argument.equals(reset.gate.argument)
    turned = reset.gate.function is not None and update.argument.equals(negative(reset.gate.argument))
    return "minimal gated unit" if same or turned else words


@dataclass(frozen=True, eq=False)
class Reset:
    """The candidate of a GRU with its reset gate.

    Attributes:
        gate: the reset gate; the constant 1 where there is none.
        candidate: the sum of the candidate, its recurrent matrix the one behind the gate.
        bias: what is added to the recurrent product before the gate.
        after: whether the gate is applied after the matrix.
    """

    gate: Gate
    candidate: Linear
    bias: np.ndarray
    after: bool


def _reset(argument: Sum, state: Lanes) -> Reset:
    size = argument.width
    before, after = bases_acts_of(argument), acts_of(argument)
    if not before and not after:
        return Reset(Gate(number(1.0, size), None), linear(argument, state), np.zeros(size), after=True)
    if len({act.key for act in (*before, *after)}) != 1 or (before and after):
        raise Unreadable("the candidate has several gates inside")
    (act,) = before or after
    for turned in (False, True):
        gate = gate_of(plus(number(1.0, act.width), single(act), -1) if turned else single(act))
        found = None if gate is None else _behind(argument, act, state, turned=turned)
        if gate is not None and found is not None:
            return Reset(gate, found[0], found[1], after=bool(after))
    raise Unreadable("a gate inside the candidate does not reset the state")


def _behind(argument: Sum, act: Act, state: Lanes, *, turned: bool) -> tuple[Linear, np.ndarray] | None:
    """The candidate's sum without the gate, and the bias behind the gate; None where it is not this gate.

    Turned, the gate is 1 - act: what is behind it stands once without the act, and once with it, negated.
    """
    outside, inside = [], []
    for product in argument.products.values():
        factors = tuple(factor for factor in product.factors if factor.key != act.key)
        base = tuple(factor for factor in product.base if factor.key != act.key)
        count = len(product.factors) + len(product.base) - len(factors) - len(base)
        if count > 1 or (product.base and not base):
            return None  # the gate is squared, or goes through the matrix alone
        if count == 0:
            outside.append(product)
        else:
            inside.append(type(product)(factors, base, product.weight))
    gated, free = total(inside, argument.width), total(outside, argument.width)
    if turned:
        gated = negative(gated)
        free = plus(free, gated, -1)
    read, rest = linear(gated, state), linear(free, state)
    if read.inputs or np.any(rest.recurrent) or not np.any(read.recurrent):
        return None
    return Linear(rest.inputs, read.recurrent, rest.peephole, rest.bias), read.bias
