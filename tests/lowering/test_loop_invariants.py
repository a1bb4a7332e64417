"""What is left in the step of a Scan: nothing that depends on no state, no weight among its inputs, few operators."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tests.lowering.small import SIMPLE, SIMPLE_WEIGHTS, X, drawn, loop, lowered, node_of, operators, same

LSTM = """
    x_t = Gather <axis = 0> (x, i)
    xh = Concat <axis = -1> (x_t, h)
    p = MatMul (xh, K)
    q = Add (p, b)
    qi, qf, qc, qo = Split <axis = 1> (q)
    f_i = Sigmoid (qi)
    f_f = Sigmoid (qf)
    f_c = Tanh (qc)
    f_o = Sigmoid (qo)
    kept = Mul (f_f, c)
    new = Mul (f_i, f_c)
    c_n = Add (kept, new)
    out = Tanh (c_n)
    n = Mul (f_o, out)
"""
GRU = """
    x_t = Gather <axis = 0> (x, i)
    xz = MatMul (x_t, Wz)
    xr = MatMul (x_t, Wr)
    xn = MatMul (x_t, Wn)
    hz = MatMul (h, Rz)
    hr = MatMul (h, Rr)
    hn = MatMul (h, Rn)
    sz = Add (xz, hz)
    sr = Add (xr, hr)
    bz_s = Add (sz, bz)
    br_s = Add (sr, br)
    z = Sigmoid (bz_s)
    r = Sigmoid (br_s)
    rh = Mul (r, hn)
    xn_b = Add (xn, bn)
    s = Add (xn_b, rh)
    g = Tanh (s)
    zh = Mul (z, h)
    one_z = Sub (one_f, z)
    zg = Mul (one_z, g)
    n = Add (zh, zg)
"""
NORMED = """
    x_t = Gather <axis = 0> (x, i)
    mean = ReduceMean <axes = [-1]> (x_t)
    away = Sub (x_t, mean)
    square = Mul (away, away)
    variance = ReduceMean <axes = [1]> (square)
    eps_v = Add (variance, eps)
    deviation = Sqrt (eps_v)
    normed = Div (away, deviation)
    scaled = Mul (normed, scale)
    xw = MatMul (scaled, W)
    hr = MatMul (h, R)
    s = Add (xw, hr)
    n = Tanh (s)
"""
MASKED = SIMPLE.replace("n =", "m =") + "keep = Gather <axis = 0> (mask, i) n = Where (keep, m, h)"
WITH_CASTS = SIMPLE.replace("n =", "m =") + (
    "keep = Gather <axis = 0> (mask, i) on = Cast <to = 1> (keep) off_b = Not (keep) off = Cast <to = 1> (off_b)"
    " new = Mul (on, m) old = Mul (off, h) n = Add (new, old)"
)
STEP_USED = SIMPLE.replace("biased =", "t = Cast <to = 1> (i) biased =").replace("(sum, b)", "(sum, t)")
OF_INPUT = SIMPLE.replace("(x_t, W)", "(seen, W)")
CUT_AND_JOINED = """
    from_0 = Constant <value_ints = [0]> ()
    to_2 = Constant <value_ints = [2]> ()
    to_3 = Constant <value_ints = [3]> ()
    axis_1 = Constant <value_ints = [1]> ()
    left = Slice (x_t, from_0, to_2, axis_1)
    right = Slice (x_t, to_2, to_3, axis_1)
    seen = Concat <axis = 1> (right, left)
"""
TURNED = """
    axis_1 = Constant <value_ints = [1]> ()
    wide = Unsqueeze (x_t, axis_1)
    turned = Transpose <perm = [2, 1, 0]> (wide)
    narrow = Squeeze (turned, axis_1)
    seen = Transpose <perm = [1, 0]> (narrow)
