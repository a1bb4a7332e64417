"""Elements at computed positions are what ONNX Runtime gives."""

from __future__ import annotations

import numpy as np
import pytest

from rnnexport.emit.numpy.expression import Expression
from rnnexport.emit.numpy.operators import closure_of, source_of
from tests.emit.numpy.rendering import (
    NOTHING,
    RANKS,
    SHAPES,
    check,
    drawn,
    evaluated,
    float32,
    int64,
    text_of,
)

X = drawn(3, 5, 4)
KNOWN = (SHAPES, RANKS, NOTHING)


def whole(*shape, below, seed=0):
    return np.random.default_rng([seed, *shape]).integers(-below, below, shape)


def test_gather_elements():
    for axis, size in ((0, 3), (1, 5), (2, 4), (-1, 4)):
        check("GatherElements", X, whole(3, 5, 4, below=size), attributes={"axis": axis}, known=KNOWN)
        check("GatherElements", X, whole(2, 1, 3, below=size), attributes={"axis": axis}, known=KNOWN)
    text = text_of("GatherElements", X, whole(3, 2, 4, below=5), attributes={"axis": 1})
    assert text == "np.take_along_axis(x0, x1, axis=1)"
    # One column of indices is of the first column alone: NumPy would broadcast it.
    assert text_of("GatherElements", X, whole(3, 1, 1, below=5), attributes={"axis": 1}).startswith("gather_elements(")


def test_gather_nd():
    check("GatherND", X, whole(2, 3, below=3), known=KNOWN)
    check("GatherND", X, whole(6, 2, 1, below=3), known=KNOWN)
    check("GatherND", X, whole(2, below=3), known=KNOWN)
    check("GatherND", X, whole(3, 6, 1, below=5), attributes={"batch_dims": 1}, known=KNOWN)
    check("GatherND", X, whole(3, 2, below=4), attributes={"batch_dims": 1})
    check("GatherND", X, whole(3, 5, 1, below=4), attributes={"batch_dims": 2})
    check("GatherND", drawn(3, 5, 4, 2), whole(3, 5, 6, 1, below=4), attributes={"batch_dims": 2})
    check("GatherND", X, np.zeros((0, 2), np.int64))


REDUCTIONS = ["none", "add", "mul", "max", "min"]


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_scatter_nd(reduction):
    attributes = {} if reduction == "none" else {"reduction": reduction}
    places = np.array([[2], [0]])
    check("ScatterND", X, places, drawn(2, 5, 4, seed=1), attributes=attributes, known=KNOWN, rtol=1e-6)
    check("ScatterND", X, np.array([[[2, 1], [0, -1]]]), drawn(1, 2, 4, seed=1), attributes=attributes, rtol=1e-6)
    if reduction != "none":
        twice = np.array([[2, 1, 0], [2, 1, 0], [1, 4, 3]])
        check("ScatterND", X, twice, drawn(3, seed=2), attributes=attributes, rtol=1e-6)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_scatter_elements(reduction):
    for axis in (0, 1, -1):
        attributes = {"axis": axis} if reduction == "none" else {"axis": axis, "reduction": reduction}
        places = np.moveaxis(np.argsort(drawn(2, 3, 3), axis=-1), -1, axis)
        check("ScatterElements", X, places, drawn(*places.shape, seed=1), attributes=attributes, rtol=1e-6)
        if reduction != "none":
            check("ScatterElements", X, places * 0 - 1, drawn(*places.shape), attributes=attributes, rtol=1e-5)


def test_scattering_leaves_the_operand_as_it_is():
    x = np.zeros(3, np.float32)
    expression = Expression("scatter_nd(x, i, u)", helpers=frozenset({"scatter_nd"}))
    evaluated([expression], {"x": x, "i": np.array([[1]]), "u": float32(5)}, np.float32)
    np.testing.assert_array_equal(x, np.zeros(3))


TIES = np.array([[3, 1, 3, 2, 3, 1], [0, 0, -1, -1, 5, 5]])


def test_top_k():
    for largest in (0, 1):
        for axis in (0, 1, -1):
            attributes = {"axis": axis, "largest": largest}
            check("TopK", X, int64(3), constant=(1,), attributes=attributes, outputs=2, known=KNOWN)
            check("TopK", X, int64(2), attributes=attributes, outputs=2)
        check("TopK", TIES.astype(np.float32), int64(4), attributes={"largest": largest}, outputs=2)
        check("TopK", TIES, int64(4), constant=(1,), attributes={"largest": largest}, outputs=2)
        check("TopK", X, int64(0), constant=(1,), attributes={"largest": largest}, outputs=2)
    assert text_of("TopK", X, int64(2), constant=(1,), outputs=2) == "top_k(x0, 2)"


def test_one_hot():
    for axis in (-1, 0, 1):
        attributes = {"axis": axis}
        indices = np.array([[0, 4], [-1, 2], [5, -6]])
        check("OneHot", indices, int64(5), float32(0, 1), constant=(1,), attributes=attributes)
        check("OneHot", indices, np.int64(5), float32(-0.5, 2.5), constant=(1, 2), attributes=attributes)
        check("OneHot", indices, np.int64(5), float32(0, 1), attributes=attributes)
    check("OneHot", np.array([1, 0]), np.int64(2), np.array([7, 9]))
    check("OneHot", np.array([1, 3]), int64(5), float32(0, 1), known=(SHAPES, RANKS))


def test_non_zero():
    check("NonZero", TIES, known=KNOWN)
    check("NonZero", np.array([True, False, True]))
    check("NonZero", np.zeros((2, 3), np.float32))


def test_unique():
    values = float32(3, 1, 2, 1, 3, 5)
    for ordered in (0, 1):
        check("Unique", values, attributes={"sorted": ordered}, outputs=4, known=KNOWN)
        check("Unique", values, attributes={"sorted": ordered}, outputs=1)
        check("Unique", values, attributes={"sorted": ordered}, outputs=2)
        check("Unique", TIES[:, [0, 2, 0, 1]], attributes={"sorted": ordered}, outputs=4)
        check("Unique", TIES[:, [3, 0, 2, 0, 1]], attributes={"sorted": ordered, "axis": 1}, outputs=4)
        check("Unique", TIES[[1, 0, 1]], attributes={"sorted": ordered, "axis": 0}, outputs=4)


def test_compress():
    condition = np.array([False, True, True])
    check("Compress", X, condition, attributes={"axis": 0}, known=KNOWN)
    check("Compress", X, condition, attributes={"axis": -1})
    check("Compress", X, condition)


def test_reverse_sequence():
    for time, batch, lengths in ((0, 1, (1, 3, 2, 3, 1)), (1, 0, (5, 1, 3))):
        attributes = {"time_axis": time, "batch_axis": batch}
        check("ReverseSequence", X, int64(*lengths), attributes=attributes, known=KNOWN)
        check("ReverseSequence", drawn(3, 5), int64(*lengths), attributes=attributes)


def test_what_a_function_calls_comes_before_it():
    names = closure_of(["scatter_nd", "as_half", "scatter_elements"])
    assert names.index("half") < names.index("as_half")
    assert names.index("put") < min(names.index("scatter_nd"), names.index("scatter_elements"))
    assert len(names) == len(set(names)) == 5
    assert names == closure_of(["scatter_elements", "scatter_nd", "as_half"])
    assert closure_of(["flatten"]) == ("flatten",)
    assert source_of("half").startswith("def half(")
