"""Reductions, running sums and products by equation are what ONNX Runtime gives."""

from __future__ import annotations

import numpy as np
import pytest

from rnnexport.emit.numpy.expression import Expression, Operand, OutputSpec, Use
from rnnexport.emit.numpy.rules import rule_of
from tests.emit.numpy.rendering import NOTHING, RANKS, SHAPES, check, drawn, int64, refused, text_of

X = drawn(3, 5, 4)
TIES = np.array([[3, 1, 3, 2, 3, 1], [0, 0, -1, -1, 5, 5]])
KNOWN = (SHAPES, RANKS, NOTHING)


AXES = [(0,), (1,), (-1,), (0, 2), (-1, 0), (0, 1, 2)]
FLOATING = ["ReduceMean", "ReduceSum", "ReduceSumSquare"]


@pytest.mark.parametrize("op", [*FLOATING, "ReduceMax", "ReduceMin", "ReduceProd"])
def test_reductions(op):

    exact = op in ("ReduceMax", "ReduceMin")
    close = {} if exact else {"rtol": 2e-5, "atol": 1e-5}
    for axes in AXES:
        for keep in (0, 1):
            check(op, X, int64(*axes), constant=(1,), attributes={"keepdims": keep}, known=KNOWN, **close)
    check(op, X, **close)
    check(op, X, attributes={"keepdims": 0}, known=KNOWN, **close)
    check(op, X, int64(), constant=(1,), **close)
    check(op, X, None, attributes={"noop_with_empty_axes": 1}, **close)
    check(op, X[0, 0, 1], attributes={"keepdims": 0}, **close)
    assert refused(op, X, int64(1)) == "with axes that are computed"


def test_how_reductions_are_written():
    texts = [
        text_of(op, X, int64(*axes), constant=(1,), attributes={"keepdims": keep})
        for op, axes, keep in (
            ("ReduceSum", (1,), 0),
            ("ReduceMean", (2,), 1),
            ("ReduceMax", (0, 1, 2), 0),
            ("ReduceSumSquare", (1, 2), 0),
        )
    ]
    assert texts == [
        "x0.sum(axis=1)",
        "x0.mean(axis=-1, keepdims=True)",
        "x0.max()",
        "np.square(x0).sum(axis=(1, -1))",
    ]


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceSumSquare"])
def test_reductions_of_integers(op):
    for dtype in (np.int32, np.int64):
        check(op, TIES.astype(dtype), int64(1), constant=(1,), attributes={"keepdims": 0})
    if op != "ReduceProd":
        assert text_of(op, TIES, int64(0), constant=(1,)).endswith("keepdims=True)")


def test_means_of_integers_are_refused():
    assert refused("ReduceMean", TIES, int64(1), constant=(1,)) == "of integers"


def test_the_axes_may_be_an_attribute():
    use = Use(
        "ReduceMax",
        (Operand(Expression("x"), "float32", (3, 4, 5)),),
        {"axes": [1], "keepdims": 0},
        (OutputSpec("float32", (3, 5)),),
    )
    assert rule_of("ReduceMax")(use).text == "x.max(axis=1)"


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
def test_where_extremes_are(op):
    for axis in (0, 1, -1):
        for keep in (0, 1):
            for last in (0, 1):
                attributes = {"axis": axis, "keepdims": keep, "select_last_index": last}
                check(op, TIES.astype(np.float32), attributes=attributes, known=KNOWN)
                check(op, TIES.astype(np.int32), attributes=attributes)


def test_running_sums():
    for exclusive in (0, 1):
        for reverse in (0, 1):
            attributes = {"exclusive": exclusive, "reverse": reverse}
            for axis in (0, 1, -1):
                close = {"rtol": 1e-5, "atol": 1e-5}
                check("CumSum", X, np.int64(axis), constant=(1,), attributes=attributes, known=KNOWN, **close)
                check("CumSum", TIES.astype(np.int32), np.int32(axis), constant=(1,), attributes=attributes)
            check("CumSum", drawn(0, 3), np.int64(0), constant=(1,), attributes=attributes)
            check("CumSum", drawn(1, 3), np.int64(0), constant=(1,), attributes=attributes)
    assert refused("CumSum", X, np.int64(0)) == "with axes that are computed"


def test_products_by_equation():
    a, b, c = drawn(3, 5, 4), drawn(4, 6, seed=1), drawn(3, 6, seed=2)
    check("Einsum", a, b, attributes={"equation": "bti,io->bto"}, known=KNOWN, rtol=1e-4, atol=1e-5)
    check("Einsum", a, b, c, attributes={"equation": "bti, io, bo -> bt"}, rtol=1e-4, atol=1e-4)
    check("Einsum", a, attributes={"equation": "...i->i..."})
    check("Einsum", a, b, attributes={"equation": "...i,ij"}, rtol=1e-4, atol=1e-5)
    text = text_of("Einsum", a, b, c, attributes={"equation": "bti, io, bo -> bt"})
    assert text == 'np.einsum("bti,io,bo->bt", x0, x1, x2, optimize=True)'
