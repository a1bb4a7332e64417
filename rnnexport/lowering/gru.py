"""RNN and GRU, and the cells that are a GRU: flipped, without reset, minimal gated, leaky."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
    total,
)
from rnnexport.lowering.cells import (
    LINEAR,
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
