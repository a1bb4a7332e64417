"""Functions that ONNX has not are written as NumPy has them, where the operators are those of our handlers."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from tests.emit.numpy.programs import called, written

HEAD = '<ir_version: 8, opset_import: ["" : 18]> graph '
LOG1P = """u = Add(x, one) l = Log(u) d = Sub(u, one) r = Div(x, d) m = Mul(l, r)
    e = Equal(u, one) i = Equal(u, inf) c = Or(e, i) y = Where(c, x, m)"""
EXPM1 = "h = Mul(x, half) t = Tanh(h) e = Exp(x) s = Add(e, one) y = Mul(t, s)"
MOD = """m = Mod<fmod = 1>(x, z) e = Equal(m, zero) n = Not(e) a = Less(m, zero) b = Less(z, zero) o = Xor(a, b)
    c = And(n, o) s = Add(m, z) y = Where(c, s, m)"""
NUMBERS = "<float one = {1}, float half = {0.5}, float zero = {0}, float inf = {INFINITY}, float two = {2}>"


def model(body):
    text = f"{HEAD}(float[B, 3] x, float[B, 3] z) => (float[B, 3] y) {NUMBERS} {{ {body} }}"
    return onnx.parser.parse_model(text.replace("INFINITY", "inf"))


FEED = {
    "x": np.array([[1e-6, -0.5, 3.0], [-7.5, 0.0, 90.0]], np.float32),
    "z": np.array([[2.0, -0.3, 1.0], [3.0, 5.0, -4.0]], np.float32),
}


@pytest.mark.parametrize(
    ("body", "text"), [(LOG1P, "np.log1p(x)"), (EXPM1, "np.expm1(x)"), (MOD, "x % z")], ids=["log1p", "expm1", "mod"]
)
def test_a_function_is_restored(body, text):
    made = model(body)
    assert f'{{"y": {text}}}' in written(made).text
    wanted = ort.InferenceSession(made.SerializeToString()).run(None, FEED)[0]
    np.testing.assert_allclose(called(made, FEED)["y"], wanted, rtol=1e-5)


LOOKALIKES = [
    (LOG1P.replace("Add(x, one)", "Add(x, two)"), "np.log1p"),
    (LOG1P.replace("Sub(u, one)", "Sub(u, two)"), "np.log1p"),
    (LOG1P.replace("Where(c, x, m)", "Where(c, z, m)"), "np.log1p"),
    (LOG1P.replace("Div(x, d)", "Div(z, d)"), "np.log1p"),
    (EXPM1.replace("Exp(x)", "Exp(z)"), "np.expm1"),
    (EXPM1.replace("Mul(x, half)", "Mul(x, two)"), "np.expm1"),
    (MOD.replace("Add(m, z)", "Add(m, x)"), "x % z"),
    (MOD.replace("Less(z, zero)", "Less(z, one)"), "x % z"),
    (MOD.replace("Less(m, zero)", "Less(x, zero)"), "x % z"),
]


@pytest.mark.parametrize(("body", "text"), LOOKALIKES)
def test_a_lookalike_stays_as_it_is(body, text):
    made = model(body)
    assert text not in written(made).text
    wanted = ort.InferenceSession(made.SerializeToString()).run(None, FEED)[0]
    np.testing.assert_allclose(called(made, FEED)["y"], wanted, rtol=1e-5, atol=1e-7)


def test_integers_divided_down():
    body = """q = Div(i, j) r = Mod(i, j) e = Equal(r, nil) n = Not(e) a = Less(i, nil) b = Less(j, nil) o = Xor(a, b)
        c = And(n, o) s = Sub(q, unit) y = Where(c, s, q)"""
    head = "(int32[4] i, int32[4] j) => (int32[4] y) <int32 nil = {0}, int32 unit = {1}>"
    made = onnx.parser.parse_model(f"{HEAD} {head} {{ {body} }}")
    assert '{"y": i // j}' in written(made).text
    feed = {"i": np.array([7, -7, 7, -6], np.int32), "j": np.array([2, 2, -2, 3], np.int32)}
    np.testing.assert_array_equal(called(made, feed)["y"], [3, -4, -4, -2])
