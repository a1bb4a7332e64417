"""Arithmetic of sizes gives what ONNX Runtime computes of them, and shapes made of it are written with names."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from rnnexport.emit.numpy.expression import Expression, Operand, OutputSpec, Use, literal
from rnnexport.emit.numpy.rules import rule_of
from rnnexport.emit.numpy.rules.sizes import (
    chosen,
    compared,
    greatest,
    inverted,
    least,
    minus,
    plus,
    quotient,
    remainder,
    sized,
    times,
)
from tests.emit.numpy.rendering import Node, drawn, evaluated, int64, onnx_runtime

# Sizes to run with; the rule sees the names.
RUNS = [{"B": 2, "T": 5}, {"B": 1, "T": 1}, {"B": 3, "T": 0}]


def operand(item):
    """A scalar or a vector of sizes, or a constant array."""
    if isinstance(item, np.ndarray):
        text = literal(item) if item.ndim == 0 else Expression("no text")
        return Operand(text, str(item.dtype), item.shape, item)
    vector = isinstance(item, tuple)
    elements = item if vector else (item,)
    dtype = "bool" if elements and "==" in str(elements[0]) else "int64"
    return Operand(sized(elements, int(vector), dtype), dtype, (len(elements),) if vector else ())


def actual(item, names):
    if isinstance(item, np.ndarray):
        return item
    return np.asarray(
        eval(str(item).replace("'", ""), dict(names)), np.int64 if isinstance(item, tuple) and not item else None
    )


def check_sizes(op, *items, wanted, runs=RUNS, outputs=1, **attributes):
    """The rule gives these elements, which are ONNX Runtime's answers, in the text too."""
    answers = onnx_runtime(Node(op, tuple(actual(item, runs[0]) for item in items), attributes, outputs=outputs))
    results = tuple(OutputSpec(str(answer.dtype), answer.shape) for answer in answers)
    rule = rule_of(op)
    found = rule(Use(op, tuple(map(operand, items)), attributes, results))
    written = found if isinstance(found, tuple) else (found,)
    assert [expression.elements for expression in written] == (list(wanted) if outputs > 1 else [wanted])
    for names in runs:
        truths = onnx_runtime(Node(op, tuple(actual(item, names) for item in items), attributes, outputs=outputs))
        values = [evaluated([expression], names, np.float32)[0] for expression in written]
        for value, truth, expression in zip(values, truths, written, strict=True):
            assert np.asarray(value).shape == truth.shape
            np.testing.assert_array_equal(np.asarray(value), truth, err_msg=f"{names} {expression.text}")
            if truth.ndim:
                assert value.dtype == truth.dtype
    return written


def test_elementwise():
    check_sizes("Add", ("B", "T"), (1, "B"), wanted=("B + 1", "T + B"))
    check_sizes("Add", "T - 1", np.array(1), wanted=("T",))
    check_sizes("Add", (), np.array(1), wanted=())
    check_sizes("Sub", ("T", "T", 3), "T", wanted=(0, 0, "3 - T"))
    check_sizes("Sub", "T", np.array(1), wanted=("T - 1",))
    check_sizes("Mul", ("B", 1, 0, "T - 1"), ("T", "T", "T", 2), wanted=("B * T", "T", 0, "2 * (T - 1)"))
    check_sizes("Neg", ("T", 4, "T - 1"), wanted=("-T", -4, "1 - T"))
    check_sizes("Abs", ("T", -4), wanted=("T", 4))
    check_sizes("Mod", ("T", -7), int64(3), wanted=("T % 3", 2))
    check_sizes("Max", "T - 1", np.array(0), wanted=("max(T - 1, 0)",))
    check_sizes("Max", "T", np.array(0), wanted=("T",))
    check_sizes("Min", ("T", 9), int64(4), ("B", 2), wanted=("min(min(T, 4), B)", 2))


def test_division_is_toward_zero():
    check_sizes("Div", ("T", 7, -7, "T"), int64(2), wanted=("T // 2", 3, -3, "T // 2"))
    check_sizes("Div", "T - 4", np.array(2), wanted=("int((T - 4) / 2)",))
    check_sizes("Div", "6 * T", int64(-4)[0], wanted=("int(6 * T / -4)",))


