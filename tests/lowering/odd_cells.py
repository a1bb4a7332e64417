"""Cells with states, inputs and parts that no op of ONNX has."""

from __future__ import annotations

import numpy as np
from onnx import helper

from tests.lowering.cells import Written
from tests.lowering.changes import layer_norm
from tests.lowering.draws import random_gru, random_lstm, recurrent, vector
from tests.lowering.free import Free, read
from tests.lowering.graph import Graph
from tests.lowering.loops import BOOL, FLOAT, INT32, INT64, add_one, info
from tests.lowering.spelling import add, mul, one_minus, product, total


def two_widths(_, features, width):
    narrow = width + 2

    def write(body, values, states):
        a = add(body, read(body, values["x"], features, width), read(body, states["b"], narrow, width))
        new_a = body.op("Tanh", a)
        new_b = body.op("Sigmoid", add(body, read(body, new_a, width, narrow), states["b"]))
        return Written({"a": new_a, "b": new_b}, {"y": new_a, "gate": new_b})

    shapes = {"a": (width,), "b": (narrow,)}
    return Free("two states of two widths", features, shapes, write, {"y": (width,), "gate": (narrow,)})


def memory(_, features, width):
    """A state of rank 3, read by a sum, written by an outer product."""
    slots = width + 1

    def write(body, values, states):
        m_BSU = states["m"]
        key = body.op("Softmax", read(body, values["x"], features, slots), axis=-1)
        key_BS1 = body.op("Unsqueeze", key, body.ints(2))
        seen = body.op("ReduceSum", mul(body, m_BSU, key_BS1), body.ints(1), keepdims=0)
        remembered = product(body, seen, recurrent(body.rng, width))
        new = body.op("Tanh", add(body, read(body, values["x"], features, width), remembered))
        kept = mul(body, m_BSU, one_minus(body, key_BS1))
        stored = body.op("MatMul", key_BS1, body.op("Unsqueeze", new, body.ints(1)))
        return Written({"m": add(body, kept, stored)}, {"y": new})

    return Free("a memory of rank 3", features, {"m": (slots, width)}, write, {"y": (width,)})


def matrix_state(_, features, width):
    """A state of rank 3 that goes through a kernel."""

    def write(body, values, states):
        x_B1U = body.op("Unsqueeze", read(body, values["x"], features, width), body.ints(1))
        kept = body.op("MatMul", states["s"], body.weight(recurrent(body.rng, width)))
        new = body.op("Tanh", add(body, kept, x_B1U))
        return Written({"s": new}, {"y": new, "sum": body.op("ReduceSum", new, body.ints(1), keepdims=0)})

    return Free("a state of rank 3", features, {"s": (2, width)}, write, {"y": (2, width), "sum": (width,)})


def with_context(_, features, width):
    """An input of the model that every step reads."""

    def write(body, values, states):
        seen = [read(body, values["x"], features, width), read(body, values["context"], width + 1, width, False)]
        new = body.op("Tanh", total(body, [*seen, product(body, states["h"], recurrent(body.rng, width))]))
        return Written({"h": new}, {"y": new})

    return Free("reads a constant", features, {"h": (width,)}, write, {"y": (width,)}, {"context": (width + 1,)})


def attention(rng, features, width):
    """A GRU that looks at a sequence that is a constant."""
    places, depth = 5, width + 1
    cell = random_gru(rng, "before", features + depth, width)

    def write(body, values, states):
        key = body.op("Unsqueeze", read(body, states["h"], width, depth), body.ints(2))
        scores = body.op("MatMul", values["encoded"], key)
        weights = body.op("Softmax", body.op("Squeeze", scores, body.ints(2)), axis=-1)
        weighted = mul(body, values["encoded"], body.op("Unsqueeze", weights, body.ints(2)))
        seen = body.op("ReduceSum", weighted, body.ints(1), keepdims=0)
        written = cell.write(body, {**values, "x": body.op("Concat", values["x"], seen, axis=-1)}, states)
        return Written(written.states, {**written.outputs, "weights": weights})

    outputs = {"y": (width,), "weights": (places,)}
    return Free("attention", features, cell.states, write, outputs, {"encoded": (places, depth)})


def counter(_, features, width):
    """A state that counts the steps, and is read."""

    def write(body, values, states):
        step = body.op("Cast", states["n"], to=FLOAT)
        share = body.op("Reciprocal", add(body, step, body.const(2)))
        new = body.op("Tanh", add(body, read(body, values["x"], features, width), states["h"]))
        mean = add(body, mul(body, new, share), mul(body, states["h"], one_minus(body, share)))
        return Written({"h": mean, "n": add_one(body, states["n"])}, {"y": mean})

    return Free("a counter as a state", features, {"h": (width,), "n": None}, write, {"y": (width,)})