"""
CELLS = {
    # what `loop` is given; the operators of the step
    "simple": ({"step": SIMPLE}, {"Gemm": 1, "Tanh": 1}),
    "simple of a bias in two": (
        {"step": SIMPLE.replace("(h, R)", "(h, R) xb = Add (xw, b2)").replace("(xw, hr)", "(hr, xb)")},
        {"Gemm": 1, "Tanh": 1},
    ),
    "simple by Gemm": (
        {"step": "x_t = Gather (x, i) g = Gemm (x_t, W, b) hg = Gemm <transB = 1> (h, R) s = Add (g, hg) n = Tanh (s)"},
        {"Gemm": 1, "Tanh": 1},
    ),
    "simple of fixed weights turned in the step": (
        {
            "step": SIMPLE.replace(
                "hr = MatMul (h, R)", "turned = Transpose <perm = [1, 0]> (R) hr = MatMul (h, turned)"
            )
        },
        {"Gemm": 1, "Tanh": 1},
    ),
    "kernels that are cut in the step": (
        {
            "step": "x_t = Gather <axis = 0> (x, i) thirds = Constant <value_ints = [3, 3, 4]> () "
            "first_W, W, R = Split <axis = 0> (K, thirds) "
            "xw = MatMul (x_t, W) xf = MatMul (x_t, first_W) hr = MatMul (h, R) s = Add (xw, hr) f = Sigmoid (xf) "
            "m = Tanh (s) n = Mul (m, f)",
            "weights": drawn(K=(10, 4)),
        },
        {"Gemm": 1, "Tanh": 1, "Mul": 1},
    ),
    "differences": (
        {
            "step": "x_t = Gather (x, i) xw = MatMul (x_t, W) hr = MatMul (h, R) s = Sub (hr, xw) d = Sub (b, s)"
            " n = Tanh (d)"
        },
        {"MatMul": 1, "Sub": 1, "Tanh": 1},
    ),
    "an input that is cut and joined": (
        {"step": OF_INPUT.replace("xw =", CUT_AND_JOINED + "xw =")},
        {"Gemm": 1, "Tanh": 1},
    ),
    "an input that is turned": (
        {"step": OF_INPUT.replace("xw =", TURNED + "xw =")},
        {"Gemm": 1, "Tanh": 1},
    ),
    "an LSTM of one kernel": (
        {"step": LSTM, "states": {"h": "n", "c": "c_n"}, "weights": drawn(K=(7, 16), b=(16,))},
        {"Gemm": 1, "Split": 1, "Sigmoid": 3, "Tanh": 2, "Mul": 3, "Add": 1},
    ),
    "a GRU of six kernels": (
        {
            "step": GRU,
            "weights": drawn(**{f"{k}{g}": s for g in "zrn" for k, s in (("W", (3, 4)), ("R", (4, 4)), ("b", 4))}),
        },
        {"MatMul": 1, "Split": 1, "Add": 4, "Sub": 1, "Mul": 2, "Sigmoid": 2, "Tanh": 1},
    ),
    "a mask by Where": (
        {"step": MASKED, "inputs": f"{X}, bool[T,B,1] mask"},
        {"Gemm": 1, "Tanh": 1, "Where": 1},
    ),
    "a mask by products": (
        {"step": WITH_CASTS, "inputs": f"{X}, bool[T,B,1] mask"},
        {"Gemm": 1, "Tanh": 1, "Where": 1},
    ),
    "a normed input": (
        {"step": NORMED, "weights": drawn(W=(3, 4), R=(4, 4), scale=(3,)) | {"eps": np.array(0.001)}},
        {"Gemm": 1, "Tanh": 1},
    ),
    "a softmax of the input": (
        {"step": OF_INPUT.replace("xw =", "seen = Softmax <axis = 1> (x_t) xw =")},
        {"Gemm": 1, "Tanh": 1},
    ),
    "a sorted input": (
        {"step": OF_INPUT.replace("xw =", "seen = Gather <axis = 1> (x_t, order) xw =")},
        {"Gemm": 1, "Tanh": 1},
    ),
    "a reshaped input": (
        {
            "step": SIMPLE.replace("xw =", "flat = Reshape (x_t, flat_shape) xw =").replace("(x_t, W)", "(flat, W)"),
            "inputs": "float[T,B,3,1] x",
        },
        {"Gemm": 1, "Tanh": 1},
    ),
    "an embedding": (
        {
            "step": SIMPLE.replace("(x, i)", "(x, i) seen = Gather <axis = 0> (table, x_t)").replace(
                "(x_t, W)", "(seen, W)"
            ),
            "inputs": "int64[T,B] x",
        },
        {"Gemm": 1, "Tanh": 1},
    ),
    "a convolution": (
        {
            "step": "x_t = Gather <axis = 0> (x, i) xw = Conv <pads = [1, 1]> (x_t, kernel, bias) "
            " hr = Conv <pads = [1, 1]> (h, inner)"
            " s = Add (xw, hr) n = Tanh (s)",
            "inputs": "float[T,B,3,5] x, float[B,2,5] h_0",
            "types": {"h": "float[B,2,5]", "n": "float[B,2,5]"},
            "weights": drawn(kernel=(2, 3, 3), bias=(2,), inner=(2, 2, 3)),
        },
        {"Conv": 1, "Add": 1, "Tanh": 1},
    ),
    "the number of the step": ({"step": STEP_USED}, {"Gemm": 1, "Tanh": 1}),
    "nothing of the sequence": (
        {"step": "hr = MatMul (h, R) s = Add (hr, b) n = Tanh (s)", "inputs": f"{X}, float[B,4] h_0"},
        {"Gemm": 1, "Tanh": 1},
    ),
    "attention of one column": (
        {"step": SIMPLE.replace("n =", "m =") + "score = MatMul (h, column) n = Mul (m, score)"},
        {"Split": 1, "Tanh": 1, "Mul": 1, "MatMul": 1, "Add": 1},
    ),
}
MORE = drawn(b2=(4,), table=(5, 3), column=(4, 1)) | {"order": np.array([2, 0, 1]), "flat_shape": np.array([0, 3])}


def built(case):
    given = CELLS[case][0]
    return loop(**given | {"weights": {**MORE, **given.get("weights", SIMPLE_WEIGHTS)}})


def step_of(scan):
    return scan.attributes["body"].as_graph()


def left_in(scan):
    """The nodes of the step that depend on no state."""
    graph, count = step_of(scan), len(scan.inputs) - scan.attributes["num_scan_inputs"].as_int()
    moved, left = set(graph.inputs[:count]), []
    for node in graph:
        if moved.intersection(node.inputs):
            moved.update(node.outputs)
        else:
            left.append(node.op_type)
    return left


@pytest.mark.parametrize("case", CELLS)
def test_the_step(case):
    model, expected = built(case), CELLS[case][1]
    changed, _ = same(model, "scan")
    scan = node_of(changed, "Scan")
    found = operators(step_of(scan))
    del found["Identity"]  # an output of a body has a name of its own
    assert found == Counter(expected)
    assert left_in(scan) == []
    assert not any(value.is_initializer() for value in scan.inputs)
    assert len(scan.inputs) - scan.attributes["num_scan_inputs"].as_int() == len(CELLS[case][0].get("states", "h"))
    assert not step_of(scan).initializers


def test_one_product_of_the_sequence():
    """Before the Scan as well there is one for all gates."""
    changed, _ = same(built("an LSTM of one kernel"), "scan")
    assert operators(changed.graph)["MatMul"] == 1


SEVERAL = {"a mask by Where", "a mask by products", "a GRU of six kernels", "kernels that are cut in the step"}


@pytest.mark.parametrize("case", [case for case in CELLS if case not in SEVERAL])
def test_the_scan_reads_one_sequence(case):
    changed, _ = same(built(case), "scan")
    assert node_of(changed, "Scan").attributes["num_scan_inputs"].as_int() == 1


def test_a_map_is_no_loop_at_all():
    changed, outcome = same(loop("x_t = Gather <axis = 0> (x, i) xw = MatMul (x_t, W) n = Tanh (xw)", {}), "scan")
    assert set(operators(changed.graph)) == {"MatMul", "Tanh", "Identity"}
    assert outcome.what.startswith("a map over a sequence")


def test_what_every_step_has_in_common_is_computed_once():
    """A product of constants of the model: no weight, but the same in every step."""
    step = SIMPLE.replace("(sum, b)", "(sum, attended)").replace("biased", "attended = MatMul (given, W2) biased", 1)
    model = loop(step, inputs=f"{X}, float[B,3] given", weights=SIMPLE_WEIGHTS | drawn(W2=(3, 4)))
    changed, _ = same(model, "scan")
    assert operators(step_of(node_of(changed, "Scan")))["Gemm"] == 1
    assert left_in(node_of(changed, "Scan")) == []


def test_a_second_bias_leaves_the_step():
    step = SIMPLE.replace("n = Tanh (biased)", "more = Add (biased, b2) n = Tanh (more)")
    changed, _ = same(loop(step, weights={**MORE, **SIMPLE_WEIGHTS}), "scan")
    assert operators(step_of(node_of(changed, "Scan")))["Add"] == 0


def test_what_is_said_of_a_step():
    assert lowered(loop())[1].what == "SimpleRNN; 1 state of 4; dynamic length"
    fixed = loop(SIMPLE.replace("Tanh", "Erf"), limit="two")
    assert lowered(fixed)[1].what == "custom cell; 1 state of 4; 2 steps"


def test_an_operator_without_a_rule_stays_and_is_told():
    step = SIMPLE.replace("xw =", "far = CumSum (x_t, one) xw =").replace("(x_t, W)", "(far, W)")
    changed, outcome = same(loop(step), "scan")
    assert left_in(node_of(changed, "Scan")) == ["CumSum", "MatMul", "Add"]
    assert "CumSum" in outcome.what
    assert "stay in the step" in outcome.what
