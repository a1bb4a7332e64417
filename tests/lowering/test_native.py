"""The native operators: what they are given, element by element, against weights that are laid out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.lowering.small import SIMPLE, SIMPLE_WEIGHTS, X, drawn, loop, node_of, operators, refused, same

GATES = "ifco"
LSTM_WEIGHTS = drawn(W=(3, 16), R=(4, 16), b=(16,), pi=(4,), pf=(4,), po=(4,))
LSTM = """
    x_t = Gather <axis = 0> (x, i)
    xw = MatMul (x_t, W)
    hr = MatMul (h, R)
    s = Add (xw, hr)
    q = Add (s, b)
    qi, qf, qc, qo = Split <axis = 1> (q)
    {peeps}
    f_i = Sigmoid (qi)
    f_f = Sigmoid (qf)
    f_c = Tanh (qc)
    kept = Mul (f_f, c)
    new = Mul (f_i, f_c)
    c_n = Add (kept, new)
    {last}
    f_o = Sigmoid (qo)
    out = Tanh (c_n)
    n = Mul (f_o, out)
"""
PEEPS = "ci = Mul (c, pi) qi_p = Add (qi, ci) cf = Mul (c, pf) qf_p = Add (cf, qf)"
LATE = "co = Mul (c_n, po) qo_p = Add (qo, co)"
PLAIN_LSTM = LSTM.format(peeps="", last="")
PEEPHOLES = (
    LSTM.format(peeps=PEEPS, last=LATE).replace("(qi)", "(qi_p)").replace("(qf)", "(qf_p)").replace("(qo)", "(qo_p)")
)
GRU_WEIGHTS = drawn(W=(3, 12), R=(4, 12), b=(12,), b_n=(4,), Rzr=(4, 8), Rn=(4, 4))
GRU_END = "zh = Mul (z, h) one_z = Sub (one_f, z) zg = Mul (one_z, g) n = Add (zh, zg)"
BEFORE = f"""
    x_t = Gather <axis = 0> (x, i)
    xw = MatMul (x_t, W)
    xb = Add (xw, b)
    xz, xr, xn = Split <axis = 1> (xb)
    hzr = MatMul (h, Rzr)
    hz, hr = Split <axis = 1> (hzr)
    sz = Add (xz, hz)
    sr = Add (xr, hr)
    z = Sigmoid (sz)
    r = Sigmoid (sr)
    rh = Mul (r, h)
    hn = MatMul (rh, Rn)
    s = Add (xn, hn)
    g = Tanh (s)
    {GRU_END}
"""
AFTER = f"""
    x_t = Gather <axis = 0> (x, i)
    xw = MatMul (x_t, W)
    xb = Add (xw, b)
    xz, xr, xn = Split <axis = 1> (xb)
    hall = MatMul (h, R)
    hz, hr, hn = Split <axis = 1> (hall)
    sz = Add (xz, hz)
    sr = Add (xr, hr)
    z = Sigmoid (sz)
    r = Sigmoid (sr)
    hn_b = Add (hn, b_n)
    rh = Mul (r, hn_b)
    s = Add (xn, rh)
    g = Tanh (s)
    {GRU_END}