def idle_states(rng, features, width):
    """One state that is never read, one that never changes, one that is only handed on."""
    cell = random_gru(rng, "after", features, width)

    def write(body, values, states):
        written = cell.write(body, values, {"h": states["h"]})
        new = {"unread": body.op("Neg", values["x"]), "fixed": states["fixed"], "last": states["h"]}
        return Written({**written.states, **new}, {"y": written.outputs["y"], "fixed y": states["fixed"]})

    shapes = {"h": (width,), "unread": (features,), "fixed": (width + 1,), "last": (width,)}
    return Free(f"idle states around {cell}", features, shapes, write, {"y": (width,), "fixed y": (width + 1,)})


def previous_input(_, features, width):
    def write(body, values, states):
        terms = [read(body, values["x"], features, width), read(body, states["p"], features, width, False)]
        new = body.op("Tanh", total(body, [*terms, product(body, states["h"], recurrent(body.rng, width))]))
        return Written({"h": new, "p": values["x"]}, {"y": new})

    return Free("reads the x before", features, {"h": (width,), "p": (features,)}, write, {"y": (width,)})


def stacked(rng, features, width):
    """Two cells in one loop, the second reads the first."""
    first, second = random_lstm(rng, "plain", features, width), random_gru(rng, "after", width, width + 1)

    def write(body, values, states):
        below = first.write(body, values, {"h": states["h"], "c": states["c"]})
        above = second.write(body, {**values, "x": below.outputs["y"]}, {"h": states["top"]})
        return Written({**below.states, "top": above.states["h"]}, above.outputs)

    shapes = {**first.states, "top": (width + 1,)}
    return Free(f"{first} under {second}", features, shapes, write, {"y": (width + 1,)})


def normed_lstm(rng, features, width):
    """Layer normalization of the carry before the output."""
    cell = random_lstm(rng, "plain", features, width)

    def write(body, values, states):
        pre = cell.write_pre(body, values["x"], states["h"])
        i, f, o = (body.op("Sigmoid", pre[name]) for name in "ifo")
        new_c = add(body, mul(body, f, states["c"]), mul(body, i, body.op("Tanh", pre["g"])))
        new_h = mul(body, o, body.op("Tanh", layer_norm(body, new_c)))
        return Written({"h": new_h, "c": new_c}, {"y": new_h})

    return Free("an LSTM that normalizes its carry", features, cell.states, write, {"y": (width,)})


def inner_loop(_, features, width):
    """Three small steps of an ODE in every step, in a Loop of their own."""

    def write(body, values, states):
        inner = Graph(body.rng, body.names, f"{body.scope}/inner")
        iteration, going, step, h = (inner.name(name) for name in ("counter", "cond", "placeholder", "h"))
        seen = read(body, values["x"], features, width)
        kept = inner.op("MatMul", h, body.weight(recurrent(body.rng, width)))
        slope = inner.op("Sub", inner.op("Tanh", inner.op("Add", kept, seen)), h)
        new_h = inner.op("Add", h, inner.op("Mul", inner.const(0.3), slope))
        next_step = add_one(inner, step)
        below = inner.op("Less", inner.op("Cast", next_step, to=FLOAT), inner.const(3))
        shape = ["batch", width]
        given = [info(iteration, INT64), info(going, BOOL), info(step, INT32), info(h, FLOAT, shape)]
        made = [info(below, BOOL), info(next_step, INT32), info(new_h, FLOAT, shape)]
        graph = helper.make_graph(inner.nodes, "inner", given, made, inner.initializers)
        trips = body.const(3, np.int64) if body.chance(0.5) else None
        start = body.op("Less", body.const(0), body.const(3))
        last = body.ops("Loop", 2, trips, start, body.const(0, np.int32), states["h"], body=graph)[1]
        return Written({"h": last}, {"y": last})

    return Free("a Loop in the Loop", features, {"h": (width,)}, write, {"y": (width,)})


def feedback(_, features, width):
    """What it gives out is what it reads back, through a softmax."""

    def write(body, values, states):
        hidden = body.op("Relu", add(body, read(body, values["x"], features, 6), read(body, states["y"], width, 6)))
        new = body.op("Softmax", read(body, hidden, 6, width), axis=-1)
        scale = body.weight(vector(body.rng, width))
        return Written({"y": new}, {"out": new, "log": body.op("Log", add(body, body.op("Abs", scale), new))})

    return Free("feeds a softmax back", features, {"y": (width,)}, write, {"out": (width,), "log": (width,)})


ODD = {
    maker.__name__: maker
    for maker in (
        two_widths,
        memory,
        matrix_state,
        with_context,
        attention,
        counter,
        idle_states,
        previous_input,
        stacked,
        normed_lstm,
        inner_loop,
        feedback,
    )
}
