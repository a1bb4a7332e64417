"""Every reason why a recurrence is no native operator: each by a cell that meets it. Reasons without one are told."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest

import rnnexport.lowering
from rnnexport.lowering.activations import each
from rnnexport.lowering.algebra import Unreadable, number, plus
from tests.lowering import test_linear, test_refused_loops
from tests.lowering.small import SIMPLE, X, drawn, loop, refused

WEIGHTS = drawn(W=(3, 4), R=(4, 4), b=(4,), V=(4, 4), half=(4,), W2=(3, 4), rows=(12, 4), three_rows=(3, 4))
NUMBERS = {"back": np.array([2]), "end": np.array([1 << 30]), "nothing_th": np.array([0]), "huge": np.array(3e7)}
READ = "x_t = Gather <axis = 0> (x, i) a = MatMul (x_t, W)"
GATE = f"{READ} hr = MatMul (h, R) s = Add (a, hr) z = Sigmoid (s) v = MatMul (x_t, W2)"
CANDIDATE = "t = Tanh (v) one_z = Sub (one_f, z)"
LSTM = f"""{GATE} hv = MatMul (h, V) g_s = Add (v, hv) g = Tanh (g_s) kept = Mul (z, c) ig = Mul (z, g)
    c_n = Add (kept, ig) squashed = Tanh (c_n) n = Mul (z, squashed)"""
TWO = {"states": {"h": "n", "c": "c_n"}}


def cell(step, **given):
    return {"step": step, **given}


def on_state(node):
    """A step in which this node makes `p` of the new state `m`, which is then added."""
    return cell(SIMPLE.replace("n =", "m =") + node + " n = Add (m, p)")


CELLS = {
    # reading
    "a state is DOUBLE, and ONNX Runtime has the operators for FLOAT alone": cell(
        "n = Tanh (h)", types={"h": "double[B,4]", "n": "double[B,4]"}, inputs=f"{X}, double[B,4] h_0"
    ),
    "a state has the shape [None, 2, 4], not (batch, units)": cell(
        f"{READ} w = Unsqueeze (a, first) n = Add (h, w)",
        types={"h": "float[B,2,4]", "n": "float[B,2,4]"},
        inputs=f"{X}, float[B,2,4] h_0",
    ),
    "a state has the shape [None, None], not (batch, units)": cell(
        f"{READ} n = Tanh (h)", types={"h": "float[B,N]", "n": "float[B,N]"}, inputs=f"{X}, float[B,N] h_0"
    ),
    "Sin is no part of LSTM, GRU or RNN": on_state("p = Sin (h)"),
    "Reshape of shape [] goes into the cell": on_state("w = Reshape (x_t, any) p = Add (h, w)")
    | {"inputs": f"{X}, int64[N] any"},
    "Element of shape [None, 1, 4] goes into the cell": cell(
        "x_t = Gather <axis = 0> (x, i) p = Add (h, x_t) n = ReduceSum <keepdims = 0> (p, first)",
        inputs="float[T,B,1,4] x",
    ),
    "a matrix product with something that is no constant": cell(SIMPLE, inputs=f"{X}, float[4,4] R"),
    "a split that is not of lanes": on_state("p, q = Split <axis = 0> (h)"),
    "a split into parts of unknown width": on_state("q, r = Split <axis = 1> (h, given) p = Concat <axis = 1> (r, q)")
    | {"inputs": f"{X}, int64[2] given"},
    "a slice at places that are no constants": on_state("p = Slice (h, given, end, first)")
    | {"inputs": f"{X}, int64[1] given"},
    "a slice that is not of lanes": on_state("p = Slice (h, nothing_th, first, nothing_th)"),
    "a slice with a step": on_state("q = Slice (h, nothing_th, end, first, back) p = Concat <axis = 1> (q, q)"),
    "a concatenation that is not of lanes": on_state("p = Concat <axis = 0> (h, h)"),
    "a clip between values that are no constants": on_state("p = Clip (h, low)") | {"inputs": f"{X}, float low"},
    "a clip between no bounds": on_state("p = Clip (h)"),
    "Min of two values": on_state("p = Min (h, xw)"),
    "Max of two values": on_state("p = Max (h, xw, zero)"),
    "Max of two values with a state in them": on_state("p = Max (h, xw)"),
    "a cast of a state": on_state("wide = Cast <to = 11> (h) p = Cast <to = 1> (wide)"),
    "a constant of several rows": on_state("p = Mul (h, three_rows)"),
    "1 / x or log(x) of a value with a state in it": on_state("p = Reciprocal (h)"),
    "two matrix products are multiplied": on_state("q = MatMul (h, R) r = MatMul (h, V) p = Mul (q, r)"),
    "a gated matrix product goes through another matrix": cell(
        f"{GATE} q = MatMul (h, V) w = Mul (z, q) u = MatMul (w, V) m = Add (u, v) n = Tanh (m)"
    ),
    # a sum of the gates
    "Softplus is no activation that ONNX Runtime has": cell(SIMPLE.replace("Tanh", "Softplus")),
    "a gate is no activation of a linear sum": cell(f"{READ} hh = Mul (h, h) s = Add (a, hh) n = Tanh (s)"),
    "the cell state goes through a matrix": cell(LSTM.replace("hr = MatMul (h, R)", "hr = MatMul (c, R)"), **TWO),
    "a gate reads a part of a state that ONNX does not give it": cell(
        LSTM.replace("hv = MatMul (h, V)", "hv = MatMul (c, V)"), **TWO
    ),
    # cells
    "its gates have different activations (HardSigmoid, Sigmoid), and ONNX has one for all": cell(
        LSTM.replace("ig = Mul (z, g)", "hard = HardSigmoid (s) ig = Mul (hard, g)"), **TWO
    ),
    "a gate is a constant that Sigmoid can't be held at": cell(
        f"{GATE} {CANDIDATE} rh = Mul (z, h) q = MatMul (rh, V) w = Add (q, v) g = Tanh (w)"
        " old = Mul (half, h) rest = Sub (one_f, half) new = Mul (rest, g) n = Add (old, new)",
        weights={**WEIGHTS, "half": np.full(4, 0.5)},
    ),
    "the state is carried on unchanged": cell(
        f"{GATE} hv = MatMul (h, V) t = Tanh (s) g = Tanh (hv) tg = Mul (t, g) p = Mul (z, tg) n = Add (h, p)"
    ),
    "what is added to the state has another weight than one minus that of the state": cell(
        f"{GATE} {CANDIDATE} hv = MatMul (h, V) other = HardSigmoid (hv) old = Mul (z, h)"
        " new = Mul (other, t) n = Add (old, new)"
    ),
    "what the state is multiplied with is no gate": cell(
        f"{GATE} {CANDIDATE} w = Mul (half, z) old = Mul (w, h) n = Add (old, t)"
    ),
    "it keeps something else than its last state": cell(
        f"{LSTM} keep = Gather (mask, i) h_m = Where (keep, n, h) c_m = Where (keep, c_n, c)"
        " p_m = Where (keep, c_n, p)",
        states={"h": "h_m", "c": "c_m", "p": "p_m"},
        inputs=f"{X}, bool[T,B,1] mask, float[B,4] c_0",
    ),
    "the candidate has several gates inside": cell(
        f"{GATE} {CANDIDATE} hv = MatMul (h, V) r = Sigmoid (hv) rh = Mul (r, h) zh = Mul (z, h)"
        " p = MatMul (rh, R) q = MatMul (zh, V)"
        " w = Add (p, q) g = Tanh (w) old = Mul (z, h) new = Mul (one_z, g) n = Add (old, new)"
    ),
    "a gate inside the candidate does not reset the state": cell(
        f"{GATE} {CANDIDATE} u = Exp (v) zv = Mul (z, u) p = MatMul (zv, V) g = Tanh (p) old = Mul (z, h)"
        " new = Mul (one_z, g) n = Add (old, new)"
    ),
    "a gate is squared": cell(f"{GATE} {CANDIDATE} zh = Mul (h, h) old = Mul (zh, z) n = Add (old, t)"),
    "what the cell state is multiplied with is no gate": cell(
        LSTM.replace("kept = Mul (z, c)", "half_z = Mul (half, z) kept = Mul (half_z, c)"), **TWO
    ),
    "the output is no gated activation of the cell state": cell(
        LSTM.replace("n = Mul (z, squashed)", "n = Tanh (s)"), **TWO
    ),
    "it has 3 states, and ONNX knows cells of one or two": cell(
        f"{LSTM} d_n = Mul (d, n)", states={"h": "n", "c": "c_n", "d": "d_n"}
    ),
    "the step is a polynomial of too many products": cell(
        f"{READ} t = Tanh (h) z = Sigmoid (h) u = Exp (a) p = Add (t, z) q = Add (p, u) w = Add (q, h)"
        " w2 = Mul (w, w) w4 = Mul (w2, w2) w8 = Mul (w4, w4) n = Tanh (w8)"
    ),
    "a constant so large that it rounds what it is added to": on_state("p = Add (h, huge)"),
    # what the operator is given, and gives
    "CumSum of the sequence can't be computed for all steps at once": cell(
        SIMPLE.replace("(x_t, W)", "(far, W)").replace("xw =", "far = CumSum (x_t, one) xw =")
    ),
    "what the cell is given in each step has no batch": cell(
        SIMPLE.replace("(sum, b)", "(sum, row)").replace("biased", "row = Gather (rows, i) biased", 1)
    ),
    "a step gives something else than its new state": cell(f"{SIMPLE} every = CumSum (n, one)", stacked=["every"]),
}


def built(given):
    given = dict(given)
    weights = {**NUMBERS, **WEIGHTS, **given.pop("weights", {})}
    taken = given.get("inputs", X).replace(",", " ").split()
    return loop(**given, weights={name: array for name, array in weights.items() if name not in taken})


@pytest.mark.parametrize("reason", CELLS)
def test_a_cell_that_is_no_native_operator(reason):
    told = refused(built(CELLS[reason]))
    assert reason in told["native"].split("; ")
    assert "scan" not in told


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (SIMPLE.replace("Tanh", "Erf"), "Erf is no part"),
        (SIMPLE.replace("Tanh", "Softmax"), "Softmax is no part"),
        (SIMPLE.replace("n = Tanh (biased)", "up = Greater (biased, zero) n = Where (up, biased, h)"), "Greater is no"),
    ],
)
def test_an_activation_that_is_none(step, reason):
    assert reason in refused(loop(step))["native"]


def test_values_of_other_widths_do_not_meet():
    """No valid model gets here; sums that are put together wrongly would."""
    with pytest.raises(Unreadable, match="values of 3 and 4 lanes meet"):
        plus(number(1.0, 3), number(1.0, 4))
    with pytest.raises(Unreadable, match="values of different widths meet"):
        each(plus, (number(1.0, 3),), (number(1.0, 4),))


# No valid model is known that gets there: the widths that ONNX infers are those of the normal forms.
UNREACHED = {
    "a choice that depends on a state",  # what compares the state is read first, and no part of a cell
    "a matrix product that broadcasts",
    "a state changes its width",
    "values of different widths meet",
    r"values of .+ and .+ lanes meet",
}


def written():
    """Every reason in the package, as a pattern."""
    for path in Path(rnnexport.lowering.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Refusal", "Unreadable"):
                text = node.args[0].orelse if isinstance(node.args[0], ast.IfExp) else node.args[0]
                if isinstance(text, ast.Constant):
                    yield re.escape(text.value).replace(r"\ ", " ")
                elif isinstance(text, ast.JoinedStr):
                    parts = [re.escape(part.value) if isinstance(part, ast.Constant) else ".+" for part in text.values]
                    yield "".join(parts).replace(r"\ ", " ")


def test_every_reason_has_a_test():
    told = [*CELLS, *test_refused_loops.LEFT, *test_refused_loops.OTHERS, *test_linear.REASONS]
    missing = {text for text in written() if not any(re.fullmatch(text, reason) for reason in told)}
    assert missing == UNREACHED