"""
TWO = {"states": {"h": "n", "c": "c_n"}}


def given(node):
    """The tensors of an operator; the name of an input that is no constant."""
    arrays = []
    for value in node.inputs:
        known = None if value is None else value.const_value
        arrays.append(known.numpy() if known is not None else value and value.name)
    return arrays


def stacked(matrix, gates, order):
    """(1, G*H, I) from (I, G*H), the gates in another order."""
    pieces = dict(zip(gates, np.split(matrix.astype(np.float32), len(gates), -1), strict=True))
    return np.concatenate([pieces[gate].T for gate in order])[None]


def attributes(node):
    """As plain values, lists for tuples."""
    plain = {name: item.value for name, item in node.attributes.items()}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def native(model, op):
    """(its attributes, its inputs)."""
    changed, _ = same(model, "native")
    node = node_of(changed, op)
    return attributes(node), given(node)


def test_rnn():
    found, (x, w, r, b) = native(loop(), "RNN")
    assert found == {"hidden_size": 4}
    assert x == "x"
    np.testing.assert_array_equal(w, SIMPLE_WEIGHTS["W"].T.astype(np.float32)[None])
    np.testing.assert_array_equal(r, SIMPLE_WEIGHTS["R"].T.astype(np.float32)[None])
    np.testing.assert_array_equal(b, np.append(SIMPLE_WEIGHTS["b"].astype(np.float32), np.zeros(4))[None])


@pytest.mark.parametrize("step", [PLAIN_LSTM, PEEPHOLES], ids=["plain", "peepholes"])
def test_lstm(step):
    found, inputs = native(loop(step, weights=LSTM_WEIGHTS, **TWO), "LSTM")
    assert found == {"hidden_size": 4}
    np.testing.assert_array_equal(inputs[1], stacked(LSTM_WEIGHTS["W"], GATES, "iofc"))
    np.testing.assert_array_equal(inputs[2], stacked(LSTM_WEIGHTS["R"], GATES, "iofc"))
    bias = stacked(LSTM_WEIGHTS["b"], GATES, "iofc")
    np.testing.assert_array_equal(inputs[3], np.append(bias, np.zeros((1, 16)), 1))
    assert len(inputs) == (8 if step is PEEPHOLES else 4)
    if step is PEEPHOLES:
        assert inputs[4:7] == [None, None, None]
        peepholes = np.concatenate([LSTM_WEIGHTS[name] for name in ("pi", "po", "pf")]).astype(np.float32)
        np.testing.assert_allclose(inputs[7], peepholes[None], rtol=1e-6)


@pytest.mark.parametrize(("step", "after"), [(BEFORE, 0), (AFTER, 1)], ids=["reset before", "reset after"])
def test_gru(step, after):
    found, inputs = native(loop(step, weights=GRU_WEIGHTS), "GRU")
    assert found == {"hidden_size": 4} | ({"linear_before_reset": 1} if after else {})
    recurrent = GRU_WEIGHTS["R"] if after else np.append(GRU_WEIGHTS["Rzr"], GRU_WEIGHTS["Rn"], 1)
    np.testing.assert_array_equal(inputs[1], stacked(GRU_WEIGHTS["W"], "zrn", "zrn"))
    np.testing.assert_array_equal(inputs[2], stacked(recurrent, "zrn", "zrn"))
    behind = GRU_WEIGHTS["b_n"] if after else np.zeros(4)
    bias = np.concatenate([GRU_WEIGHTS["b"], np.zeros(8), behind]).astype(np.float32)
    np.testing.assert_array_equal(inputs[3], bias[None])
    assert len(inputs) == 4


def test_gru_of_a_flipped_update():
    """The share of the candidate is z: the gate of ONNX is 1 - z, which is the sigmoid of the negated sum."""
    flipped = AFTER.replace("Mul (z, h)", "Mul (one_z, h)").replace("Mul (one_z, g)", "Mul (z, g)")
    flipped = flipped.replace("one_z = Sub (one_f, z)", "").replace("zh =", "one_z = Sub (one_f, z) zh =")
    _, (_, w, r, b) = native(loop(flipped, weights=GRU_WEIGHTS), "GRU")
    sign = np.repeat([-1, 1, 1], 4)
    np.testing.assert_array_equal(w, stacked(GRU_WEIGHTS["W"] * sign, "zrn", "zrn"))
    np.testing.assert_array_equal(r, stacked(GRU_WEIGHTS["R"] * sign, "zrn", "zrn"))
    np.testing.assert_array_equal(b[0, :12], (GRU_WEIGHTS["b"] * sign).astype(np.float32))


def test_gru_of_a_flipped_hard_sigmoid():
    """One minus clip(s, 0, 1) is clip(1 - s, 0, 1): the slope goes into the weights."""
    flipped = AFTER.replace("Sigmoid", "HardSigmoid").replace("Mul (one_z, g)", "Mul (z, g)")
    flipped = flipped.replace("one_z = Sub (one_f, z)", "").replace("Mul (z, h)", "Mul (one_z, h)")
    flipped = flipped.replace("zh =", "one_z = Sub (one_f, z) zh =")
    found, (_, w, _, b) = native(loop(flipped, weights=GRU_WEIGHTS), "GRU")
    assert found["activations"] == ["HardSigmoid", "Tanh"]
    slopes = np.repeat([-0.2, 0.2, 1], 4)
    np.testing.assert_allclose(w, stacked(GRU_WEIGHTS["W"] * slopes, "zrn", "zrn"), rtol=1e-6)
    bias = GRU_WEIGHTS["b"] * slopes + np.repeat([0.5, 0.5, 0], 4)
    np.testing.assert_allclose(b[0, :12], bias, rtol=1e-5)


# Nodes that make `n` of `biased`: the activation, its alphas and betas.
ACTIVATIONS = {
    "n = Relu (biased)": (["Relu"], [], []),
    "n = Sigmoid (biased)": (["Sigmoid"], [], []),
    "n = Softsign (biased)": (["Softsign"], [], []),
    "n = LeakyRelu <alpha = 0.3> (biased)": (["LeakyRelu"], [0.3], []),
    "n = LeakyRelu (biased)": (["LeakyRelu"], [0.01], []),
    "n = Elu <alpha = 0.7> (biased)": (["Elu"], [0.7], []),
    "n = Elu (biased)": (["Elu"], [1.0], []),
    "n = HardSigmoid <alpha = 0.3, beta = 0.4> (biased)": (["HardSigmoid"], [1.0], [0.0]),
    "t = Tanh (biased) n = Mul (t, half)": (["ScaledTanh"], [0.5], [1.0]),
    "t = Neg (biased) n = Tanh (t)": (["Tanh"], [], []),
    "n = Identity (biased)": (["Affine"], [1.0], [0.0]),
}


@pytest.mark.parametrize("end", ACTIVATIONS)
def test_activations_of_rnn(end):
    weights = drawn(W=(3, 4), b=(4,)) | {"R": SIMPLE_WEIGHTS["R"] / 4, "half": np.array(0.5)}
    found, _ = native(loop(SIMPLE.replace("n = Tanh (biased)", end), weights=weights), "RNN")
    names, alphas, betas = ACTIVATIONS[end]
    assert found.get("activations", ["Tanh"]) == names
    assert found.get("activation_alpha", []) == pytest.approx(alphas)
    assert found.get("activation_beta", []) == pytest.approx(betas)


def test_alphas_go_to_the_activations_that_have_one():
    """Gates by hard sigmoid, a candidate by leaky relu, an output by elu: three alphas and one beta."""
    step = PLAIN_LSTM.replace("Sigmoid", "HardSigmoid").replace("Tanh (qc)", "LeakyRelu <alpha = 0.2> (qc)")
    step = step.replace("Tanh (c_n)", "Elu <alpha = 0.6> (c_n)")
    found, inputs = native(loop(step, weights=LSTM_WEIGHTS, **TWO), "LSTM")
    assert found["activations"] == ["HardSigmoid", "LeakyRelu", "Elu"]
    np.testing.assert_allclose(found["activation_alpha"], [1.0, 0.2, 0.6], rtol=1e-6)
    assert found["activation_beta"] == [0.0]
    scaled = stacked(LSTM_WEIGHTS["W"], GATES, "iofc") * np.repeat([0.2, 0.2, 0.2, 1], 4)[None, :, None]
    np.testing.assert_allclose(inputs[1], scaled, rtol=1e-6)


def test_initial_states():
    """Those that are zero are left out; others are given with a leading dimension."""
    inputs = f"{X}, float[B,4] c_0"
    changed, _ = same(loop(PLAIN_LSTM, inputs=inputs, weights=LSTM_WEIGHTS, **TWO), "native")
    _, *_, h_0, c_0 = node_of(changed, "LSTM").inputs
    assert h_0 is None
    assert [value.name for value in c_0.producer().inputs[:1]] == ["c_0"]
    assert c_0.producer().op_type == "Unsqueeze"
    changed, _ = same(loop(PLAIN_LSTM, inputs=f"{X}, float[B,4] h_0", weights=LSTM_WEIGHTS, **TWO), "native")
    *_, h_0 = node_of(changed, "LSTM").inputs
    assert h_0.producer().inputs[0].name == "h_0"
    assert len(node_of(changed, "LSTM").inputs) == 6


def test_states_are_told_apart_where_c_comes_first():
    model = loop(
        PLAIN_LSTM, {"c": "c_n", "h": "n"}, inputs=f"{X}, float[B,4] c_0, float[B,4] h_0", weights=LSTM_WEIGHTS
    )
    changed, _ = same(model, "native")
    sources = [value.producer().inputs[0].name for value in node_of(changed, "LSTM").inputs[5:]]
    assert sources == ["h_0", "c_0"]


def test_h_and_c_in_one_state():
    step = PLAIN_LSTM.replace("kept", "kept", 1) + "hc_n = Concat <axis = 1> (c_n, n)"
    step = "c, h = Split <axis = 1> (hc)" + step
    model = loop(
        step,
        {"hc": "hc_n"},
        types={"hc": "float[B,8]"},
        inputs=f"{X}, float[B,8] hc_0",
        weights=LSTM_WEIGHTS,
    )
    changed, outcome = same(model, "native")
    assert outcome.what.startswith("LSTM; 1 state of 8")
    cuts = [value.producer() for value in node_of(changed, "LSTM").inputs[5:]]
    starts = [cut.inputs[0].producer().inputs[1].const_value.numpy().item() for cut in cuts]
    assert starts == [4, 0]


def test_outputs_that_are_computed_after_the_loop():
    """From the new state, from the one before, and from both."""
    step = f"{SIMPLE} both = Add (n, h) old = Mul (h, one_f) far = MatMul (n, V) soft = Softmax <axis = 1> (far)"
    model = loop(
        step,
        stacked=("both", "old", "soft"),
        types={"soft": "float[B,2]"},
        inputs=f"{X}, float[B,4] h_0",
        weights=SIMPLE_WEIGHTS | drawn(V=(4, 2)),
    )
    changed, _ = same(model, "native")
    assert operators(changed.graph)["RNN"] == 1
    assert operators(changed.graph)["MatMul"] == 1


NUMBERS = {
    name: np.array(value, np.float32)
    for name, value in {"a": 1.7159, "b": 2 / 3, "mid": 0.5, "twice": 2.0, "off": 0.45, "most": 0.9}.items()
} | {"lane": np.float32([0.5, 2, 1.5, 0.7])}
SQUASHED = "out = Tanh (c_n)"
# What stands for the activation of the new cell state: what it is in the operator, its alpha and its beta.
OUTPUTS = {
    "to = Tanh (c_n) out = Mul (to, a)": ("ScaledTanh", 1.7159, 1.0),
    "co = Mul (c_n, b) to = Tanh (co) out = Mul (to, a)": ("ScaledTanh", 1.7159, 2 / 3),
    "co = Mul (c_n, b) out = Tanh (co)": ("ScaledTanh", 1.0, 2 / 3),
    "out = Mul (c_n, a)": ("Affine", 1.7159, 0.0),
}


@pytest.mark.parametrize("end", OUTPUTS)
def test_an_lstm_whose_output_is_a_scaled_activation(end):
    step = PLAIN_LSTM.replace(SQUASHED, end)
    found, _ = native(loop(step, weights=LSTM_WEIGHTS | NUMBERS, **TWO), "LSTM")
    name, alpha, beta = OUTPUTS[end]
    assert found["activations"] == ["Sigmoid", "Tanh", name]
    signs = np.sign(found["activation_alpha"] + found["activation_beta"])  # of a tanh, both may be turned round
    assert signs[0] * signs[1] == (1 if beta else 0)
    np.testing.assert_allclose(np.abs(found["activation_alpha"] + found["activation_beta"]), [alpha, beta], rtol=1e-6)


def by_tanh(source, target, scale="mid", offset="mid"):
    return f"w = Mul ({source}, mid) t = Tanh (w) u = Mul (t, {scale}) {target} = Add (u, {offset})"


def by_sigmoid(source, target, offset="one_f"):
    return f"w = Mul ({source}, twice) t = Sigmoid (w) u = Mul (t, twice) {target} = Sub (u, {offset})"


# A sigmoid that is a tanh, and a tanh that is a sigmoid: in front of what they stand for.
WRITTEN_OUT = {
    "an input gate": (PLAIN_LSTM, "f_i = Sigmoid (qi)", by_tanh("qi", "f_i")),
    "a forget gate": (PLAIN_LSTM, "f_f = Sigmoid (qf)", by_tanh("qf", "f_f")),
    "an output gate": (PLAIN_LSTM, "f_o = Sigmoid (qo)", by_tanh("qo", "f_o")),
    "a candidate": (PLAIN_LSTM, "f_c = Tanh (qc)", by_sigmoid("qc", "f_c")),
    "the activation of the cell": (PLAIN_LSTM, SQUASHED, by_sigmoid("c_n", "out")),
}


@pytest.mark.parametrize("what", WRITTEN_OUT)
def test_sigmoids_by_tanh_and_tanhs_by_sigmoid(what):
    step, old, new = WRITTEN_OUT[what]
    model = loop(step.replace(old, new), weights=LSTM_WEIGHTS | NUMBERS, **TWO)
    assert "activations" not in native(model, "LSTM")[0]


def test_an_update_gate_by_tanh_and_a_candidate_by_sigmoid():
    step = AFTER.replace("z = Sigmoid (sz)", by_tanh("sz", "z"))
    step = step.replace(
        "g = Tanh (s)", "w2 = Mul (s, twice) t2 = Sigmoid (w2) u2 = Mul (t2, twice) g = Sub (u2, one_f)"
    )
    assert "activations" not in native(loop(step, weights=GRU_WEIGHTS | NUMBERS), "GRU")[0]


LOOKALIKES = {
    "a gate from 0.05 to 0.95": ("f_i = Sigmoid (qi)", by_tanh("qi", "f_i", scale="off")),
    "a gate from -0.05 to 0.95": ("f_i = Sigmoid (qi)", by_tanh("qi", "f_i", offset="off")),
    "a candidate from -0.9 to 1.1": ("f_c = Tanh (qc)", by_sigmoid("qc", "f_c", offset="most")),
    "an output scaled lane by lane": (SQUASHED, "to = Tanh (c_n) out = Mul (to, lane)"),
    "a cell state scaled lane by lane in front of it": (SQUASHED, "co = Mul (c_n, lane) out = Tanh (co)"),
    "a shift in front of it": (SQUASHED, "co = Add (c_n, mid) out = Tanh (co)"),
    "another sum in front of it": (SQUASHED, "co = Add (c_n, kept) out = Tanh (co)"),
}


@pytest.mark.parametrize("what", LOOKALIKES)
def test_what_looks_like_a_scaled_activation_is_no_lstm(what):
    step = PLAIN_LSTM.replace(*LOOKALIKES[what])
    assert "native" in refused(loop(step, weights=LSTM_WEIGHTS | NUMBERS, **TWO))
