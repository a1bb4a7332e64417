"""Cells that look like a GRU, an LSTM or an RNN of ONNX, and are none: each changes one thing that the op can't do.

Not here, because a native form does exist: gates with two slopes of hard_sigmoid (the weights take the ratio), a
candidate twice tanh (ScaledTanh), a softmax over a pair of gates (a sigmoid of the difference), an input scaled by
the step (computed before the loop), an RNN whose output is scaled (a change of variables) or clipped (the clip of
the op), swish (the product of the i and g of an LSTM), an LSTM whose i is tanh and g is sigmoid (they swap).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from tests.lowering.activations import HARD_2, RELU, SIGMOID, SOFTSIGN, TANH
from tests.lowering.cells import Gru, Lstm, Rnn, Written
from tests.lowering.changes import OF_ALL, OF_GATED, TwiceCandidate
from tests.lowering.draws import random_gru, random_lstm, random_rnn, recurrent, vector
from tests.lowering.spelling import add, affine, mul, one_minus, product
from tests.lowering.wrappers import HalfMasked

# GRU


class ResetAfterActivation(Gru):
    """the reset is applied to the activated candidate"""

    def write_candidate(self, body, x, h, r, pre):
        plain = affine(body, {"x": x, "h": h}, {"n": self.gates["n"]})["n"]
        return mul(body, r, self.candidate.write(body, plain))


class ResetOfAll(Gru):
    """the reset is applied to x W as well"""

    def candidate_pre(self, body, x, h, r, pre):
        return mul(body, r, affine(body, {"x": x, "h": h}, {"n": self.gates["n"]})["n"])


class ResetInUpdate(Gru):
    """the update takes the reset state"""

    def write_update(self, body, h, z, n, r):
        return super().write_update(body, mul(body, r, h), z, n, r)


class UnevenUpdate(Gru):
    """the candidate's share is 1 - z * z"""

    def write_update(self, body, h, z, n, _):
        return add(body, mul(body, z, h), mul(body, one_minus(body, mul(body, z, z)), n))


class SoftmaxUpdate(Gru):
    """z is a softmax over the units"""

    def write_update(self, body, h, z, n, r):
        return super().write_update(body, h, body.op("Softmax", z, axis=-1), n, r)


class UpdateReadsCandidate(Gru):
    """z looks at the candidate"""

    def write_update(self, body, h, z, n, r):
        return super().write_update(body, h, mul(body, z, body.op("Sigmoid", n)), n, r)


class ResetReadsUpdate(Gru):
    """r looks at z"""

    def write_r(self, body, pre):
        seen = mul(body, self.activation.write(body, pre["z"]), body.weight(vector(body.rng, *self.states["h"])))
        return self.activation.write(body, add(body, pre["r"], seen))


class MixedResetGate(Gru):
    """r has another activation than z"""

    def write_r(self, body, pre):
        return (HARD_2 if self.activation == SIGMOID else SIGMOID).write(body, pre["r"])


# LSTM


class MixedGate(Lstm):
    """one gate has another activation"""

    def write_gate(self, body, name, pre, seen):
        if name == "ifo"[self.gates["g"].features % 3]:
            other = body.pick(HARD_2, SOFTSIGN, TANH) if name != "i" else body.pick(HARD_2, SOFTSIGN)
            body.note(f"{name} is {other}")
            return other.write(body, pre[name])
        return super().write_gate(body, name, pre, seen)


class OldCellPeephole(Lstm):
    """o looks at the old carry"""

    def write_output_gate(self, body, pre, c, new_c):
        return SIGMOID.write(body, add(body, pre["o"], mul(body, c, body.weight(vector(body.rng, *self.states["c"])))))


class CandidatePeephole(Lstm):
    """the candidate looks at the carry"""

    def write_candidate(self, body, pre, c):
        seen = mul(body, c, body.weight(vector(body.rng, *self.states["c"])))
        return TANH.write(body, add(body, pre["g"], seen))


class DensePeephole(Lstm):
    """f looks at the whole carry"""

    def write_gate(self, body, name, pre, seen):
        if name == "f":
            return SIGMOID.write(body, add(body, pre["f"], product(body, seen, recurrent(body.rng, *self.states["c"]))))
        return super().write_gate(body, name, pre, seen)


class ThirdGate(Lstm):
    """i * g takes a third factor"""

    def write_carry(self, body, i, f, g, c):
        third = body.op("Sigmoid", mul(body, c, body.weight(vector(body.rng, *self.states["c"]))))
        return super().write_carry(body, i, f, mul(body, third, g), c)