def test_what_is_no_size_is_an_operator():
    found = rule_of("Div")(
        Use("Div", (operand((4, 5)), operand(int64(0, 1))), {}, (OutputSpec("int64", (2,)),)),
    )
    assert (found.elements, found.text) == (None, "truncated_quotient(np.array([4, 5]), no text)")
    found = rule_of("Abs")(Use("Abs", (operand("T - 1"),), {}, (OutputSpec("int64", ()),)))
    assert found.text == "np.abs(np.asarray(T - 1))"


def test_vectors():
    check_sizes("Concat", ("B",), int64(7, 8), ("T - 1",), wanted=("B", 7, 8, "T - 1"), axis=0)
    check_sizes("Gather", ("B", "T", 6), int64(-1, 0), wanted=(6, "B"))
    check_sizes("Gather", ("B", "T", 6), np.array(1), wanted=("T",))
    check_sizes("Slice", ("B", "T", 6), int64(1), int64(2**63 - 1), int64(0), wanted=("T", 6))
    check_sizes("Slice", ("B", "T", 6), int64(-1), int64(-9), int64(0), int64(-1), wanted=(6, "T", "B"))
    check_sizes("Squeeze", ("T",), int64(0), wanted=("T",))
    check_sizes("Unsqueeze", "T", int64(0), wanted=("T",))
    check_sizes("Reshape", "T", int64(1), wanted=("T",))
    check_sizes("Reshape", ("T",), int64(), wanted=("T",))
    check_sizes("Reshape", ("B", "T"), int64(-1), wanted=("B", "T"))
    check_sizes("Split", ("B", "T", 6), int64(1, 2), wanted=(("B",), ("T", 6)), outputs=2, axis=0)
    check_sizes("Expand", ("T",), int64(3), wanted=("T", "T", "T"))
    check_sizes("Identity", ("B", 3), wanted=("B", 3))
    check_sizes("Range", *(np.array(n) for n in (2, 9, 3)), wanted=(2, 5, 8))


def test_reductions():
    for keep in (0, 1):
        check_sizes("ReduceProd", ("B", "T", 6), wanted=("6 * (B * T)",), keepdims=keep)
        check_sizes("ReduceMax", ("B", "T"), wanted=("max(B, T)",), keepdims=keep)
        check_sizes("ReduceMin", ("B", 3, 2), wanted=("min(min(B, 3), 2)",), keepdims=keep)
        check_sizes("ReduceSum", ("B", "T", 1), int64(0), wanted=("B + T + 1",), keepdims=keep)


def test_comparisons_choose():
    check_sizes("Equal", ("B", 3, "T"), int64(-1, 3, 0), wanted=(False, True, "T == 0"))
    check_sizes("Less", ("B", 3), ("T", 5), wanted=("B < T", True))
    check_sizes("Where", np.array([True, False]), ("B", "T"), int64(7, 8), wanted=("B", 8))
    check_sizes("Where", ("B == 1",), ("T",), ("B",), wanted=("T if B == 1 else B",))
    check_sizes("Not", ("B == 1",), wanted=("not B == 1",))


def test_casts():
    check_sizes("Cast", ("B", 3), wanted=("B", 3), to=6)
    (narrow,) = check_sizes("Cast", ("B", 3), wanted=("B", 3), to=6)
    assert narrow.text == "np.array([B, 3], np.int32)"
    check_sizes("Cast", ("B", 0), wanted=("B != 0", False), to=9)
    check_sizes("Cast", ("B == 1",), wanted=("int(B == 1)",), to=7)
    found = rule_of("Cast")(Use("Cast", (operand("T"),), {"to": 1}, (OutputSpec("float32", ()),)))
    assert (found.text, found.needs_dtype, found.elements) == ("np.asarray(T, dtype)", True, None)


SIZES = [
    0,
    1,
    2,
    -3,
    "B",
    "T",
    "T - 1",
    "B + 2",
    "B * T",
    "T // 2",
    "min(B, 4)",
    "x.shape[1]",
    "-B",
    "B if B < T else 3",
]


class Shaped:
    shape = (4, 6)


@pytest.mark.parametrize("names", RUNS)
def test_every_pair_of_sizes_is_combined_rightly(names):
    space = {**names, "x": Shaped()}
    for a, b in itertools.product(SIZES, SIZES):
        left, right = (eval(str(size), dict(space)) for size in (a, b))
        cases = [
            (plus(a, b), left + right),
            (minus(a, b), left - right),
            (times(a, b), left * right),
            (least(a, b), min(left, right)),
            (greatest(a, b), max(left, right)),
            *((compared(sign, a, b), eval(f"{left} {sign} {right}")) for sign in ("==", "<", "<=", ">", ">=")),
            (inverted(compared("<", a, b)), not left < right),
            (chosen(compared("<", a, b), a, b), left if left < right else right),
        ]
        if right:
            cases += [(quotient(a, b), int(left / right)), (remainder(a, b), left % right)]
        for found, wanted in cases:
            assert eval(str(found), dict(space)) == wanted, (a, b, found)


