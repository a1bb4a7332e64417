"""Random parameters: distinct weights, biases that are never zero, recurrent kernels that do not blow up."""

from __future__ import annotations

import numpy as np

from tests.lowering.activations import (
    LINEAR,
    RELU,
    SIGMOID,
    SOFTPLUS,
    SOFTSIGN,
    TANH,
    any_candidate,
    any_gate,
    any_hard_sigmoid,
    elu,
    leaky,
)
from tests.lowering.cells import Gru, Lstm, Rnn
from tests.lowering.spelling import Gate

RNN_KINDS = ("tanh", "relu", "sigmoid", "linear", "leaky_relu", "elu", "softsign", "hard_sigmoid")
GRU_KINDS = ("before", "after", "after with inner bias", "none", "shared", "leaky", "gates not symmetric")
LSTM_KINDS = (
    "plain",
    "peepholes",
    "i coupled",
    "f coupled",
    "output activation",
    "output linear",
    "s-lstm",
    "hard_sigmoid",
    "candidate",
    "no output gate",
    "no input gate",
    "no forget gate",
    "gates not symmetric",
)


def kernel(rng, rows, columns):
    return rng.normal(0, 0.8 / np.sqrt(rows) + 0.15, (rows, columns)).astype(np.float32)


def recurrent(rng, width):
    """Spectral radius below 1, so that rounding does not grow from step to step."""
    drawn = rng.normal(0, 1, (width, width))
    return (drawn * rng.uniform(0.4, 0.85) / np.abs(np.linalg.eigvals(drawn)).max()).astype(np.float32)


def vector(rng, width, low=0.1, high=0.8):
    """Distinct, and never close to zero."""
    return (rng.uniform(low, high, width) * rng.choice([-1.0, 1.0], width)).astype(np.float32)


def gates(rng, names, features, width):
    """A gate for each name, all with a bias, none, or some."""
    biased = rng.choice(["all", "all", "all", "all", "none", "some"])
    made = {}
    for name in names:
        bias = biased == "all" or (biased == "some" and rng.random() < 0.5)
        made[name] = Gate(
            {"x": kernel(rng, features, width), "h": recurrent(rng, width)}, vector(rng, width) if bias else None
        )
    return made


def random_rnn(rng, kind, features, width, like=Rnn):
    activation = {
        "tanh": TANH,
        "relu": RELU,
        "sigmoid": SIGMOID,
        "linear": LINEAR,
        "leaky_relu": leaky(rng),
        "elu": elu(rng),
        "softsign": SOFTSIGN,
        "softplus": SOFTPLUS,
        "hard_sigmoid": any_hard_sigmoid(rng, float(rng.choice([0.5, 0.3]))),
    }[kind]
    gate = gates(rng, "h", features, width)["h"]
    if rng.random() < 0.3:
        gate = Gate({**gate.kernels, "h": vector(rng, width, 0.2, 0.9)}, gate.bias)
    return like(gate, activation)


def random_gru(rng, kind, features, width, like=Gru):
    reset = {"leaky": "none", "after with inner bias": "after"}.get(kind, kind)
    if kind == "gates not symmetric":
        reset = str(rng.choice(["before", "after"]))
    candidate = any_candidate(rng)
    # A leaky linear cell is an RNN; gates below 0 make of a candidate without bounds a state without bounds.
    if (kind == "leaky" and candidate == LINEAR) or (kind == "gates not symmetric" and candidate != SIGMOID):
        candidate = TANH
    return like(
        gates(rng, {"none": "zn", "shared": "zn"}.get(reset, "zrn") if kind != "leaky" else "n", features, width),
        reset=reset,
        flipped=kind != "gates not symmetric" and bool(rng.random() < 0.5),
        activation=any_gate(rng, kind != "gates not symmetric"),
        candidate=candidate,
        inner_bias=vector(rng, width) if kind == "after with inner bias" else None,
        keep=np.float32(rng.uniform(0.2, 0.9, width if rng.random() < 0.4 else ())) if kind == "leaky" else None,
    )


def random_lstm(rng, kind, features, width, like=Lstm):
    names = {
        "i coupled": "fgo",
        "f coupled": "igo",
        "no output gate": "ifg",
        "no input gate": "fgo",
        "no forget gate": "igo",
    }.get(kind, "ifgo")
    coupled = {"i coupled": "i", "f coupled": "f"}.get(kind, "")
    if kind == "s-lstm":
        coupled, names = [("i", "fg"), ("f", "ig")][int(rng.integers(2))]
    gate = any_gate(rng, kind != "gates not symmetric")
    gate = {"plain": SIGMOID, "hard_sigmoid": any_hard_sigmoid(rng)}.get(kind, gate)
    seeing = [name for name in names if name != "g"]
    peeping = {"plain": 0.0, "s-lstm": 0.0, "peepholes": 1.0}.get(kind, 0.15)
    peepholes = [name for name in rng.permutation(seeing)[rng.integers(len(seeing)) :] if rng.random() < peeping]
    return like(
        gates(rng, names, features, width),
        coupled=coupled,
        activations=dict.fromkeys(seeing, gate) | {"g": any_candidate(rng) if kind != "plain" else TANH},
        out=lstm_output(rng, kind),
        peepholes={str(name): vector(rng, width) for name in peepholes},
        forget_bias=1.0 if "f" in names and rng.random() < 0.25 else 0.0,
    )


def lstm_output(rng, kind):
    if kind in ("s-lstm", "output linear"):
        return LINEAR
    if kind == "output activation":
        return [RELU, SIGMOID, SOFTSIGN, elu(rng), leaky(rng)][int(rng.integers(5))]
    return TANH
