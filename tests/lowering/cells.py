"""Cells that are an RNN, a GRU or an LSTM of ONNX by construction: in NumPy (`step`), and written as nodes (`write`).

The pieces that `write` is made of are methods, for look-alikes to change one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tests.lowering.activations import SIGMOID, TANH, Activation
from tests.lowering.spelling import Gate, add, affine, mix, mul, product, total


@dataclass(frozen=True)
class Written:
    """What one step of a cell computes, as names: the next states, and what each step gives out."""

    states: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class Rnn:
    """h' = f(xW + hR + b)."""

    gate: Gate
    activation: Activation = TANH
    op = "RNN"

    @property
    def features(self):
        return self.gate.features

    @property
    def states(self):
        return {"h": (self.gate.width,)}

    @property
    def outputs(self):
        return {"y": self.states["h"]}

    def __str__(self):
        return f"RNN {self.activation}{' diagonal' * (self.gate.kernels['h'].ndim == 1)}"

    def step(self, x, states):
        return {"h": self.activation(self.gate(x=x, h=states["h"]))}

    def write(self, body, values, states):
        pre = self.write_pre(body, values["x"], states["h"])
        new = self.write_new(body, self.write_candidate(body, pre), states["h"], values)
        return Written({"h": new}, {"y": new})

    def write_pre(self, body, x, h):
        return affine(body, {"x": x, "h": h}, {"h": self.gate})["h"]

    def write_candidate(self, body, pre):
        return self.activation.write(body, pre)

    def write_new(self, body, new, old, values):
        """For look-alikes to do something to the new state."""
        del body, old, values
        return new


@dataclass(frozen=True)
class Gru:
    """h' = (1 - z) * n + z * h, or the other way round.

    Attributes:
        gates: z (there unless `keep` is), r (there where the reset is one of its own) and n.
        reset: "before" or "after" the product with the recurrent kernel, "none", or "shared": before, z being r too.
        flipped: whether z is the share of the candidate rather than of the old state.
        activation: of the gates.
        candidate: of n.
        inner_bias: what is added to h Rn before it is reset.
        keep: the constant share of the old state, in place of z: a leaky cell.
    """

    gates: Mapping[str, Gate]
    reset: str = "before"
    flipped: bool = False
    activation: Activation = SIGMOID
    candidate: Activation = TANH
    inner_bias: np.ndarray | None = None
    keep: np.ndarray | None = None
    op = "GRU"

    @property
    def features(self):
        return self.gates["n"].features

    @property
    def states(self):
        return {"h": (self.gates["n"].width,)}

    @property
    def outputs(self):
        return {"y": self.states["h"]}

    def __str__(self):
        flipped, kept = " flipped" * self.flipped, " leaky" * (self.keep is not None)
        return f"GRU reset {self.reset}{kept}{flipped} {self.activation} {self.candidate}"

    def step(self, x, states):
        h = states["h"]
        z = self.keep if self.keep is not None else self.activation(self.gates["z"](x=x, h=h))
        r = {"none": 1.0, "shared": z}.get(self.reset)
        r = self.activation(self.gates["r"](x=x, h=h)) if r is None else r
        n = self.gates["n"]
        if self.reset == "after":
            inner = h @ n.kernels["h"] + (0.0 if self.inner_bias is None else self.inner_bias)
            pre = Gate({"x": n.kernels["x"]}, n.bias)(x=x) + r * inner
        else:
            pre = n(x=x, h=r * h)
        z = 1 - z if self.flipped else z
        return {"h": (1 - z) * self.candidate(pre) + z * h}

    def write(self, body, values, states):
        x, h = values["x"], states["h"]
        pre = self.write_pre(body, x, h)
        z = body.const(self.keep) if self.keep is not None else self.activation.write(body, pre["z"])
        r = self.write_r(body, pre) if "r" in self.gates else z
        n = self.write_candidate(body, x, h, r, pre)
        new = self.write_new(body, self.write_update(body, h, z, n, r), h, values)
        return Written({"h": new}, {"y": new})

    def first_gates(self, body):
        """What can be computed before the reset: with the input's part of the candidate, or without."""
        n = self.gates["n"]
        first = {name: gate for name, gate in self.gates.items() if name != "n"}
        if self.reset == "none":
            return {**first, "n": n}
        if self.reset == "after":
            first["inner"] = Gate({"h": n.kernels["h"]}, self.inner_bias)
        elif body.chance(0.5):
            return first
        return {**first, "n": Gate({"x": n.kernels["x"]}, n.bias)}

    def write_pre(self, body, x, h):
        return dict(affine(body, {"x": x, "h": h}, self.first_gates(body)))

    def write_r(self, body, pre):
        return self.activation.write(body, pre["r"])

    def write_candidate(self, body, x, h, r, pre):
        return self.candidate.write(body, self.candidate_pre(body, x, h, r, pre))

    def candidate_pre(self, body, x, h, r, pre):
        if self.reset == "none":
            return pre["n"]
        if self.reset == "after":
            return add(body, pre["n"], mul(body, r, pre["inner"]))
        reset = mul(body, r, h)
        if "n" in pre:
            return add(body, pre["n"], product(body, reset, self.gates["n"].kernels["h"]))
        return affine(body, {"x": x, "h": reset}, {"n": self.gates["n"]})["n"]

    def write_update(self, body, h, z, n, _):
        inside, outside = (n, h) if self.flipped else (h, n)
        if self.keep is not None and body.chance(0.5):  # both shares as constants
            return add(body, mul(body, z, inside), mul(body, body.const(1 - self.keep), outside))
        return mix(body, z, inside, outside)

    def write_new(self, body, new, old, values):
        """For look-alikes to do something to the new state."""
        del body, old, values
        return new


