"""The many ways to write one and the same affine gate, product, sum or complement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Gate:
    """An affine map. A kernel is a matrix, or a vector that multiplies each unit by itself (as in IndRNN).

    Attributes:
        kernels: by the name of what is read.
        bias: None where there is none.
    """

    kernels: Mapping[str, np.ndarray] = field(default_factory=dict)
    bias: np.ndarray | None = None

    def __call__(self, **values):
        total = 0.0 if self.bias is None else self.bias
        for name, kernel in self.kernels.items():
            total = total + (values[name] @ kernel if kernel.ndim == 2 else values[name] * kernel)
        return total

    @property
    def features(self):
        return self.kernels["x"].shape[0]

    @property
    def width(self):
        return next(kernel.shape[-1] for kernel in self.kernels.values())


def add(body, a, b):
    return body.op("Add", *body.shuffled([a, b]))


def mul(body, a, b):
    return body.op("Mul", *body.shuffled([a, b]))


def sub(body, a, b):
    match body.pick("sub", "sub", "sub", "neg", "neg of sub"):
        case "sub":
            return body.op("Sub", a, b)
        case "neg":
            return add(body, a, body.op("Neg", b))
        case _:
            return body.op("Neg", body.op("Sub", b, a))


def one_minus(body, a):
    return sub(body, body.const(1), a)


def mix(body, gate, inside, outside):
    """gate * inside + (1 - gate) * outside, multiplied out or not."""
    match body.pick("plain", "plain", "plain", "lerp", "multiplied out"):
        case "plain":
            return add(body, mul(body, gate, inside), mul(body, one_minus(body, gate), outside))
        case "lerp":
            body.note("lerp")
            return add(body, outside, mul(body, gate, sub(body, inside, outside)))
        case _:
            body.note("multiplied out")
            return sub(body, add(body, mul(body, gate, inside), outside), mul(body, gate, outside))


def total(body, terms):
    """The sum in any order and any nesting."""
    terms = body.shuffled(terms)
    if len(terms) > 2 and body.chance(0.08):
        body.note("n-ary Sum")
        return body.op("Sum", *terms)
    while len(terms) > 1:
        first = int(body.rng.integers(len(terms) - 1))
        terms[first : first + 2] = [add(body, terms[first], terms[first + 1])]
    return terms[0]


def product(body, value, kernel, bias=None):
    """`value` times `kernel`; a bias given is added by the same Gemm."""
    if kernel.ndim == 1:
        return mul(body, value, body.weight(kernel))
    if bias is not None:
        body.note("Gemm")
        return gemm(body, value, kernel, body.weight(bias))
    match body.pick("matmul", "matmul", "matmul", "turned", "gemm"):
        case "matmul":
            return body.op("MatMul", value, body.weight(kernel))
        case "turned":
            return body.op("MatMul", value, body.transposed_weight(kernel))
        case _:
            body.note("Gemm")
            return gemm(body, value, kernel)


def gemm(body, value, kernel, *bias):
    if body.chance(0.5):
        return body.op("Gemm", value, body.weight(kernel.T), *bias, transB=1)
    return body.op("Gemm", value, body.weight(kernel), *bias)


def affine(body, values, gates):
    """The value of each gate, by name, all written together in one of the usual styles.

    Args:
        body: where to.
        values: the name of each value that gates read.
        gates: by name.
    """
    shared = len({tuple(gate.kernels) for gate in gates.values()}) == 1
    dense = all(kernel.ndim == 2 for gate in gates.values() for kernel in gate.kernels.values())
    styles = ["separate", "parts"] + ["fused"] * 3 * (shared and dense)
    style = body.pick(*styles) if len(gates) > 1 else "separate"
    if len(gates) > 1:
        body.note(style)
    return {"separate": separate, "parts": parts, "fused": fused}[style](body, values, gates)


def separate(body, values, gates):
    return {name: one(body, values, gates[name]) for name in body.shuffled(gates)}


def one(body, values, gate):
    if len(gate.kernels) > 1 and all(kernel.ndim == 2 for kernel in gate.kernels.values()) and body.chance(0.25):
        return joined(body, values, gate)
    biases = split_bias(body, gate.bias)
    terms = []
    for name in body.shuffled(gate.kernels):
        inner = biases.pop() if biases and gate.kernels[name].ndim == 2 and body.chance(0.3) else None
        terms.append(product(body, values[name], gate.kernels[name], inner))
    return total(body, terms + [body.weight(bias) for bias in biases])


def joined(body, values, gate):
    """One kernel for the concatenation of what is read."""
    names = body.shuffled(gate.kernels)
    body.note(f"concat({', '.join(names)})")
    whole = body.op("Concat", *[values[name] for name in names], axis=body.pick(1, -1))
    kernel = np.concatenate([gate.kernels[name] for name in names])
    return one(body, {"all": whole}, Gate({"all": kernel}, gate.bias))


def split_bias(body, bias):
    """The bias as the parts that it is added in."""
    if bias is None:
        return []
    if body.chance(0.75):
        return [bias]
    body.note("bias in two")
    part = bias * body.rng.uniform(0.2, 0.8, bias.shape)
    return [part, bias - part]


def fused(body, values, gates):
    """All gates from one kernel, then taken apart; the bias of every gate in the one sum, or after the split."""
    order = body.shuffled(gates)
    body.note(f"fused[{','.join(order)}]")
    whole = all(gate.bias is not None for gate in gates.values()) and body.chance(0.8)
    together = Gate(
        {
            name: np.concatenate([gates[gate].kernels[name] for gate in order], 1)
            for name in next(iter(gates.values())).kernels
        },
        np.concatenate([gates[gate].bias for gate in order]) if whole else None,
    )
    pieces = take_apart(body, one(body, values, together), [gates[gate].width for gate in order])
    found = dict(zip(order, pieces, strict=True))
    return found if whole else {name: with_bias(body, found[name], gates[name].bias) for name in order}


def with_bias(body, value, bias):
    if bias is None:
        return value
    body.note("bias after the split")
    return total(body, [value, *[body.weight(part) for part in split_bias(body, bias)]])


def parts(body, values, gates):
    """What each input adds to all gates is computed at once, in an order of its own, as Keras' GRU does."""
    terms: dict[str, list[str]] = {name: [] for name in gates}
    biased = {name for name, gate in gates.items() if gate.bias is None}
    for source in body.shuffled({name: None for gate in gates.values() for name in gate.kernels}):
        readers = [name for name in body.shuffled(gates) if source in gates[name].kernels]
        dense = [name for name in readers if gates[name].kernels[source].ndim == 2]
        for name in readers:
            if name not in dense:
                terms[name].append(product(body, values[source], gates[name].kernels[source]))
        if not dense:
            continue
        kernel = np.concatenate([gates[name].kernels[source] for name in dense], 1)
        bias = None
        if not biased.intersection(dense) and body.chance(0.6):
            bias = np.concatenate([gates[name].bias for name in dense])
            biased.update(dense)
        whole = one(body, {source: values[source]}, Gate({source: kernel}, bias))
        for name, piece in zip(dense, take_apart(body, whole, [gates[n].width for n in dense]), strict=True):
            terms[name].append(piece)
    for name in gates:
        if name not in biased:
            terms[name] += [body.weight(part) for part in split_bias(body, gates[name].bias)]
    return {name: total(body, terms[name]) for name in gates}


def take_apart(body, value, widths):
    """The pieces of the last dimension, by Split or by one Slice a piece."""
    if len(widths) == 1:
        return [value]
    axis = body.pick(1, -1)
    if body.chance(0.7):
        sizes = [] if len(set(widths)) == 1 and body.chance(0.5) else [body.ints(*widths)]
        return body.ops("Split", len(widths), value, *sizes, axis=axis)
    body.note("slices")
    ends = np.cumsum(widths)
    return [
        body.op("Slice", value, body.ints(end - width), body.ints(slice_end(body, end, ends[-1])), body.ints(axis))
        for width, end in zip(widths, ends, strict=True)
    ]


def slice_end(body, end, last):
    """The end itself, or what tf2onnx writes for an open one."""
    return np.iinfo(np.int32).max if end == last and body.chance(0.5) else end
