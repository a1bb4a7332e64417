"""LSTM, and the cells that are an LSTM: peepholes, coupled gates, no output gate, other activations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rnnexport.lowering.activations import activation
from rnnexport.lowering.algebra import (
    Act,
    Sum,
    Unreadable,
    acts_of,
    negative,
    number,
    plus,
    single,
    split_by,
    times,
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
    """The number b with value = b * cell."""
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
