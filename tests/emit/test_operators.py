"""Operators of ONNX in C, each against what it is in NumPy."""

from __future__ import annotations

import shutil

import numpy as np
import onnx
import pytest

from rnnexport.core.errors import ConversionError
from tests.emit.cprograms import QUICK, opened

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


@pytest.mark.parametrize(("time", "batch"), [(0, 1), (1, 0)])
def test_rows_of_different_lengths_are_turned_round(time, batch, tmp_path):
    shape = (5, 3, 2) if time == 0 else (3, 5, 2)
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 18]> g (float[{",".join(map(str, shape))}] x) => (float[N, M, 2] y)'
        "<int64[3] lengths = {2, 5, 1}>"
        f"{{ y = ReverseSequence<time_axis = {time}, batch_axis = {batch}>(x, lengths) }}"
    )
    model.graph.output[0].type.CopyFrom(model.graph.input[0].type)
    x = np.arange(30, dtype=np.float32).reshape(shape)
    by_row = np.moveaxis(x, batch, 0)
    wanted = np.stack([np.concatenate([row[:n][::-1], row[n:]]) for row, n in zip(by_row, (2, 5, 1), strict=True)])
    found = opened(model, tmp_path).run({"x": x})["y"]
    np.testing.assert_array_equal(found, np.moveaxis(wanted, 0, batch))


def of_one(text, dtype, shape, *inputs, result="float"):
    """A graph of one operator on inputs `a`, `b`, ... of that dtype and shape."""
    sizes = ",".join(map(str, shape))
    given = ", ".join(f"{dtype}[{sizes}] {name}" for name in inputs)
    return onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 18]> g ({given}) => ({result}[{sizes}] y) {{ {text} }}'
    )


NUMBERS = np.array([0.5, -0.5, np.nan, 7.25, -7.25, np.inf, -np.inf, 3.0, 1e-6, 0.0, -2.5], np.float32)
DIVISORS = np.array([0.3, -0.3, 3.0, -3.0, np.inf, -np.inf, np.nan, 1.0, 2.5], np.float32)
PAIRS = [each.ravel() for each in np.meshgrid(NUMBERS, DIVISORS)]
PLAIN = [*QUICK, "-DGENERATED_NO_VECTORS"]


@pytest.mark.parametrize("flags", [QUICK, PLAIN], ids=["vectors", "plain"])
def test_nan_is_kept_and_remainders_have_the_sign_of_the_divisor(flags, tmp_path):
    text = (
        "y = Max(a, b) least = Min(a, b) quotient = Div(a, b) rest = Mod<fmod = 1>(a, b) nan = IsNaN(a)"
        " infinite = IsInf(a) below = IsInf<detect_positive = 0>(a)"
    )
    model = of_one(text, "float", PAIRS[0].shape, "a", "b")
    for name, kind in (("least", 1), ("rest", 1), ("nan", 9), ("infinite", 9), ("below", 9)):
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, PAIRS[0].shape))
    a, b = PAIRS
    found = opened(model, tmp_path, flags=flags).run({"a": a, "b": b})
    with np.errstate(all="ignore"):
        wanted = {
            "y": np.maximum(a, b),
            "least": np.minimum(a, b),
            "rest": np.fmod(a, b),
            "nan": np.isnan(a),
            "infinite": np.isinf(a),
            "below": np.isneginf(a),
        }
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, name)


TURNED = """
    r = Mod<fmod = {fmod}>(a, b) exact = Equal(r, zero) left = Not(exact)
    one = Less({x}, zero) other = Less(b, zero) differ = Xor(one, other) turned = And(left, differ)
"""


@pytest.mark.parametrize("flags", [QUICK, PLAIN], ids=["vectors", "plain"])
def test_the_remainder_of_floats_has_the_sign_of_the_divisor(flags, tmp_path):
    """As `conversion.handlers.division` writes it, which is one operator for NumPy and C."""
    text = TURNED.format(fmod=1, x="r") + "more = Add(r, b) y = Where(turned, more, r)"
    a, b = (each[np.isfinite(PAIRS[1])] for each in PAIRS)
    model = of_one(text, "float", a.shape, "a", "b")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(0), "zero"))
    found = opened(model, tmp_path, flags=flags).run({"a": a, "b": b})["y"]
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(found, np.mod(a, b))


def test_integers_are_divided_downwards(tmp_path):
    a, b = (
        each.ravel() for each in np.meshgrid(np.array([7, -7, 6, -6, 0, 2**31 - 1], np.int32), [3, -3, 1, 2**31 - 1])
    )
    b = b.astype(np.int32)
    text = TURNED.format(fmod=0, x="a") + (
        "q = Div(a, b) less = Sub(q, one_less) y = Where(turned, less, q) cut = Mod<fmod = 1>(a, b)"
        " both = BitwiseAnd(a, b) either = BitwiseOr(a, b) unlike = BitwiseXor(a, b)"
    )
    model = of_one(text, "int32", a.shape, "a", "b", result="int32")
    for name, value in (("zero", 0), ("one_less", 1)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.int32(value), name))
    for name in ("r", "cut", "both", "either", "unlike"):
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, 6, a.shape))
    found = opened(model, tmp_path).run({"a": a, "b": b})
    wanted = {"y": a // b, "r": a % b, "cut": np.fmod(a, b), "both": a & b, "either": a | b, "unlike": a ^ b}
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, name)


@pytest.mark.parametrize("flags", [QUICK, PLAIN], ids=["vectors", "plain"])
def test_truth_values_alone_and_those_of_comparisons(flags, tmp_path):
    """A group of truth values alone; one that was loaded beside one that was computed."""
    text = "less = Less(x, zero) unlike = Xor(a, less) same = Equal(a, less) odd = Xor(a, b) y = Not(odd)"
    model = of_one(text, "bool", (8,), "a", "b", result="bool")
    for name in ("unlike", "same", "odd"):
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, 9, (8,)))
    model.graph.input.append(onnx.helper.make_tensor_value_info("x", 1, (8,)))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(0), "zero"))
    a, b, negative = (np.array([at >> bit & 1 for at in range(8)], bool) for bit in range(3))
    x = np.where(negative, -1, 1).astype(np.float32)
    found = opened(model, tmp_path, flags=flags).run({"a": a, "b": b, "x": x})
    wanted = {"unlike": a ^ negative, "same": a == negative, "odd": a ^ b, "y": ~(a ^ b)}
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, name)


def test_largest_and_smallest_of_rows_keep_nan(tmp_path):
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[3, 4] x) => (float[3] y, float[3] least)'
        "{ y = ReduceMax<axes = [1], keepdims = 0>(x) least = ReduceMin<axes = [1], keepdims = 0>(x) }"
    )
    x = np.array([[np.nan, 1, 2, 3], [1, -4, np.nan, 0.5], [3, np.inf, -2, 0]], np.float32)
    found = opened(model, tmp_path).run({"x": x})
    np.testing.assert_array_equal(found["y"], x.max(1))
    np.testing.assert_array_equal(found["least"], x.min(1))


def test_an_operator_without_a_form_is_refused_by_its_name(tmp_path):
    """One of those that are written as one loop, whose form is looked for when all of them are known."""
    model = of_one("less = Less(a, b) y = Sub(less, less)", "int64", (3,), "a", "b", result="bool")
    model.graph.node[1].op_type = "Pow"
    model.graph.node[1].input[:] = ["a", "b"]
    model.graph.output[0].type.tensor_type.elem_type = 7
    with pytest.raises(ConversionError, match=r"no C form of Pow in .*: no row of C writes it for these dtypes"):
        opened(model, tmp_path)
