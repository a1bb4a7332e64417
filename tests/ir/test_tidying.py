"""Programs of small graphs: what several operators spell is said in one, where it is the same, and only there."""

from __future__ import annotations

import re

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from rnnexport.core.errors import ConversionError
from tests.emit.numpy.programs import called, written

HEAD = '<ir_version: 8, opset_import: ["" : 18]> graph '


def model(text):
    return onnx.parser.parse_model(HEAD + text)


def step_of(made):
    """What the model's own method computes, on one line a statement."""
    body = re.search(r"def step\(self.*?\n        (?=outputs = )(.*?)return", written(made).text, re.DOTALL)
    return body[1]


def same(made, *shapes, seed=3):
    """The program gives what ONNX Runtime gives, NaN and infinities too."""
    rng = np.random.default_rng(seed)
    feed = {}
    for value, shape in zip(made.graph.input, shapes, strict=True):
        array = rng.normal(size=shape).astype(np.float32) * 3
        array.ravel()[:1] = np.nan
        feed[value.name] = array
    session = ort.InferenceSession(made.SerializeToString())
    wanted = dict(zip([output.name for output in made.graph.output], session.run(None, feed), strict=True))
    found = called(made, feed)
    for name, right in wanted.items():
        np.testing.assert_allclose(found[name], right, rtol=1e-6, atol=1e-6)
        assert found[name].dtype == right.dtype


