"""Activations: what they compute, in NumPy, and the ways to spell them in ONNX."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Activation:
    """An activation of the ONNX recurrent operators, with its constants; linear is their Affine(1, 0)."""

    name: str
    alpha: float = 0.0
    beta: float = 0.0

    def __call__(self, a):
        return FORMULAS[self.name](np.asarray(a), self)

    def __str__(self):
        constants = ", ".join(f"{value:g}" for value in (self.alpha, self.beta) if value)
        return f"{self.name}({constants})" if constants else self.name

    def write(self, body, a):
        return SPELLINGS[self.name](body, a, self)

    @property
    def symmetric(self):
        """Whether 1 - f(a) = f(-a), so that a gate and its complement are interchangeable."""
        return self.name == "sigmoid" or (self.name == "hard_sigmoid" and self.beta == 0.5)


FORMULAS = {
    "linear": lambda a, _: a,
    "tanh": lambda a, _: np.tanh(a),
    "sigmoid": lambda a, _: 0.5 + 0.5 * np.tanh(a / 2),
    "relu": lambda a, _: np.maximum(a, 0),
    "softsign": lambda a, _: a / (1 + np.abs(a)),
    "softplus": lambda a, _: np.logaddexp(0, a),
    "leaky_relu": lambda a, f: np.where(a > 0, a, f.alpha * a),
    "elu": lambda a, f: np.where(a > 0, a, f.alpha * np.expm1(np.minimum(a, 0))),
    "hard_sigmoid": lambda a, f: np.clip(f.alpha * a + f.beta, 0, 1),
}


def sigmoid(body, a, _):
    """Not as Div(1, ...): ORT 1.31 fuses that with a product into a broken graph if the other factor is an output."""
    if body.chance(0.7):
        return body.op("Sigmoid", a)
    body.note("sigmoid as a reciprocal")
    exponential = body.op("Exp", body.op("Neg", a))
    return body.op("Reciprocal", body.op("Add", *body.shuffled([body.const(1), exponential])))


def relu(body, a, _):
    if body.chance(0.8):
        return body.op("Relu", a)
    return body.op("Max", *body.shuffled([a, body.const(0)]))


def softsign(body, a, _):
    if body.chance(0.7):
        return body.op("Softsign", a)
    return body.op("Div", a, body.op("Add", body.const(1), body.op("Abs", a)))


def leaky_relu(body, a, f):
    if body.chance(0.7):
        return body.op("LeakyRelu", a, alpha=f.alpha)
    return body.op("Max", a, body.op("Mul", body.const(f.alpha), a))


def hard_sigmoid(body, a, f):
    spelling = body.pick("op", "keras 2", "max of min", "keras 3", "relu6")
    body.note(f"hard_sigmoid as {spelling}")
    match spelling:
        case "op":
            return body.op("HardSigmoid", a, alpha=f.alpha, beta=f.beta)
        case "keras 2":
            return body.op("Clip", sloped(body, a, f), body.const(0), body.const(1))
        case "max of min":
            return body.op("Max", body.const(0), body.op("Min", body.const(1), sloped(body, a, f)))
        case "keras 3":
            return body.op("Mul", body.op("Clip", shifted(body, a, f), *bounds(body, f)), body.const(f.alpha))
        case _:
            top = body.const(1 / f.alpha)
            return body.op("Div", body.op("Min", body.op("Relu", shifted(body, a, f)), top), top)


def sloped(body, a, f):
    scaled = body.op("Mul", *body.shuffled([a, body.const(f.alpha)]))
    return body.op("Add", *body.shuffled([scaled, body.const(f.beta)]))


def shifted(body, a, f):
    return body.op("Add", a, body.const(f.beta / f.alpha))


def bounds(body, f):
    return body.const(0), body.const(1 / f.alpha)


SPELLINGS = {
    "linear": lambda body, a, _: body.op("Identity", a) if body.chance(0.3) else a,
    "tanh": lambda body, a, _: body.op("Tanh", a),
    "sigmoid": sigmoid,
    "relu": relu,
    "softsign": softsign,
    "softplus": lambda body, a, _: body.op("Softplus", a),
    "leaky_relu": leaky_relu,
    "elu": lambda body, a, f: body.op("Elu", a, alpha=f.alpha),
    "hard_sigmoid": hard_sigmoid,
}

LINEAR = Activation("linear")
TANH = Activation("tanh")
SIGMOID = Activation("sigmoid")
RELU = Activation("relu")
SOFTSIGN = Activation("softsign")
SOFTPLUS = Activation("softplus")
HARD_2 = Activation("hard_sigmoid", 0.2, 0.5)
HARD_3 = Activation("hard_sigmoid", 1 / 6, 0.5)


def leaky(rng):
    return Activation("leaky_relu", float(np.round(rng.uniform(0.05, 0.6), 3)))


def elu(rng):
    return Activation("elu", float(np.round(rng.uniform(0.3, 1.5), 3)))


def any_hard_sigmoid(rng, beta=0.5):
    return Activation("hard_sigmoid", float(np.round(rng.uniform(0.1, 0.4), 3)), beta)


def any_candidate(rng):
    """What a candidate or a state goes through; the usual one more often."""
    choices = [TANH, TANH, TANH, RELU, SOFTSIGN, SIGMOID, LINEAR, leaky(rng), elu(rng), any_hard_sigmoid(rng, 0.3)]
    return choices[int(rng.integers(len(choices)))]


def any_gate(rng, symmetric=True):
    """What a gate goes through; hard sigmoids that are not symmetric, tanh and softsign only where they may be."""
    choices = [SIGMOID, SIGMOID, SIGMOID, HARD_2, HARD_3, any_hard_sigmoid(rng)]
    if not symmetric:
        choices += [any_hard_sigmoid(rng, 0.35), TANH, SOFTSIGN]
    return choices[int(rng.integers(len(choices)))]
