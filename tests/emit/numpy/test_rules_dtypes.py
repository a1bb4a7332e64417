"""Casts and constants have the values and dtypes that ONNX Runtime gives, and float64 rounds nothing."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from tests.emit.numpy.rendering import (
    BFLOAT16,
    RANKS,
    SHAPES,
    Node,
    check,
    drawn,
    evaluated,
    float32,
    int64,
    refused,
    tensor,
    text_of,
    written,
)

X = drawn(2, 5, 6)


def test_casts():
    x = float32(0.0, -0.0, 1.7, -1.7, 2.5, 300.25, -3.0)
    for to in (np.float16, np.float32, np.float64, np.int32, np.int64, bool):
        number = TensorProto.DataType.Value(
            {"float16": "FLOAT16", "float32": "FLOAT", "float64": "DOUBLE", "bool": "BOOL"}.get(
                np.dtype(to).name, np.dtype(to).name.upper()
            )
        )
        for value in (x, x[3], x.astype(np.float16), x.astype(np.int64), x.astype(np.int32), x > 0):
            rtol = 1e-3 if to is np.float16 else 0
            check("Cast", value, attributes={"to": number}, known=(SHAPES, RANKS), rtol=rtol)
        check("Cast", np.float32(2.0), attributes={"to": number}, constant=(0,))
        check("Cast", np.int64(2), attributes={"to": number}, constant=(0,))
    assert text_of("Cast", x, attributes={"to": TensorProto.FLOAT}) == "x0"
    assert text_of("Cast", x > 0, attributes={"to": TensorProto.FLOAT}) == "x0.astype(dtype)"
    assert text_of("Cast", x, attributes={"to": TensorProto.FLOAT16}) == "as_half(x0, dtype)"
    assert refused("Cast", x, attributes={"to": TensorProto.STRING}) == "to the dtype of number 8"
    assert refused("Cast", x, attributes={"to": TensorProto.COMPLEX64}) == "to the dtype of number 14"


def test_casting_what_is_no_integer_does_not_fail():
    node = Node("Cast", (float32(np.nan, np.inf, -np.inf, 1e30, 2.9),), {"to": TensorProto.INT32})
    (values,) = evaluated(written(node, SHAPES), {"x0": node.inputs[0]}, np.float32)
    assert (values.dtype, values[4]) == (np.int32, 2)


def test_bfloat16_rounds_to_even_and_stays_float32():
    points = np.concatenate(
        [drawn(2000, seed=3), drawn(500, low=-1e-38, high=1e-38), float32(0, -0.0, np.inf, -np.inf)]
    )
    points = np.concatenate([points, np.arange(0x3F800000, 0x3F840000, 0x2000, np.uint32).view(np.float32)])
    points = np.concatenate([points, float32(np.nan, 3.4e38), np.array([0x7FFFFFFF], np.uint32).view(np.float32)])
    node = Node("Cast", (points,), {"to": TensorProto.BFLOAT16})
    expressions = written(node, SHAPES)
    (values,) = evaluated(expressions, {"x0": points}, np.float32)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, points.astype(BFLOAT16).astype(np.float32))
    (exact,) = evaluated(expressions, {"x0": points.astype(np.float64)}, np.float64)
    np.testing.assert_array_equal(exact, points.astype(np.float64))


def test_half_is_not_rounded_in_float64():
    node = Node("Cast", (X,), {"to": TensorProto.FLOAT16})
    (exact,) = evaluated(written(node, SHAPES), {"x0": X.astype(np.float64)}, np.float64)
    np.testing.assert_array_equal(exact, X.astype(np.float64))
    made = text_of("ConstantOfShape", int64(2), constant=(0,), attributes={"value": tensor(0, dtype=np.float16)})
    assert made == "np.zeros((2,), half(dtype))"
