"""Fewer operators a step: normalisations, tensor products, weighted sums, and operands that go together."""

from __future__ import annotations

import numpy as np
import pytest

from tests.lowering.small import SIMPLE_WEIGHTS, X, drawn, loop, node_of, operators, same

NORM_WEIGHTS = SIMPLE_WEIGHTS | drawn(gamma=(4,), beta=(4,)) | {"eps": np.float32(1e-3), "two_f": np.float32(2)}
START = (
    "x_t = Gather <axis = 0> (x, i) xw = MatMul (x_t, W) hr = MatMul (h, R) s = Add (xw, hr)"
    " mean = ReduceMean <axes = [1], keepdims = 1> (s) d = Sub (s, mean) dd = Mul (d, d)"
    " var = ReduceMean <axes = [1], keepdims = 1> (dd) ve = Add (var, eps) root = Sqrt (ve) inv = Reciprocal (root)"
)
# What Keras 3 writes, and other ways to put it.
KERAS = (
    "g = Mul (inv, gamma) sg = Mul (s, g) away = Neg (mean) mg = Mul (away, g) off = Add (beta, mg) y = Add (sg, off)"
)
NORMS = {
    "as Keras 3 writes it": KERAS,
    "centred, then scaled": "dn = Mul (d, inv) dg = Mul (dn, gamma) y = Add (dg, beta)",
    "a quotient": "dn = Div (d, root) dg = Mul (gamma, dn) y = Add (beta, dg)",
    "without scale and shift": "y = Mul (d, inv)",
    "turned": "dn = Mul (d, inv) dg = Mul (dn, gamma) y = Sub (beta, dg)",
    "a difference": "g = Mul (gamma, inv) sg = Mul (g, s) mg = Mul (mean, g) ys = Sub (sg, mg) y = Add (ys, beta)",
}
NO_NORMS = {
    "the mean added": KERAS.replace("away = Neg (mean)", "away = Identity (mean)"),
    "the mean left out": "g = Mul (inv, gamma) sg = Mul (s, g) y = Add (sg, beta)",
    "scaled twice": "g = Mul (inv, gamma) dg = Mul (d, g) dgi = Mul (dg, inv) y = Add (dgi, beta)",
    "another scale of the mean": (
        "g = Mul (inv, gamma) sg = Mul (s, g) mg = Mul (mean, inv) off = Sub (beta, mg) y = Add (sg, off)"
    ),
    "something else that is scaled": "g = Mul (inv, gamma) hg = Mul (h, g) mg = Mul (mean, g) y = Sub (hg, mg)",
    "multiplied by the root": "dr = Mul (d, root) dg = Mul (dr, gamma) y = Add (dg, beta)",
    "divided by the inverse": "di = Div (d, inv) dg = Mul (di, gamma) y = Add (dg, beta)",
    "divided by the mean": "si = Mul (s, inv) sm = Div (si, mean) mi = Mul (mean, inv) y = Sub (sm, mi)",
}
NO_STARTS = {
    "over the batch": ("axes = [1]", "axes = [0]"),
    "the sum of squares": ("var = ReduceMean", "var = ReduceSum"),
    "of another deviation": ("dd = Mul (d, d)", "dd = Mul (d, s)"),
    "the fourth power": ("dd = Mul (d, d)", "d2 = Mul (d, d) dd = Mul (d2, d2)"),
    "the variance itself": ("root = Sqrt (ve)", "root = Identity (ve)"),
}


def normalised(start, end, **changes):
    step = f"{start} {end} n = Tanh (y)"
    step = step.replace("ReduceSum <axes = [1], keepdims = 1> (dd)", "ReduceSum <keepdims = 1> (dd, first)")
    return loop(step, weights=NORM_WEIGHTS, **changes)


def body(changed):
    return operators(node_of(changed, "Scan").attributes["body"].as_graph())


@pytest.mark.parametrize("how", NORMS)
def test_a_normalisation_that_is_written_out(how):
    changed, _ = same(normalised(START, NORMS[how]), "scan")
    assert body(changed)["LayerNormalization"] == 1
    assert not {"ReduceMean", "Sqrt", "Reciprocal"} & set(body(changed))


@pytest.mark.parametrize("how", NO_NORMS)
def test_what_is_no_normalisation(how):
    changed, _ = same(normalised(START, NO_NORMS[how]), "scan")
    assert body(changed)["ReduceMean"] == 2


@pytest.mark.parametrize("how", NO_STARTS)
def test_a_spread_that_is_another(how):
    changed, _ = same(normalised(START.replace(*NO_STARTS[how]), KERAS), "scan")
    assert not body(changed)["LayerNormalization"]


