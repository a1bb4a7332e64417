"""Random expressions of x and the states: what a step computes is drawn node by node."""

from __future__ import annotations

from tests.lowering.cells import Written
from tests.lowering.changes import layer_norm, normalized
from tests.lowering.draws import kernel, recurrent, vector
from tests.lowering.free import Free
from tests.lowering.spelling import add, mul, one_minus, product, sub, take_apart

ELEMENTWISE = ("Tanh", "Sigmoid", "Relu", "Softsign", "Sin", "Neg", "Abs", "Elu", "HardSigmoid", "Identity")


def matched(pool, body, width):
    """A value of this width, made by a kernel if need be."""
    name, found = pool[int(body.rng.integers(len(pool)))]
    if found == width and body.chance(0.7):
        return name
    made = recurrent(body.rng, width) if found == width else kernel(body.rng, found, width)
    return product(body, name, made)


def unary(body, a, width):
    del width
    return body.op(body.pick(*ELEMENTWISE), a)


def scaled(body, a, width):
    return mul(body, a, body.weight(vector(body.rng, width)))


def shifted(body, a, width):
    return add(body, a, body.weight(vector(body.rng, width)))


def softmax(body, a, width):
    del width
    return body.op("Softmax", a, axis=body.pick(-1, 1))


def powered(body, a, width):
    del width
    return body.op("Pow", body.op("Tanh", a), body.const(body.pick(2, 3)))


def norm(body, a, width):
    del width
    return body.pick(layer_norm, normalized)(body, a)


def reduced(body, a, width):
    """A sum or mean over the units, spread over them again by the sum."""
    del width
    if body.chance(0.5):
        return sub(body, a, body.op("ReduceMean", a, axes=[-1], keepdims=1))
    return add(body, a, body.op("ReduceSum", body.op("Sigmoid", a), body.ints(-1), keepdims=1))


def turned(body, a, width):
    """Cut in two, put together the other way round."""
    cut = int(body.rng.integers(1, width))
    left, right = take_apart(body, a, [cut, width - cut])
    return body.op("Concat", right, left, axis=-1)


def binary(body, a, b):
    match body.pick("add", "sub", "mul", "max", "min", "where", "quotient", "lerp"):
        case "add":
            return add(body, a, b)
        case "sub":
            return sub(body, a, b)
        case "mul":
            return mul(body, a, body.op("Tanh", b))
        case "max":
            return body.op("Max", a, b)
        case "min":
            return body.op("Min", a, b)
        case "where":  # continuous where it switches
            return body.op("Where", body.op("Greater", a, body.const(0)), mul(body, a, body.op("Sigmoid", b)), a)
        case "quotient":
            return body.op("Div", a, add(body, body.op("Abs", b), body.const(1)))
        case _:
            gate = body.op("Sigmoid", b)
            return add(body, mul(body, gate, a), mul(body, one_minus(body, gate), body.op("Sin", b)))


UNARY = (unary, unary, scaled, shifted, softmax, powered, norm, reduced, turned)


def grow(body, pool, width):
    """One more value of this width from those in the pool."""
    a = matched(pool, body, width)
    if body.chance(0.5):
        return body.pick(*UNARY)(body, a, width)
    return binary(body, a, matched(pool, body, width))


def bounded(body, pool, width, old):
    """A new state that does not blow up."""
    a, b = grow(body, pool, width), matched(pool, body, width)
    match body.pick("tanh", "sum", "gate", "mean", "lstm"):
        case "tanh":
            return body.op("Tanh", a)
        case "sum":
            return body.op("Tanh", add(body, a, b))
        case "gate":
            gate = body.op("Sigmoid", b)
            return add(body, mul(body, gate, old), mul(body, one_minus(body, gate), body.op("Tanh", a)))
        case "mean":
            return add(body, mul(body, body.const(0.6), old), mul(body, body.const(0.4), body.op("Softsign", a)))
        case _:
            return mul(body, body.op("Sigmoid", b), body.op("Tanh", a))


def expression(rng, features, width):
    """One to three states, of one width or of several."""
    amount, same = int(rng.integers(1, 4)), bool(rng.random() < 0.5)
    widths = {f"s{n}": width if same else width + n for n in range(amount)}
    nodes = int(rng.integers(2, 9))

    def write(body, values, states):
        pool = [(values["x"], features), *((states[name], widths[name]) for name in widths)]
        for _ in range(nodes):
            size = body.pick(*widths.values())
            pool.append((grow(body, pool, size), size))
        new = {name: bounded(body, pool, size, states[name]) for name, size in widths.items()}
        return Written(new, {"y": new["s0"], "z": body.op("Tanh", grow(body, pool, width))})

    shapes = {name: (size,) for name, size in widths.items()}
    what = f"expression of {nodes} nodes, states {', '.join(map(str, widths.values()))}"
    return Free(what, features, shapes, write, {"y": (width,), "z": (width,)})