@dataclass(frozen=True)
class Lstm:
    """c' = f * c + i * g, h' = o * out(c').

    Attributes:
        gates: those that are there among i, f, g and o; what is not there is 1.
        coupled: the gate that is one minus the other, "i" or "f"; empty where each is its own.
        activations: by gate; those of i, f and o are one.
        out: the activation of the output.
        peepholes: by gate, how it looks at c; o looks at the new one.
        forget_bias: what is added to f as a constant.
    """

    gates: Mapping[str, Gate]
    coupled: str = ""
    activations: Mapping[str, Activation] = field(default_factory=dict)
    out: Activation = TANH
    peepholes: Mapping[str, np.ndarray] = field(default_factory=dict)
    forget_bias: float = 0.0
    op = "LSTM"

    @property
    def features(self):
        return self.gates["g"].features

    @property
    def states(self):
        return {"h": (self.gates["g"].width,), "c": (self.gates["g"].width,)}

    @property
    def outputs(self):
        return {"y": self.states["h"]}

    def __str__(self):
        said = ["LSTM", "".join(self.gates), " ".join(str(self.activations[name]) for name in self.gates)]
        said += [f"out {self.out}"] * (self.out != TANH) + [f"{self.coupled} coupled"] * bool(self.coupled)
        said += [f"peepholes {''.join(self.peepholes)}"] * bool(self.peepholes)
        return " ".join(said + ["forget bias"] * bool(self.forget_bias))

    def step(self, x, states):
        h, c = states["h"], states["c"]

        def gate(name, seen):
            if name not in self.gates:
                return 1.0
            bias = self.forget_bias if name == "f" else 0.0
            return self.activations[name](self.gates[name](x=x, h=h) + self.peepholes.get(name, 0.0) * seen + bias)

        i, f = gate("i", c), gate("f", c)
        i, f = {"i": (1 - f, f), "f": (i, 1 - i), "": (i, f)}[self.coupled]
        new_c = f * c + i * gate("g", c)
        return {"h": gate("o", new_c) * self.out(new_c), "c": new_c}

    def write(self, body, values, states):
        h, c = states["h"], states["c"]
        pre = self.write_pre(body, values["x"], h)
        if self.forget_bias and "f" in pre:
            pre["f"] = add(body, pre["f"], body.const(self.forget_bias))
        i, f = (self.write_gate(body, name, pre, c) if name in pre else None for name in "if")
        new_c = self.write_carry(body, i, f, self.write_candidate(body, pre, c), c)
        new_c = self.write_new(body, new_c, c, values)
        o = self.write_output_gate(body, pre, c, new_c) if "o" in pre else None
        new_h = self.write_output(body, o, c, new_c)
        return Written({"h": new_h, "c": new_c}, {"y": new_h})

    def write_pre(self, body, x, h):
        return dict(affine(body, {"x": x, "h": h}, self.gates))

    def write_gate(self, body, name, pre, seen):
        if name in self.peepholes:
            pre = {**pre, name: total(body, [pre[name], product(body, seen, self.peepholes[name])])}
        return self.activations[name].write(body, pre[name])

    def write_candidate(self, body, pre, _):
        return self.activations["g"].write(body, pre["g"])

    def write_carry(self, body, i, f, g, c):
        if self.coupled:
            return mix(body, f, c, g) if self.coupled == "i" else mix(body, i, g, c)
        kept = mul(body, f, c) if f else c
        return add(body, kept, mul(body, i, g) if i else g)

    def write_output_gate(self, body, pre, _, new_c):
        return self.write_gate(body, "o", pre, new_c)

    def write_new(self, body, new, old, values):
        """For look-alikes to do something to the new carry."""
        del body, old, values
        return new

    def write_output(self, body, o, _, new_c):
        out = self.out.write(body, new_c)
        return mul(body, o, out) if o else out