def test_an_opset_without_the_operator():
    changed, _ = same(normalised(START, KERAS, opset=13), "scan")
    assert not body(changed)["LayerNormalization"]


# Attention as tf2onnx writes it: scores of every timestep of memory by a Tensordot, and their weighted sum.
ATTENTION = (
    "first_axis = Constant <value_ints = [1]> () last_axis = Constant <value_ints = [2]> ()"
    " flat = Constant <value_ints = [-1, 4]> ()"
    " x_t = Gather <axis = 0> (x, i) hv = MatMul (h, R) hu = Unsqueeze (hv, first_axis) e = Add (hu, memory)"
    " t = Tanh (e) rows = Reshape (t, flat) score = MatMul (rows, v)"
    " sh = Shape (t) free = Gather <axis = 0> (sh, leading)"
    " scores = Reshape (score, free) a = Softmax <axis = 1> (scores) au = Unsqueeze (a, last_axis)"
    " am = Mul (au, memory) context = ReduceSum <keepdims = 0> (am, first_axis)"
    " xw = MatMul (x_t, W) cv = MatMul (context, V) s = Add (xw, cv) n = Tanh (s)"
)
ATTENTION_WEIGHTS = SIMPLE_WEIGHTS | drawn(v=(4, 1), V=(4, 4))
ATTENTION_WEIGHTS |= {"leading": np.array([0, 1])}


def attending(**changed):
    step = ATTENTION
    for old, new in changed.pop("instead", {}).items():
        step = step.replace(old, new)
    return loop(step, inputs=f"{X}, float[B,T,4] memory", weights=ATTENTION_WEIGHTS | changed)


def test_scores_and_weighted_sums_are_products():
    changed, _ = same(attending(), "scan")
    assert not {"Reshape", "Shape", "Gather", "ReduceSum", "Mul"} & set(body(changed))


def test_a_sum_of_the_features_is_no_weighted_sum():
    model = attending(
        instead={"(am, first_axis)": "(am, last_axis)", "cv = MatMul (context, V)": "cv = ReduceMax (context)"}
    )
    changed, _ = same(model, "scan")
    assert body(changed)["ReduceSum"] == 1


def test_rows_that_are_taken_apart_in_another_way():
    """(T, B) of what was (B, T): the same numbers at other places."""
    model = attending(
        instead={
            "a = Softmax <axis = 1> (scores)": "at = Transpose <perm = [1, 0]> (scores) a = Softmax <axis = 1> (at)"
        },
        leading=np.array([1, 0]),
    )
    changed, _ = same(model, "scan")
    assert body(changed)["Reshape"] == 2


TWO = "t = Tanh (c) yz = MatMul (h, R) cz = MatMul (t, Wc) yr = MatMul (h, Rr) cr = MatMul (t, Wr)"
TWO_WEIGHTS = drawn(W=(3, 4), R=(4, 4), Rr=(4, 4), Wc=(4, 4), Wr=(4, 4), b=(4,), br=(4,), Rn=(4, 4))
PAIRS = {
    # the sums, and how many products there are in the step
    "the same operands": ("z0 = Add (yz, cz) z1 = Add (z0, b) r0 = Add (yr, cr) r1 = Add (r0, br)", 1),
    "in another order": ("z0 = Add (yz, b) z1 = Add (z0, cz) r0 = Add (br, cr) r1 = Add (r0, yr)", 1),
    "one operand more in one sum": (
        "z0 = Add (yz, cz) z1 = Add (z0, b) r0 = Add (yr, br) r1 = Mul (r0, cr)",
        2,
    ),
    "a difference": ("z0 = Add (yz, cz) z1 = Add (z0, b) r0 = Sub (yr, cr) r1 = Add (r0, br)", 2),
}


@pytest.mark.parametrize("case", PAIRS)
def test_operands_side_by_side(case):
    sums, products = PAIRS[case]
    step = (
        f"x_t = Gather <axis = 0> (x, i) xw = MatMul (x_t, W) {TWO} {sums}"
        " z = Sigmoid (z1) r = Tanh (r1) zr = Mul (z, r) n = Add (zr, xw) cn = Softsign (zr)"
    )
    changed, _ = same(loop(step, {"h": "n", "c": "cn"}, weights=TWO_WEIGHTS), "scan")
    assert body(changed)["MatMul"] + body(changed)["Gemm"] == products
    assert body(changed)["Concat"] == (products == 1)
