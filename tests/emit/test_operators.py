"""Operators of ONNX in C, each beside ONNX Runtime: all of a family in one program."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from rnnexport.core.errors import ConversionError
from rnnexport.core.signature import BATCH, Signature, TensorSpec
from rnnexport.emit.c.arrays import Array, letter
from rnnexport.emit.c.elementwise import NoFormError
from rnnexport.emit.c.interface import interface_of
from rnnexport.emit.c.operators.parts import sliced
from rnnexport.targets.c import compiler
from tests.emit.cprograms import QUICK, opened

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
RNG = np.random.default_rng(11)


def drawn(*shape):
    return RNG.standard_normal(shape).astype("float32")


def whole(*shape, below=7):
    return RNG.integers(-below, below, shape).astype("int32")


def places(*numbers):
    return np.array(numbers, "int64")


@dataclass(frozen=True, eq=False)
class Case:
    """An operator on arrays; the first `given` of them are inputs, the others constants."""

    op: str
    inputs: tuple[Any, ...]
    given: int = 1
    outputs: int = 1
    attributes: dict[str, Any] = field(default_factory=dict)


def case(op, *inputs, given=1, outputs=1, **attributes):
    return Case(op, inputs, given, outputs, attributes)


EDGES = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -2.5, 3.5, 20.0, -20.0, 1e-6, -1e-6], "float32")
POSITIVE = np.array([1e-6, 0.1, 0.5, 0.9, 1.0, 1.7, 33.0], "float32")
X = drawn(3, 5, 17)
PAIR = np.array([[[0, 4]], [[-1, 2]]], "int64")
ROWS = RNG.integers(0, 3, (2, 3, 4))
TRUTH = np.array([[True, False, True, False, True], [True, True, False, False, False]])

FAMILIES = {
    "unary": [
        *(
            case(op, EDGES)
            for op in (
                "Abs",
                "Neg",
                "Floor",
                "Ceil",
                "Round",
                "Sign",
                "Relu",
                "Sigmoid",
                "Tanh",
                "Exp",
                "Softplus",
                "Softsign",
                "Sin",
                "Cos",
                "Atan",
                "Erf",
                "Elu",
                "Selu",
                "LeakyRelu",
                "HardSigmoid",
            )
        ),
        *(case(op, POSITIVE) for op in ("Sqrt", "Log", "Reciprocal")),
        *(case(op, EDGES / 25) for op in ("Tan", "Sinh", "Cosh", "Asin", "Acos", "Asinh", "Atanh")),
        case("Elu", X, alpha=0.3),
        case("LeakyRelu", X, alpha=0.2),
        case("HardSigmoid", X, alpha=0.1, beta=0.4),
        case("Not", TRUTH),
        case("Abs", whole(4, 3)),
        case("Neg", whole(4, 3)),
        case("Sign", whole(4, 3)),
    ],
    "binary": [
        *(case(op, X, drawn(5, 1), given=2) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Less", "Greater")),
        *(case(op, whole(4, 3), whole(3), given=2) for op in ("Add", "Sub", "Mul", "Max", "Equal", "LessOrEqual")),
        *(case(op, TRUTH, ~TRUTH[:1], given=2) for op in ("And", "Or", "Xor", "Equal")),
        case("Div", whole(4, 3), np.array([2, -3, 5], "int32")),
        case("Mod", whole(4, 3), np.array([2, -3, 5], "int32")),
        case("Mod", X, np.float32(0.7), fmod=1),
        case("BitShift", *(RNG.integers(0, 9, (4, 3)).astype("uint8") for _ in "ab"), given=2, direction="LEFT"),
        case("BitShift", *(RNG.integers(0, 9, 5).astype("uint32") for _ in "ab"), given=2, direction="RIGHT"),
        case("Pow", POSITIVE, np.float32(2)),
        case("Pow", POSITIVE, drawn(7)),
        case("Where", TRUTH, drawn(2, 5), drawn(5), given=3),
        case("Where", TRUTH, whole(2, 5), whole(5), given=3),
        case("Clip", X, np.float32(-0.5), np.float32(0.7)),
        case("Clip", X, None, np.float32(0.7)),
        case("Cast", X, to=onnx.TensorProto.INT32),
        case("Cast", TRUTH, to=onnx.TensorProto.FLOAT),
        case("Cast", EDGES, to=onnx.TensorProto.BOOL),
        case("Cast", whole(4), to=onnx.TensorProto.INT64),
    ],
    "reductions": [
        *(
            case(f"Reduce{op}", X, places(*axes), keepdims=keep)
            for op in ("Sum", "Mean", "Max", "Min", "Prod", "SumSquare")
            for axes, keep in (((2,), 1), ((1,), 0), ((0, 2), 1), ((0, 1), 0))
        ),
        case("ReduceSum", X),
        case("ReduceMean", drawn(1, 40), places(-1)),
        case("ReduceSum", whole(4, 9), places(0)),
        case("ReduceMax", whole(3, 4, 5), places(1)),
        *(case(op, x, axis=axis) for op in ("Softmax", "LogSoftmax") for axis in (-1, 1) for x in (X, np.float64(X))),
        *(case(op, X, axis=axis, keepdims=keep) for op in ("ArgMax", "ArgMin") for axis, keep in ((1, 1), (2, 0))),
        case("ArgMax", np.array([[2, 5, 5, 1]], "float32"), axis=1, select_last_index=1),
        *(case("CumSum", X, np.int64(1), reverse=back, exclusive=without) for back in (0, 1) for without in (0, 1)),
    ],
    "parts": [
        case("Concat", X, drawn(3, 2, 17), given=2, axis=1),
        case("Slice", X, places(1), places(4), places(1)),
        case("Slice", X, places(-1, 0), places(-20, 5), places(2, 1), places(-2, 2)),
        case("Split", X, places(2, 3), outputs=2, axis=1),
        case("Transpose", X, perm=[2, 0, 1]),
        case("Reshape", X, places(0, -1)),
        case("Flatten", X, axis=2),
        case("Expand", drawn(5, 1), places(2, 5, 4)),
        case("Tile", X, places(2, 1, 3)),
        case("Squeeze", drawn(1, 4, 1), places(0)),
        case("Unsqueeze", X, places(1)),
        case("Pad", X, places(1, 0, 2, 0, 3, 1), np.float32(1.5)),
        case("Pad", X, places(0, 0, 2, 0, 0, 1)),
        case("Gather", X, np.array([[4, 0], [-1, 2]], "int64"), given=2, axis=1),
        case("Gather", X, places(3), axis=2),
        case("GatherND", X, np.array([[0, 4], [-1, 2]], "int64"), given=2),
        case("GatherND", drawn(2, 4, 3), np.array([[[0], [-1]], [[3], [1]]], "int64"), given=2, batch_dims=1),
        case("GatherElements", X, np.array([[[4, 0]], [[-1, 2]]], "int64"), given=2, axis=1),
        *(
            case("ScatterElements", X, ROWS, drawn(2, 3, 4), given=3, axis=axis, reduction=reduction)
            for axis, reduction in ((0, "none"), (1, "add"), (-1, "mul"), (1, "max"), (2, "min"))
        ),
        case("ScatterElements", whole(3, 5, 17), ROWS, whole(2, 3, 4), given=3, axis=1, reduction="max"),
        *(
            case(
                "ScatterND", X, np.array([[[0, 4]], [[-1, 2]]], "int64"), drawn(2, 1, 17), given=3, reduction=reduction
            )
            for reduction in ("none", "add", "mul", "max", "min")
        ),
        *(
            case("TopK", np.round(2 * X), places(3), outputs=2, axis=axis, largest=largest)
            for axis, largest in ((1, 1), (-1, 0), (0, 1))
        ),
        case("TopK", whole(4, 9), places(9), outputs=2),
        *(case("Pad", X, places(2, 0, 5, 1, 0, 6), mode=mode) for mode in ("reflect", "edge", "wrap")),
        case("Pad", X, places(-1, 0, 2, 0, -3, 1)),
        case("Pad", X, places(3, -1), None, places(-1), mode="edge"),
        *(case("DepthToSpace", drawn(2, 12, 3, 2), blocksize=2, mode=mode) for mode in ("DCR", "CRD")),
        case("SpaceToDepth", drawn(2, 3, 4, 6), blocksize=2),
        case("EyeLike", drawn(3, 5), k=1),
        case("OneHot", np.array([0, 3, -1, 9], "int64"), np.int64(4), np.array([0.5, 2.5], "float32")),
    ],
    "products": [
        case("MatMul", drawn(3, 5), drawn(5, 17), given=2),
        case("MatMul", drawn(3, 5, 9), drawn(9, 2)),
        case("MatMul", drawn(2, 1, 3, 5), drawn(4, 5, 6), given=2),
        case("MatMul", drawn(5), drawn(5, 6), given=2),
        case("MatMul", drawn(4, 21), drawn(21), given=2),
        case("MatMul", drawn(4, 21), drawn(21, 1), given=2),
        case("MatMul", drawn(2, 4, 9), drawn(2, 9, 1), given=2),
        case("MatMul", drawn(21), drawn(21), given=2),
        case("Gemm", drawn(5, 3), drawn(7, 5), drawn(7), given=3, transA=1, transB=1),
        case("Gemm", drawn(3, 5), drawn(5, 7), drawn(3, 7), given=3, alpha=0.5, beta=1.5),
        case("Gemm", drawn(3, 5), drawn(5, 7), drawn(3, 1)),
        case("Einsum", drawn(2, 3, 5), drawn(2, 5, 4), given=2, equation="bij,bjk->bik"),
        case("Einsum", drawn(2, 3, 5), drawn(7, 5), drawn(3), given=3, equation="bij, kj, i -> kb"),
        case("Einsum", drawn(2, 3, 4, 5), drawn(2, 3, 5, 6), given=2, equation="...ij,...jk->...ik"),
        case("Einsum", drawn(4, 4), equation="ii"),
        case("Einsum", drawn(3, 4), drawn(4, 2), given=2, equation="ij,jk"),
    ],
    "networks": [
        *(
            case("Conv", drawn(2, 4, *space), drawn(6, 4 // group, *size), drawn(6), given=1, group=group, **more)
            for space, size in (((11,), (3,)), ((7, 6), (3, 2)), ((4, 5, 3), (2, 3, 2)))
            for group in (1, 2)
            for more in (
                {},
                {"strides": [2] * len(size), "auto_pad": "SAME_UPPER"},
                {"dilations": [2] + [1] * (len(size) - 1), "pads": [2, *[1] * (2 * len(size) - 1)]},
            )
        ),
        case("Conv", drawn(2, 4, 11), drawn(6, 4, 3), given=2),
        case("BatchNormalization", np.float64(drawn(2, 3, 9)), *(np.float64(POSITIVE[1:4]) for _ in range(4))),
        *(
            case(op, drawn(2, 3, 9, 7), kernel_shape=[3, 2], **more)
            for op in ("MaxPool", "AveragePool")
            for more in ({}, {"strides": [2, 2], "pads": [1, 0, 1, 1]}, {"strides": [2, 3], "auto_pad": "SAME_LOWER"})
        ),
        case("AveragePool", drawn(2, 3, 9), kernel_shape=[3], pads=[1, 1], count_include_pad=1),
        case("GlobalAveragePool", drawn(2, 3, 9, 7)),
        case("GlobalMaxPool", drawn(2, 3, 9, 7)),
        *(
            case("ConvTranspose", drawn(2, 4, *space), drawn(4, 6 // group, *size), drawn(6), group=group, **more)
            for space, size in (((5,), (3,)), ((4, 3), (3, 2)))
            for group in (1, 2)
            for more in (
                {},
                {"strides": [2] * len(size), "auto_pad": "SAME_UPPER"},
                {"strides": [3] * len(size), "auto_pad": "SAME_LOWER"},
                {
                    "strides": [2] * len(size),
                    "pads": [1, *[0] * (2 * len(size) - 1)],
                    "output_padding": [1] * len(size),
                },
                {"dilations": [2] * len(size)},
            )
        ),
        *(
            case("Resize", drawn(1, 2, 5, 4), None, None, places(1, 2, 7, 9), **way)
            for way in (
                {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
                {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
                {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
                {"mode": "cubic", "cubic_coeff_a": -0.5},
            )
        ),
        case("Resize", drawn(1, 2, 5, 4), None, np.array([1, 1, 2, 1.5], "float32"), mode="linear"),
        case("InstanceNormalization", drawn(2, 3, 9, 4), drawn(3), drawn(3), epsilon=0.01),
        case("LRN", drawn(2, 7, 3, 2), size=3, alpha=0.5, beta=0.75, bias=2.0),
        case("BatchNormalization", drawn(2, 3, 9), drawn(3), drawn(3), drawn(3), np.abs(drawn(3)), epsilon=0.01),
        *(
            case("ReverseSequence", x, places(2, 5, 1), time_axis=time, batch_axis=batch)
            for x, time, batch in ((drawn(5, 3, 2), 0, 1), (drawn(3, 5, 2), 1, 0))
        ),
    ],
}


def model_of(cases):
    """One graph of all, what it is given, and what ONNX Runtime makes of it."""
    nodes, inputs, constants, feed = [], [], [], {}
    for number, each in enumerate(cases):
        names = [f"x{number}_{at}" if array is not None else "" for at, array in enumerate(each.inputs)]
        for at, (name, array) in enumerate(zip(names, each.inputs, strict=True)):
            if array is None:
                continue
            array = np.asarray(array)
            if at < each.given:
                feed[name] = array
                kind = helper.np_dtype_to_tensor_dtype(array.dtype)
                inputs.append(helper.make_tensor_value_info(name, kind, array.shape))
            else:
                constants.append(numpy_helper.from_array(array, name))
        results = [f"y{number}_{at}" for at in range(each.outputs)]
        nodes.append(helper.make_node(each.op, names, results, **each.attributes))
    results = [name for node in nodes for name in node.output]
    graph = helper.make_graph(nodes, "cases", inputs, [onnx.ValueInfoProto(name=name) for name in results], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    wanted = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, feed)
    for value, array in zip(model.graph.output, wanted, strict=True):
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        value.CopyFrom(helper.make_tensor_value_info(value.name, kind, array.shape))
    return model, feed, dict(zip(results, wanted, strict=True))


def wrong(cases, found, wanted):
    """The cases whose outputs differ, in words."""
    for name, array in wanted.items():
        each = cases[int(name[1:].partition("_")[0])]
        try:
            near = 1e-12 if array.dtype == np.float64 else 2e-5
            np.testing.assert_allclose(found[name], array, rtol=near, atol=near, strict=True)
        except AssertionError as error:
            shapes = [np.shape(given) for given in each.inputs]
            yield f"{each.op} {shapes} {each.attributes}: {' '.join(str(error).split())[:200]}"


@pytest.mark.parametrize("family", FAMILIES)
def test_operators(family, tmp_path):
    model, feed, wanted = model_of(FAMILIES[family])
    found = opened(model, tmp_path).run(feed)
    assert not list(wrong(FAMILIES[family], found, wanted))


def test_a_convolution_in_float64_keeps_its_digits(tmp_path):
    """ONNX Runtime has no kernel for it."""
    kernel, x = RNG.standard_normal((3, 2, 4)), RNG.standard_normal((1, 2, 9))
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> g (double[1, 2, 9] x) => (double[1, 3, 6] y) { y = Conv(x, kernel) }'
    )
    model.graph.initializer.append(numpy_helper.from_array(kernel, "kernel"))
    wanted = np.einsum("nctk,mck->nmt", np.lib.stride_tricks.sliding_window_view(x, 4, axis=2), kernel)
    np.testing.assert_allclose(opened(model, tmp_path).run({"x": x})["y"], wanted, rtol=1e-13, atol=1e-14)


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


@pytest.mark.parametrize("end", [10**9, 2**31 - 1, 2**63 - 1])
def test_a_slice_to_an_end_that_no_length_has_takes_all_of_an_open_one(end):
    """tf2onnx writes 10**9 where a slice of TensorFlow adds an axis, as that of a mask in attention does."""
    whole = Array("float32", (letter("T"), 3), (3, 1), "x")
    assert sliced(whole, 0, 0, end, 1).shape == (letter("T"), 3)
    assert sliced(whole, 1, 1, end, 1).shape == (letter("T"), 2)
    backwards = sliced(whole, 0, end, -end, -1)
    assert (backwards.shape, backwards.offset) == ((letter("T"), 3), (letter("T") - 1) * 3)
    with pytest.raises(NoFormError, match="how much it takes depends on the length"):
        sliced(whole, 0, 2, end, 1)


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
    """As `conversion.handlers.special` writes it, which is one operator for NumPy and C."""
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


@pytest.mark.parametrize("flags", [QUICK, PLAIN, compiler.FLAGS], ids=["vectors", "plain", "optimised"])
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


def test_a_size_that_the_data_tell_is_refused_by_its_output():
    x, y = TensorSpec("x", "float32", (BATCH, 4)), TensorSpec("places", "int64", (BATCH, "places_0"))
    with pytest.raises(ConversionError, match=r"places has a size that only the data tell: places_0; .*onnx"):
        interface_of(Signature((x,), (y,), ()), "m")


@pytest.mark.parametrize("parts", ["num_outputs = 3", "axis = 0"])
def test_sizes_are_split_where_the_length_is_open(parts, tmp_path):
    """`K.dot` of a sequence: its shape in pieces, which make the shape of the result."""
    given = ", lengths" if parts == "axis = 0" else ""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> g (float[batch, time, 4] x) => (float[batch, time, 2] y)'
        "<int64[3] lengths = {1, 1, 1}, int64[1] two = {2}, int64[2] flat = {-1, 4}>"
        f"{{ sizes = Shape(x) rows, steps, last = Split<{parts}>(sizes{given})"
        " wanted = Concat<axis = 0>(rows, steps, two) column = Reshape(x, flat)"
        " product = MatMul(column, w) y = Reshape(product, wanted) }"
    )
    w = drawn(4, 2)
    model.graph.initializer.append(numpy_helper.from_array(w, "w"))
    x = drawn(1, 5, 4)
    found = opened(model, tmp_path).run({"x": x})["y"]
    np.testing.assert_allclose(found, x @ w, rtol=1e-5, atol=1e-6, strict=True)
