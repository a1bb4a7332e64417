"""Shapes, parts and arrays of one number are what ONNX Runtime makes, and sizes are written as sizes."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from rnnexport.emit.numpy.expression import Expression, Operand, OutputSpec, UnwrittenError, Use
from rnnexport.emit.numpy.rules import rule_of
from tests.emit.numpy.rendering import (
    NOTHING,
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
    use_of,
    written,
)

X = drawn(2, 5, 6)
KNOWN = (SHAPES, RANKS, NOTHING)
LETTERS = {2: "B", 5: "T"}


def test_shapes():
    for x in (X, drawn(0, 3), np.float32(2.0)):
        check("Shape", x, known=KNOWN)
        check("Size", x, known=KNOWN)
    for attributes in ({"start": 1}, {"start": -2, "end": -1}, {"end": 2}, {"start": 2, "end": 1}, {"end": -9}):
        check("Shape", X, attributes=attributes, known=KNOWN)
    check("Shape", X, letters=LETTERS)
    assert text_of("Shape", X, letters=LETTERS) == "np.array([B, T, 6])"
    assert text_of("Shape", X, known=RANKS) == "np.array([x0.shape[0], x0.shape[1], x0.shape[2]])"
    assert text_of("Shape", X, known=NOTHING) == "np.array(x0.shape, np.int64)"
    assert text_of("Size", X, letters=LETTERS) == "6 * (B * T)" or text_of("Size", X, letters=LETTERS) == "6 * B * T"


def test_the_shape_of_what_has_no_name_is_asked():
    use = Use("Shape", (Operand(Expression("f(x)"), "float32", (None, 3)),), {}, (OutputSpec("int64", (2,)),))
    found = rule_of("Shape")(use)
    assert (found.text, found.elements) == ("np.array(f(x).shape, np.int64)", None)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ((-1, 6), "x0.reshape(10, 6)"),
        ((0, -1), "x0.reshape(B, 30)"),
        ((0, 0, 2, 3), "x0.reshape(B, T, 2, 3)"),
        ((60,), "x0.reshape(60)"),
        ((1, -1), "x0.reshape(1, 60)"),
        ((5, -1, 6), "x0.reshape(5, -1, 6)"),
        ((0, 0, 6), "x0"),
        ((0, -1, 6), "x0"),
    ],
)
def test_reshape(target, text):
    check("Reshape", X, int64(*target), constant=(1,), known=KNOWN)
    check("Reshape", X, int64(*target))
    check("Reshape", X, int64(*target), constant=(1,), letters=LETTERS)
    assert text_of("Reshape", X, int64(*target), constant=(1,), letters=LETTERS) == text


def test_what_is_left_stays_open():
    target = int64(-1, 6)
    assert text_of("Reshape", X, target, constant=(1,), known=RANKS) == "x0.reshape(-1, 6)"


def test_reshape_of_the_empty_and_of_scalars():
    check("Reshape", drawn(0, 3), int64(0, 3), constant=(1,), attributes={"allowzero": 1})
    check("Reshape", drawn(0, 3), int64(3, 0), attributes={"allowzero": 1})
    check("Reshape", drawn(0, 3), int64(3, 0), constant=(1,), attributes={"allowzero": 1})
    check("Reshape", drawn(0, 3), int64(-1, 3), constant=(1,))
    check("Reshape", np.float32(2.0), int64(1, 1), constant=(1,), known=KNOWN)
    check("Reshape", np.float32(2.0), int64(1, 1), constant=(0, 1))
    check("Reshape", drawn(1, 1), int64(), constant=(1,))


def test_reshape_keeping_a_size_without_a_name_is_refused():
    inputs = (Operand(Expression("f(x)"), "float32", (None, 6)), Operand(Expression("s"), "int64", (2,), int64(0, -1)))
    with pytest.raises(UnwrittenError, match="keeps a size of an input without a name"):
        rule_of("Reshape")(Use("Reshape", inputs, {}, (OutputSpec(None, None),)))


def test_flatten():
    for axis in (0, 1, 2, 3, -1):
        check("Flatten", X, attributes={"axis": axis}, known=KNOWN)
    check("Flatten", drawn(3, 4))
    check("Flatten", drawn(0, 3, 4))
    check("Flatten", X, letters=LETTERS)
    assert text_of("Flatten", drawn(2, 3, 4), letters={2: "B"}) == "x0.reshape(B, 12)"


def test_squeeze():
    x = drawn(1, 3, 1, 1)
    for axes in ((0,), (2,), (-1,), (0, 2), (-2, 0)):
        check("Squeeze", x, int64(*axes), constant=(1,), known=KNOWN)
    check("Squeeze", x, known=KNOWN)
    assert text_of("Squeeze", x, int64(2), constant=(1,)) == "x0.squeeze(2)"
    assert refused("Squeeze", x, int64(2)) == "with axes that are computed"


def test_unsqueeze():
    for axes in ((0,), (1,), (2,), (3,), (-1,), (-2,), (1, 2), (0, 4), (-1, 0)):
        check("Unsqueeze", X, int64(*axes), constant=(1,), known=KNOWN)
    check("Unsqueeze", np.float32(2.0), int64(0), constant=(1,), known=KNOWN)
    check("Unsqueeze", np.float32(2.0), int64(0), constant=(0, 1))
    check("Unsqueeze", drawn(2, 3, 4, 5, 6), int64(4), constant=(1,))
    texts = [text_of("Unsqueeze", X, int64(axis), constant=(1,)) for axis in (0, 1, -1)]
    assert texts == ["x0[None]", "x0[:, None]", "x0[..., None]"]
    assert text_of("Unsqueeze", drawn(3), int64(-1), constant=(1,)) == "x0[:, None]"
    assert refused("Unsqueeze", X, int64(2)) == "with axes that are computed"


def test_transpose():
    for order in ((0, 1, 2), (1, 0, 2), (2, 1, 0), (2, 0, 1)):
        check("Transpose", X, attributes={"perm": order}, known=KNOWN)
    check("Transpose", X, known=KNOWN)
    check("Transpose", drawn(3, 4), known=KNOWN)
    check("Transpose", drawn(3), known=KNOWN)
    assert text_of("Transpose", X, attributes={"perm": (1, 0, 2)}) == "x0.transpose(1, 0, 2)"
    assert text_of("Transpose", drawn(3, 4)) == "x0.T"
    assert text_of("Transpose", X, attributes={"perm": (0, 1, 2)}) == "x0"


def test_expand_broadcasts_both_ways():
    for x, shape in (
        (drawn(3, 1), (2, 1, 4)),
        (drawn(3, 1), (1, 1)),
        (drawn(3, 4), (1,)),
        (drawn(1, 4), (3, 1)),
        (drawn(1), (0, 3)),
        (np.float32(2.0), (2, 3)),
    ):
        check("Expand", x, int64(*shape), constant=(1,), known=KNOWN)
        check("Expand", x, int64(*shape))
    check("Expand", np.array(True), int64(2, 3), constant=(0, 1))
    assert text_of("Expand", drawn(3, 4), int64(1), constant=(1,), known=RANKS) == "x0"
    assert text_of("Expand", drawn(1, 4), int64(2, 1), constant=(1,)) == "np.broadcast_to(x0, (2, 4))"


def test_expand_of_one_number_is_an_array_of_it():
    for dtype in (np.float32, np.float16, np.int32, np.int64, bool):
        for value in (0, 1, 3):
            check("Expand", np.array([[value]], dtype), int64(2, 3), constant=(0, 1))
    check("Expand", np.array(-0.0, np.float32), int64(2, 3), constant=(0, 1))
    texts = [text_of("Expand", np.float32(value), int64(2, 3), constant=(0, 1)) for value in (0, 1, 0.2)]
    assert texts == ["np.zeros((2, 3), dtype)", "np.ones((2, 3), dtype)", "np.full((2, 3), 0.2, dtype)"]


def test_arrays_of_one_number():
    check("ConstantOfShape", int64(2, 3), known=KNOWN)
    for value in (tensor(0.0), tensor(1.0), tensor(0.2), tensor(7, dtype=np.int64), tensor(True, dtype=bool)):
        check("ConstantOfShape", int64(2, 3), constant=(0,), attributes={"value": value})
        check("ConstantOfShape", int64(0, 3), constant=(0,), attributes={"value": value})
    check("ConstantOfShape", int64(), constant=(0,), attributes={"value": tensor(0.2)})
    check("ConstantOfShape", int64(3), constant=(0,), attributes={"value": tensor(1, dtype=np.int64)})
    check("ConstantOfShape", int64(3), constant=(0,), attributes={"value": tensor(1, dtype=np.int32)})
    assert text_of("ConstantOfShape", int64(2, 3), constant=(0,)) == "np.zeros((2, 3), dtype)"


def test_tile():
    for repeats in ((1, 2, 3), (2, 1, 1), (1, 1, 1), (0, 1, 1)):
        check("Tile", X, int64(*repeats), constant=(1,), known=KNOWN)
        check("Tile", X, int64(*repeats))
    assert text_of("Tile", X, int64(1, 1, 1), constant=(1,)) == "x0"


def test_identity():
    assert text_of("Identity", X) == "x0"
    check("Identity", X)


def test_ranges():
    for bounds in ((0, 7, 1), (2, 9, 3), (5, -4, -2), (3, 3, 1), (5, 2, 1), (-1, 40, 1)):
        check("Range", *map(np.int64, bounds), constant=(0, 1, 2), known=KNOWN)
        check("Range", *map(np.int64, bounds), known=KNOWN)
        check("Range", *map(np.int32, bounds))
        check("Range", *map(np.int32, bounds), constant=(0, 2))
    for bounds in ((0.0, 1.0, 0.1), (1.0, -1.0, -0.3), (0.5, 0.5, 1.0), (0.0, 5.0, 1.0)):
        check("Range", *map(np.float32, bounds), rtol=1e-6, atol=1e-6)
        check("Range", *map(np.float32, bounds), constant=(0, 1, 2), rtol=1e-6, atol=1e-6)
    # In float32 0.3 / 0.1 is 3, as TensorFlow counts; in float64 of the rounded numbers it is above.
    bounds = {"x0": np.float32(0.0), "x1": np.float32(0.3), "x2": np.float32(0.1)}
    written_range = written(Node("Range", tuple(bounds.values()), {}), SHAPES)
    np.testing.assert_allclose(evaluated(written_range, bounds, np.float32)[0], float32(0, 0.1, 0.2))
    assert text_of("Range", np.int64(0), np.int64(7), np.int64(1), constant=(0, 2)) == "np.arange(x1)"


def test_matrices():
    for k in (-1, 0, 2):
        check("EyeLike", drawn(3, 5), attributes={"k": k}, known=KNOWN)
        check("EyeLike", drawn(3, 5), attributes={"k": k, "dtype": TensorProto.INT64})


def test_depth_and_space():
    x = drawn(2, 12, 3, 5)
    check("DepthToSpace", x, attributes={"blocksize": 2})
    check("DepthToSpace", x, attributes={"blocksize": 2, "mode": "CRD"})
    check("SpaceToDepth", drawn(2, 3, 4, 6), attributes={"blocksize": 2})


def test_use_of_reads_as_told():
    use = use_of(Node("Add", (X, None), {}, (), 1, {5: "T"}), SHAPES)
    assert (use.operand(0).shape, use.inputs[1]) == ((2, "T", 6), None)