class GateReadsGate(Lstm):
    """f is multiplied by i"""

    def write_carry(self, body, i, f, g, c):
        return super().write_carry(body, i, mul(body, f, i), g, c)


class SoftmaxForget(Lstm):
    """f is a softmax over the units"""

    def write_gate(self, body, name, pre, seen):
        return body.op("Softmax", pre["f"], axis=-1) if name == "f" else super().write_gate(body, name, pre, seen)


class OutputOfOldCell(Lstm):
    """the output is of the old carry"""

    def write_output(self, body, o, c, new_c):
        return super().write_output(body, o, c, c)


class ShowsCarry(Lstm):
    """every carry is an output"""

    must_show = ("carry",)

    @property
    def outputs(self):
        return {**super().outputs, "carry": self.states["c"]}

    def write(self, body, values, states):
        written = super().write(body, values, states)
        return Written(written.states, {**written.outputs, "carry": written.states["c"]})


# RNN


class SoftmaxRnn(Rnn):
    """the state is a softmax"""

    def write_candidate(self, body, pre):
        return body.op("Softmax", pre, axis=-1)


class ForeignRnn(Rnn):
    """the activation is one that ONNX does not list"""

    def write_candidate(self, body, pre):
        kind = body.pick("Sin", "Cos", "Erf")
        body.note(kind)
        return body.op(kind, pre)


class HalvesRnn(Rnn):
    """half of the units have another activation"""

    def write_candidate(self, body, pre):
        (width,) = self.states["h"]
        left = body.op("Slice", pre, body.ints(0), body.ints(1), body.ints(1))
        right = body.op("Slice", pre, body.ints(1), body.ints(width), body.ints(1))
        return body.op("Concat", body.op("Tanh", left), RELU.write(body, right), axis=1)


class LaggedRnn(Rnn):
    """it reads the state before last too"""

    @property
    def states(self):
        return {**super().states, "before": super().states["h"]}

    def write(self, body, values, states):
        written = super().write(body, values, states)
        lagged = product(body, states["before"], recurrent(body.rng, *super().states["h"]))
        new = body.op("Tanh", add(body, written.states["h"], lagged))
        return Written({"h": new, "before": states["h"]}, {"y": new})


GRUS = (
    ResetAfterActivation,
    ResetOfAll,
    ResetInUpdate,
    UnevenUpdate,
    SoftmaxUpdate,
    UpdateReadsCandidate,
    ResetReadsUpdate,
    MixedResetGate,
)
LSTMS = (
    MixedGate,
    OldCellPeephole,
    CandidatePeephole,
    DensePeephole,
    ThirdGate,
    GateReadsGate,
    SoftmaxForget,
    OutputOfOldCell,
    ShowsCarry,
)
RNNS = (SoftmaxRnn, ForeignRnn, HalvesRnn, LaggedRnn)


def like_gru(change, rng, features, width):
    cell = random_gru(rng, str(rng.choice(["before", "after"])), features, width, like=change)
    if issubclass(change, TwiceCandidate):
        return replace(cell, candidate=SOFTSIGN)
    return replace(cell, candidate=TANH) if issubclass(change, OF_ALL) else cell


def like_lstm(change, rng, features, width):
    cell = random_lstm(rng, "plain", features, width, like=change)
    if issubclass(change, TwiceCandidate):
        return replace(cell, activations={**cell.activations, "g": SOFTSIGN})
    return cell


def like_rnn(change, rng, features, width):
    return random_rnn(rng, "tanh", features, width, like=change)


def half_masked_lstm(rng, features, width):
    return HalfMasked(random_lstm(rng, "plain", features, width), str(rng.choice(["h", "c"])))


def mixed(change, family):
    return type(f"{change.__name__}{family.__name__}", (change, family), {"__doc__": change.__doc__})


def all_lookalikes():
    """How to draw each kind, by its name."""
    made = {"LSTM masked in one state": half_masked_lstm}
    for family, like, own, others in (
        (Lstm, like_lstm, LSTMS, OF_ALL + OF_GATED),
        (Gru, like_gru, GRUS, OF_ALL + OF_GATED),
        (Rnn, like_rnn, RNNS, OF_ALL),
    ):
        for change in [*own, *(mixed(other, family) for other in others)]:
            made[f"{family.op} but {change.__doc__}"] = partial(like, change)
    return made


LOOKALIKES = all_lookalikes()