@pytest.mark.parametrize(
    ("op", "items", "attributes", "text"),
    [
        ("Reshape", ("x", ("B", "T", 2, 3)), {}, "x.reshape(B, T, 2, 3)"),
        ("Reshape", ("x", ("T", -1, 2, 3)), {}, "x.reshape(T, B, 2, 3)"),
        ("Reshape", ("x", ("B", "T", -1, 3)), {}, "x.reshape(B, T, 2, 3)"),
        ("Reshape", ("x", ("B", -1, 3)), {}, "x.reshape(B, -1, 3)"),
        ("Reshape", ("x", (-1, 6)), {}, "x.reshape(-1, 6)"),
        ("Reshape", ("x", ("N", -1, 6)), {}, "x.reshape(N, -1, 6)"),
        ("Reshape", ("x", ("B", -1, 4)), {}, "x.reshape(B, -1, 4)"),
        ("Reshape", ("x", ("B * T", 6)), {}, "x.reshape(B * T, 6)"),
        ("Expand", ("x", ("B", "T", 6)), {}, "x"),
        ("Expand", (drawn(1, 1), ("B", 64)), {}, "np.full((B, 64), -0.47, dtype)"),
        ("Expand", ("x", (4, "B", "T", 1)), {}, "np.broadcast_to(x, (4, B, T, 6))"),
        ("Shape", (("B", "T", 2),), {}, "np.array([3])"),
        ("Expand", ("x", ("N", 1, 6)), {}, "expand(x, np.array([N, 1, 6]))"),
        ("ConstantOfShape", (("B", 64),), {}, "np.zeros((B, 64), dtype)"),
        ("Tile", ("x", (1, "B", 1)), {}, "np.tile(x, (1, B, 1))"),
        ("Slice", ("x", int64(0), ("T - 1",), int64(1)), {}, "x[:, :T - 1]"),
        ("Slice", ("x", ("T - 1",), ("T",), int64(1)), {}, "x[:, T - 1:]"),
        ("Slice", ("x", ("T - 1",), int64(-(2**63)), int64(1), int64(-1)), {}, "x[:, ::-1]"),
        ("Gather", ("x", "T - 1"), {"axis": 1}, "x[:, T - 1]"),
        ("Range", (np.array(0), "T", np.array(1)), {}, "np.arange(T)"),
        ("Range", ("T - 1", np.array(-1), np.array(-1)), {}, "np.arange(T - 1, -1, -1)"),
        ("Pad", ("x", (0, 0, 0, 0, "8 - T", 0)), {}, "np.pad(x, ((0, 0), (0, 8 - T), (0, 0)))"),
        ("TopK", ("x", ("min(T, 3)",)), {"axis": 1}, "top_k(x, min(T, 3), axis=1)"),
    ],
)
def test_sizes_are_written_as_sizes(op, items, attributes, text):
    x = Operand(Expression("x"), "float32", ("B", "T", 6))
    inputs = tuple(x if isinstance(item, str) and item == "x" else operand(item) for item in items)
    if op == "Expand" and inputs[0] is not x:
        inputs = (Operand(Expression("c"), "float32", (1, 1), np.full((1, 1), -0.47, np.float32)), inputs[1])
    dtype = "int64" if op == "Range" else "float32"
    assert rule_of(op)(Use(op, inputs, attributes, (OutputSpec(dtype, None),))).text == text


def test_splits_by_sizes():
    x = Operand(Expression("x"), "float32", ("B", "T", 6))
    parts = rule_of("Split")(Use("Split", (x, operand((1, "T - 1"))), {"axis": 1}, (OutputSpec(None, None),) * 2))
    assert [part.text for part in parts] == ["x[:, :1]", "x[:, 1:]"]


def test_an_unknown_size_may_be_wider_than_what_one_is_expanded_to():
    """Converters tell 1 as the result there."""
    x = Operand(Expression("f(x)"), "float32", (None,))
    found = rule_of("Expand")(Use("Expand", (x, operand(("B", 1))), {}, (OutputSpec("float32", ("B", 1)),)))
    assert found.text == "expand(f(x), np.array([B, 1]))"
