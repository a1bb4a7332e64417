"""Cells close to a native op, for which a native form may or may not be found: it takes a trick, or a hoist."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from onnx import TensorProto

from tests.lowering.activations import HARD_2, HARD_3, SIGMOID, TANH
from tests.lowering.cells import Gru, Lstm, Rnn, Written
from tests.lowering.draws import gates, kernel, random_gru, random_lstm, random_rnn
from tests.lowering.free import Free, read
from tests.lowering.spelling import add, affine, mul, one_minus, product, sub
from tests.lowering.wrappers import Masked


class ScaledRnn(Rnn):
    """the state scaled"""

    def write_new(self, body, new, old, values):
        return mul(body, new, body.const(1.7))


class ClippedRnn(Rnn):
    """the state clipped"""

    def write_new(self, body, new, old, values):
        return body.op("Clip", new, body.const(-0.4), body.const(0.4))


class ResidualRnn(Rnn):
    """the old state added"""

    def write_new(self, body, new, old, values):
        return add(body, new, old)


class SwishRnn(Rnn):
    """swish"""

    def write_candidate(self, body, pre):
        return mul(body, pre, body.op("Sigmoid", pre))


class SeluRnn(Rnn):
    """selu"""

    def write_candidate(self, body, pre):
        return body.op("Selu", pre)


class Relu6Rnn(Rnn):
    """relu6"""

    def write_candidate(self, body, pre):
        return body.op("Clip", pre, body.const(0), body.const(6))


class StepScaledRnn(Rnn):
    """x scaled by the number of the step"""

    def write(self, body, values, states):
        step = body.op("Cast", values["t"], to=TensorProto.FLOAT)
        scale = body.op("Reciprocal", add(body, step, body.const(1)))
        return super().write(body, {**values, "x": mul(body, values["x"], scale)}, states)


class TwoSlopes(Lstm):
    """gates of both hard sigmoids"""

    def write_gate(self, body, name, pre, seen):
        return (HARD_2 if name == "f" else HARD_3).write(body, pre[name])


class SwappedActivations(Lstm):
    """i and g with each other's activation"""

    def write_gate(self, body, name, pre, seen):
        return (TANH if name == "i" else SIGMOID).write(body, pre[name])

    def write_candidate(self, body, pre, c):
        return SIGMOID.write(body, pre["g"])


class TwiceTanh(Gru):
    """the candidate doubled"""

    def write_candidate(self, body, *given):
        return mul(body, super().write_candidate(body, *given), body.const(2))


class Minus(Gru):
    """the candidate subtracted"""

    def write_update(self, body, h, z, n, _):
        return sub(body, mul(body, z, h), mul(body, one_minus(body, z), n))


class SameGate(Gru):
    """one gate for both"""

    def write_update(self, body, h, z, n, _):
        return mul(body, z, add(body, h, n)) if body.chance(0.5) else add(body, mul(body, z, h), mul(body, z, n))


class PairSoftmax(Gru):
    """the shares from a softmax over z and n"""

    def write_update(self, body, h, z, n, _):
        pair = body.op("Concat", *(body.op("Unsqueeze", value, body.ints(2)) for value in (z, n)), axis=2)
        shares = body.ops("Split", 2, body.op("Softmax", pair, axis=-1), body.ints(1, 1), axis=2)
        first, second = (body.op("Squeeze", share, body.ints(2)) for share in shares)
        return add(body, mul(body, first, h), mul(body, second, n))


def two_gates(rng, features, width):
    """h' = z1 * h + z2 * n."""
    made = gates(rng, ("z1", "z2", "n"), features, width)

    def write(body, values, states):
        pre = affine(body, {"x": values["x"], "h": states["h"]}, made)
        kept, new = (SIGMOID.write(body, pre[name]) for name in ("z1", "z2"))
        h = add(body, mul(body, kept, states["h"]), mul(body, new, TANH.write(body, pre["n"])))
        return Written({"h": h}, {"y": h})

    return Free("two gates of their own and one state", features, {"h": (width,)}, write, {"y": (width,)})


def projected(rng, features, width):
    """An LSTM whose h is narrower than its c."""
    narrow = width - 1
    cell = random_lstm(rng, "plain", features, width)
    made = {
        name: replace(gate, kernels={**gate.kernels, "h": kernel(rng, narrow, width)})
        for name, gate in cell.gates.items()
    }

    def write(body, values, states):
        written = replace(cell, gates=made).write(body, values, states)
        h = product(body, written.states["h"], kernel(body.rng, width, narrow))
        return Written({"h": h, "c": written.states["c"]}, {"y": h})

    return Free("a projected LSTM", features, {"h": (narrow,), "c": (width,)}, write, {"y": (narrow,)})


def shows_more(rng, features, width):
    """A native cell that gives out more than its state: a projection, and the state before the step."""
    draw, kind = [(random_gru, "before"), (random_lstm, "plain"), (random_rnn, "tanh")][int(rng.integers(3))]
    cell = draw(rng, kind, features, width)

    def write(body, values, states):
        written = cell.write(body, values, states)
        seen = add(body, read(body, written.outputs["y"], width, 3), read(body, values["x"], features, 3, False))
        return Written(written.states, {"y": body.op("Relu", seen), "shown": written.outputs["y"], "old": states["h"]})

    outputs = {"y": (3,), "shown": (width,), "old": (width,)}
    return Free(f"{cell} that shows more", features, cell.states, write, outputs)


def native(draw, kind, rng, features, width):
    return draw(rng, kind, features, width)


def masked(draw, kind, rng, features, width):
    return Masked(draw(rng, kind, features, width))


def like(draw, kind, cell, rng, features, width):
    changed = draw(rng, kind, features, width, like=cell)
    what = f"{changed}, {cell.__doc__}"
    return Free(what, changed.features, changed.states, changed.write, changed.outputs)


NEAR = {
    "two gates": two_gates,
    "projected": projected,
    "shows more": shows_more,
    # The op's own softplus overflows above 88, where the node Softplus does not.
    "RNN, softplus": partial(native, random_rnn, "softplus"),
    "masked RNN": partial(masked, random_rnn, "tanh"),
    "masked GRU": partial(masked, random_gru, "after"),
    "masked LSTM": partial(masked, random_lstm, "plain"),
    "masked S-LSTM": partial(masked, random_lstm, "s-lstm"),
    **{
        f"RNN, {cell.__doc__}": partial(like, random_rnn, "tanh", cell)
        for cell in (ScaledRnn, ClippedRnn, ResidualRnn, SwishRnn, SeluRnn, Relu6Rnn, StepScaledRnn)
    },
    **{f"LSTM, {cell.__doc__}": partial(like, random_lstm, "plain", cell) for cell in (TwoSlopes, SwappedActivations)},
    **{
        f"GRU, {cell.__doc__}": partial(like, random_gru, "before", cell)
        for cell in (TwiceTanh, Minus, SameGate, PairSoftmax)
    },
}