CASES = {
    "clip": (
        """(float[B, 3] x) => (float[B, 3] y)
        <float low = {0.25}, float high = {2}> { a = Min(x, high) y = Max(a, low) }""",
        [(4, 3)],
        "np.clip(x, 0.25, 2)",
    ),
    "no clip, the bounds crossed": (
        """(float[B, 3] x) => (float[B, 3] y)
        <float low = {2}, float high = {0.25}> { a = Min(x, high) y = Max(a, low) }""",
        [(4, 3)],
        "np.maximum(np.minimum(x, 0.25), 2)",
    ),
    "dense": (
        """(float[B, T, 4] x, float[4, 5] k) => (float[B, T, 5] y)
        <int64[2] flat = {-1, 4}, int64[2] lead = {0, 1}, int64[1] width = {5}> {
            a = Reshape(x, flat) b = MatMul(a, k) s = Shape(x) d = Gather(s, lead) e = Concat<axis = 0>(d, width)
            y = Reshape(b, e)
        }""",
        [(2, 3, 4), (4, 5)],
        "x @ k",
    ),
    "no dense, batch and time exchanged": (
        """(float[B, T, 4] x, float[4, 5] k) => (float[T, B, 5] y)
        <int64[2] flat = {-1, 4}, int64[2] lead = {1, 0}, int64[1] width = {5}> {
            a = Reshape(x, flat) b = MatMul(a, k) s = Shape(x) d = Gather(s, lead) e = Concat<axis = 0>(d, width)
            y = Reshape(b, e)
        }""",
        [(2, 3, 4), (4, 5)],
        "(x.reshape(-1, 4) @ k).reshape(",
    ),
    "vector": (
        """(float[B, T, 4] x, float[4] v) => (float[B, T] y)
        <int64[2] flat = {-1, 4}, int64[2] column = {4, 1}, int64[2] lead = {0, 1}> {
            a = Reshape(x, flat) c = Reshape(v, column) b = MatMul(a, c) s = Shape(x) d = Gather(s, lead)
            y = Reshape(b, d)
        }""",
        [(2, 3, 4), (4,)],
        "x @ v",
    ),
    "one step": (
        """(float[B, T, 4] x) => (float[B, 4] y)
        <int64[2] from = {0, 1}, int64[2] to = {2147483647, 2}, int64[2] axes = {0, 1}, int64[1] axis = {1}> {
            a = Slice(x, from, to, axes) y = Squeeze(a, axis)
        }""",
        [(2, 3, 4)],
        "x[:, 1]",
    ),
    "no one step, rows cut too": (
        """(float[B, T, 4] x) => (float[C, 4] y)
        <int64[2] from = {1, 1}, int64[2] to = {2147483647, 2}, int64[2] axes = {0, 1}, int64[1] axis = {1}> {
            a = Slice(x, from, to, axes) y = Squeeze(a, axis)
        }""",
        [(3, 3, 4)],
        "squeeze",
    ),
    "transposed twice": (
        """(float[B, T, 4] x) => (float[B, T, 4] y) {
            a = Transpose<perm = [2, 0, 1]>(x) y = Transpose<perm = [1, 2, 0]>(a)
        }""",
        [(2, 3, 4)],
        '"y": x}',
    ),
    "transposed twice, not back": (
        """(float[B, T, 4] x) => (float[T, 4, B] y) {
            a = Transpose<perm = [2, 0, 1]>(x) y = Transpose<perm = [2, 0, 1]>(a)
        }""",
        [(2, 3, 4)],
        "x.transpose(1, 2, 0)",
    ),
    "plus nothing": (
        """(float[B, 3] x) => (float[B, 3] y) <float[3] none = {0, 0, 0}> { y = Add(x, none) }""",
        [(4, 3)],
        '"y": x}',
    ),
    "plus nothing, but wider": (
        """(float[B, 1] x) => (float[B, 3] y) <float[3] none = {0, 0, 0}> { y = Add(x, none) }""",
        [(4, 1)],
        "x + np.array([0.0, 0.0, 0.0], dtype)",
    ),
    "reshaped twice": (
        """(float[B, 6] x) => (float[B, 3, 2] y)
        <int64[4] first = {-1, 2, 3, 1}, int64[1] last = {3}, int64[3] second = {-1, 3, 2}> {
            a = Reshape(x, first) b = Squeeze(a, last) y = Reshape(b, second)
        }""",
        [(4, 6)],
        "x.reshape(S, 3, 2)",
    ),
    "backwards": (
        """(float[T, B, 2] x) => (float[T, B, 2] y)
        <int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}> {
            s = Shape(x) n = Slice(s, zero, one) b = Slice(s, one, two) lengths = Expand(n, b)
            y = ReverseSequence<time_axis = 0, batch_axis = 1>(x, lengths)
        }""",
        [(3, 4, 2)],
        "x[::-1]",
    ),
    "a whole number beside an array": (
        """(float[B, 3] x) => (float[B, 3] y) <float one = {1}> { y = Sub(one, x) }""",
        [(4, 3)],
        "1 - x",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_tidied_computes_the_same(case):
    text, shapes, expected = CASES[case]
    made = model(text)
    assert expected in step_of(made)
    same(made, *shapes)


def test_a_branch_is_chosen():
    made = model("""(float[B, 3] x, bool c) => (float[B, 3] y) <float two = {2}> {
        y = If(c) <then_branch = t () => (float[B, 3] a) { a = Mul(x, two) },
                   else_branch = e () => (float[B, 3] b) { b = Neg(x) }>
    }""")
    x = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    assert np.array_equal(called(made, {"x": x, "c": np.array(True)})["y"], 2 * x)
    assert np.array_equal(called(made, {"x": x, "c": np.array(False)})["y"], -x)


def test_a_loop_that_the_data_ends_is_repeated():
    made = model("""(float[3] x) => (float[3] y, float[S] seen) <bool go = {1}, float ten = {10}, float two = {2}> {
        y, seen = Loop("", go, x) <body = b (int64 i, bool c, float[3] a) => (bool d, float[3] z, float m) {
            z = Mul(a, two) m = ReduceMax<keepdims = 0>(z) d = Less(m, ten)
        }>
    }""")
    x = np.array([0.5, 1.25, -2.0], np.float32)
    found = called(made, {"x": x})
    assert found["y"].tolist() == [4.0, 10.0, -16.0]
    assert found["seen"].tolist() == [2.5, 5.0, 10.0]
    assert "repeat(" in step_of(made) or "repeat(" in written(made).text


def test_an_operator_that_numpy_can_not_do_is_named_with_its_place():
    made = model("""(float[B, C, H, W] x, float[B, P, Q, 2] g) => (float[B, C, P, Q] y) { y = GridSample(x, g) }""")
    made.graph.node[0].name = "model/warp/GridSample"
    with pytest.raises(ConversionError, match="no NumPy form of GridSample in model/warp/GridSample"):
        written(made)


KNOWN_SIZES = {
    "a product of a stack and one that is broadcast": (
        """(float[1, 2, 3] q, float[B, 3, 5] k) => (int64[3] y) { p = MatMul(q, k) y = Shape(p) }""",
        [(1, 2, 3), (4, 3, 5)],
        [4, 2, 5],
    ),
    "what is expanded keeps its own sizes": (
        """(float[B, 3] x) => (int64[2] y) <int64[2] to = {1, 3}> { p = Expand(x, to) y = Shape(p) }""",
        [(4, 3)],
        [4, 3],
    ),
    "a part of a shape": (
        """(float[B, T, 7] x) => (int64[2] y) <int64[1] first = {0}, int64[1] seven = {7}> {
            s = Shape<start = 1>(x) t = Gather(s, first) c = Concat<axis = 0>(t, seven) o = ConstantOfShape(c)
            p = Exp(o) y = Shape(p)
        }""",
        [(2, 5, 7)],
        [5, 7],
    ),
    "steps of a slice are no axes": (
        """(float[3, 1] x) => (int64[1] y)
        <int64[1] zero = {0}, int64[1] one = {1}, int64[1] axis = {1}> {
            p = Slice(x, zero, one, "", one) q = Squeeze(p, axis) y = Shape(q)
        }""",
        [(3, 1)],
        [1],
    ),
}


@pytest.mark.parametrize("case", KNOWN_SIZES)
def test_sizes_that_are_known_are_true(case):
    text, shapes, expected = KNOWN_SIZES[case]
    made = model(text)
    feed = {value.name: np.zeros(shape, np.float32) for value, shape in zip(made.graph.input, shapes, strict=True)}
    assert called(made, feed)["y"].tolist() == expected


LOOP = """(float[T, B, 3] x, float[B, 3] h) => (float[P, Q] y, int64[S, 2] s) <bool go = {1}, int64[1] zero = {0}> {
    n = Shape<end = 1>(x) t = Squeeze(n, zero)
    y, s = Loop(t, go, h) <body = b (int64 i, bool c, float[P, Q] a) => (bool d, float[P, Q] z, int64[2] m) {
        d = Identity(c) e = Gather(x, i) m = Shape(a) %s
    }>
}"""


@pytest.mark.parametrize(
    ("step", "expected"), [("z = Concat<axis = 1>(a, e)", [3, 6, 9]), ("z = Add(a, e)", [3, 3, 3])]
)
def test_a_state_may_grow(step, expected):
    rng = np.random.default_rng(2)
    feed = {"x": rng.normal(size=(3, 2, 3)).astype(np.float32), "h": rng.normal(size=(2, 3)).astype(np.float32)}
    assert called(model(LOOP % step), feed)["s"].tolist() == [[2, width] for width in expected]


def test_a_step_asks_its_state_for_the_batch():
    made = model("""(float[T, B, 3] x, float[B, 3] h) => (float[B, 3] y) <bool go = {1}, int64[1] zero = {0}> {
        n = Shape<end = 1>(x) t = Squeeze(n, zero)
        y = Loop(t, go, h) <body = b (int64 i, bool c, float[B, 3] a) => (bool d, float[B, 3] z) {
            d = Identity(c) e = Gather(x, i) s = Shape(a) o = ConstantOfShape(s) p = Exp(o) q = Add(a, p) z = Add(q, e)
        }>
    }""")
    x, h = np.ones((4, 2, 3), np.float32), np.zeros((2, 3), np.float32)
    assert np.array_equal(called(made, {"x": x, "h": h})["y"], np.full((2, 3), 8, np.float32))


def test_a_loop_in_a_step_that_the_data_ends():
    made = model("""(float[T, 3] x, float[3] h) => (float[3] y) <bool go = {1}, int64[1] zero = {0}, float two = {2}> {
        n = Shape<end = 1>(x) t = Squeeze(n, zero)
        y = Loop(t, go, h) <body = b (int64 i, bool c, float[3] a) => (bool d, float[3] z) {
            d = Identity(c) e = Gather(x, i) f = Add(a, e)
            z = Loop("", c, f) <body = w (int64 j, bool k, float[3] g) => (bool l, float[3] m) {
                m = Div(g, two) o = ReduceMax<keepdims = 0>(m) l = Greater(o, two)
            }>
        }>
    }""")
    x = np.array([[9, 1, 1], [40, 2, 2]], np.float32)
    # 9 -> 4.5 -> 2.25 -> 1.125, then 41.125 five times halved
    expected = [41.125 / 32, (1 / 8 + 2) / 32, (1 / 8 + 2) / 32]
    assert called(made, {"x": x, "h": np.zeros(3, np.float32)})["y"].tolist() == expected


def test_numbers_are_arrays_where_nothing_makes_them_so():
    made = model("""(bool c) => (float y, float[1] z) <float one = {1.5}, float two = {2.5}, int64[1] axis = {0}> {
        y = Identity(one)
        a = If(c) <then_branch = t () => (float u) { u = Identity(one) },
                   else_branch = e () => (float v) { v = Identity(two) }>
        z = Unsqueeze(a, axis)
    }""")
    found = called(made, {"c": np.array(False)})
    assert (found["y"].dtype, found["y"].shape, found["y"].item()) == (np.float32, (), 1.5)
    assert (found["z"].dtype, found["z"].tolist()) == (np.float32, [2.5])


def test_a_zero_keeps_its_sign():
    made = model("(float[B] x) => (float[B] y) <float none = {-0.0}> { y = Mul(x, none) }")
    made.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.array(-0.0, np.float32), "none"))
    assert np.signbit(called(made, {"x": np.array([1, 2], np.float32)})["y"]).all()
