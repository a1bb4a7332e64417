"""Recurrences that are linear in their states: in chunks they are what they are step by step; what is none is told."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from rnnexport.ir.loop_body import Constants
from rnnexport.ir.terms import Terms
from rnnexport.lowering.cost_model import CHUNKED_FROM, CHUNKED_TO
from rnnexport.lowering.linear import ALL, interval
from tests.lowering.small import compared, drawn, loop, lowered, node_of, operators, refused, same

WEIGHTS = drawn(Wz=(3, 4), Wn=(3, 4), Wr=(3, 4), b=(4,), d=(4,), R=(4, 4)) | {
    **drawn(Wb=(3, 2), Wc=(3, 2)),
    "A": np.float32([[0.2, 1.1], [0.7, 0.4], [1.9, 0.1], [0.6, 0.8]]),
    "more": np.float32(1.5),
}
READ = """x_t = Gather <axis = 0> (x, i) pz = MatMul (x_t, Wz) sz = Add (pz, b) z = Sigmoid (sz) pn = MatMul (x_t, Wn)
    one_z = Sub (one_f, z)"""
MIXED = "old = Mul (z, h) new = Mul (one_z, pn) n = Add (old, new)"
STATE_SPACE = """last = Constant <value_ints = [2]> () mid = Constant <value_ints = [1]> ()
    wide = Constant <value_ints = [-1, 4, 2]> () flat = Constant <value_ints = [-1, 8]> ()
    x_t = Gather <axis = 0> (x, i) pd = MatMul (x_t, Wz) dt = Softplus (pd) dt_1 = Unsqueeze (dt, last)
    scaled = Mul (dt_1, A) less = Neg (scaled) a = Exp (less)
    u = MatMul (x_t, Wn) du = Mul (dt, u) du_1 = Unsqueeze (du, last) b_t = MatMul (x_t, Wb) b_1 = Unsqueeze (b_t, mid)
    added = Mul (du_1, b_1) hv = Reshape (h, wide) kept = Mul (a, hv) hn = Add (kept, added)
    c_t = MatMul (x_t, Wc) c_1 = Unsqueeze (c_t, mid) hc = Mul (hn, c_1) y = ReduceSum <keepdims = 0> (hc, last)
    n = Reshape (hn, flat)"""
WIDE = {"types": {"h": "float[B,8]", "n": "float[B,8]", "y": "float[B,4]"}, "stacked": ("y",)}
CELLS = {
    "minGRU": (f"{READ} old = Mul (one_z, h) new = Mul (z, pn) n = Add (old, new)", {}),
    "minGRU, as a step towards": (f"{READ} way = Sub (pn, h) part = Mul (z, way) n = Add (h, part)", {}),
    "SRU": (
        f"{READ} {MIXED} pr = MatMul (x_t, Wr) r = Sigmoid (pr) t = Tanh (n) y = Mul (r, t)",
        {"stacked": ("y", "n")},
    ),
    "an output of the state before": (f"{READ} {MIXED} y = Sub (n, h)", {"stacked": ("y",)}),
    "the last state alone": (f"{READ} {MIXED}", {"stacked": ()}),
    "a constant decay": (f"{READ} a = Tanh (d) old = Mul (h, a) n = Sub (pn, old)", {}),
    "a decay by an exponential": (f"{READ} less = Neg (z) a = Exp (less) old = Mul (a, h) n = Add (old, pn)", {}),
    "two states": (
        f"{READ} {MIXED} r = Tanh (pz) keep = Mul (r, c) c_n = Add (keep, pn) y = Mul (n, c_n)",
        {"states": {"h": "n", "c": "c_n"}, "stacked": ("y",)},
    ),
    "a mask": (
        f"{READ} {MIXED.replace('n = Add', 'm = Add')} on = Greater (pz, zero) n = Where (on, m, h)",
        {},
    ),
    "a state space": (STATE_SPACE, WIDE),
}
SIZES = [(1, 1), (2, 3), (3, 17), (1, 130)]


def model_of(name):
    step, given = CELLS[name]
    return loop(step, weights=WEIGHTS, **given)


@pytest.mark.parametrize("name", CELLS)
def test_it_is_the_same_in_chunks(name):
    changed, outcome = same(model_of(name), "chunked", sizes=SIZES)
    assert outcome.proven[-2:] == ("chunked", "loop")
    assert operators(changed.graph)["Scan"] == 2 * (2 if name == "two states" else 1)


def test_sizes_decide_between_chunks_and_steps():
    model = model_of("minGRU")
    changed, outcome = lowered(model)
    rows = CHUNKED_TO // 4
    edges = [(rows, CHUNKED_FROM), (rows, CHUNKED_FROM - 1), (rows + 1, CHUNKED_FROM)]
    assert outcome.chosen == "scan"
    assert outcome.why.endswith(
        f"in chunks from {CHUNKED_FROM} steps on where a state has at most {CHUNKED_TO} numbers"
    )
    assert compared(model, changed, edges) == []
    node = node_of(changed, "If")
    branches = [operators(node.attributes[name].as_graph())["Scan"] for name in ("then_branch", "else_branch")]
    assert branches == [2, 1]
    node.attributes["then_branch"].as_graph().outputs[0].producer().op_type = "Neg"
    assert [bool(compared(model, changed, [size])) for size in edges] == [True, False, False]


@pytest.mark.parametrize("request_", [{"portable": True}, {"provider": "cuda"}, {"form": "scan"}])
def test_chunks_are_for_the_cpu_of_onnx_runtime(request_):
    changed, outcome = lowered(model_of("minGRU"), **request_)
    assert (outcome.chosen, "If" in operators(changed.graph)) == ("scan", False)


def test_a_short_sequence_is_not_cut():
    assert "If" not in operators(lowered(loop(CELLS["minGRU"][0], weights=WEIGHTS, inputs="float[9,B,3] x"))[0].graph)


NO_STATE = "it has no state"
NO_LINE = "what a state becomes is no multiple of it and something added, element by element"
GROWS = "a factor of a state may be larger than 1"
STAYS = "what a state is multiplied with, or what is added, can't be computed for all steps at once"
NO_OUTPUT = "what a step gives can't be computed for all steps at once"
REASONS = (NO_STATE, NO_LINE, GROWS, STAYS, NO_OUTPUT)
LOOKALIKES = {
    "a factor above 1": (f"{READ} a = Mul (z, more) old = Mul (a, h) n = Add (old, pn)", GROWS),
    "a factor without bounds": (f"{READ} old = Mul (pz, h) n = Add (old, pn)", GROWS),
    "a growing exponential": (f"{READ} a = Exp (z) old = Mul (a, h) n = Add (old, pn)", GROWS),
    "no factor at all": (f"{READ} n = Add (h, pn)", None),
    "twice the state": (f"{READ} old = Mul (z, h) both = Add (old, h) n = Add (both, pn)", GROWS),
    "its square": (f"{READ} hh = Mul (h, h) old = Mul (z, hh) n = Add (old, pn)", NO_LINE),
    "through a matrix": (f"{READ} hr = MatMul (h, R) old = Mul (z, hr) n = Add (old, pn)", NO_LINE),
    "through an activation": (f"{READ} t = Sin (h) old = Mul (z, t) n = Add (old, pn)", NO_LINE),
    "divided by the state": (f"{READ} old = Div (z, h) n = Add (old, pn)", NO_LINE),
    "a choice by the state": (f"{READ} on = Greater (h, zero) n = Where (on, h, pn)", NO_LINE),
    "a mean over the units": (f"{READ} m = ReduceMean <axes = [1]> (h) old = Mul (z, m) n = Add (old, pn)", NO_LINE),
}


@pytest.mark.parametrize("name", LOOKALIKES)
def test_what_is_not_linear_is_in_no_chunks(name):
    step, why = LOOKALIKES[name]
    found = refused(loop(step, weights=WEIGHTS)).get("chunked")
    assert found == why


@pytest.mark.parametrize(
    ("step", "stacked", "why"),
    [
        (f"{READ} sums = CumSum (z, first_axis) a = Sigmoid (sums) old = Mul (a, h) n = Add (old, pn)", "n", STAYS),
        (f"{READ} {MIXED} y = CumSum (n, first_axis)", "y", NO_OUTPUT),
        (f"{READ} n = Tanh (z) y = Identity (n)", "y", NO_STATE),
    ],
)
def test_what_no_rule_takes_for_all_steps_at_once(step, stacked, why):
    model = loop(step, weights=WEIGHTS | {"first_axis": np.array(1)}, stacked=(stacked,), results=[f"every_{stacked}"])
    assert refused(model).get("chunked") == why


UNKNOWN = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([2]))
BOUNDS = {
    "Sigmoid": (0, 1),
    "Tanh": (-1, 1),
    "Neg Sigmoid": (-1, 0),
    "Exp Neg Softplus": (0, 1),
    "Exp Relu": (1, np.inf),
    "Reciprocal Exp Relu": (0, 1),
    "Reciprocal Tanh": ALL,
    "Sqrt Sigmoid": (0, 1),
    "Sqrt Tanh": ALL,
    "Abs Tanh": (0, 1),
    "Identity": ALL,
    "Atan": ALL,
}


@pytest.mark.parametrize("chain", BOUNDS)
def test_bounds_of_activations(chain):
    terms = Terms()
    value = terms.leaf("Outer", UNKNOWN, ir.DataType.FLOAT, (2,))
    for op in reversed(chain.split()):
        value = terms.elementwise(op, value)
    assert interval(value, Constants()) == BOUNDS[chain]


PAIRS = {
    ("Add", "Sigmoid", 0.5): (0.5, 1.5),
    ("Sub", "Sigmoid", 1.0): (-1, 0),
    ("Mul", "Tanh", -2.0): (-2, 2),
    ("Mul", "Softplus", 0.0): (0, 0),
    ("Div", "Sigmoid", -4.0): (-0.25, 0),
    ("Div", "Sigmoid", 0.0): ALL,
    ("Max", "Tanh", 0.25): (0.25, 1),
    ("Min", "Tanh", 0.25): (-1, 0.25),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_bounds_of_two_values(pair):
    op, function, number = pair
    terms = Terms()
    value = terms.elementwise(function, terms.leaf("Outer", UNKNOWN, ir.DataType.FLOAT, (2,)))
    found = interval(terms.elementwise(op, value, terms.const(np.float32(number))), Constants())
    assert found == PAIRS[pair]
    square = terms.elementwise("Mul", value, value)
    assert interval(square, Constants())[0] == 0
