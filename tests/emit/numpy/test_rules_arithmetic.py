"""Arithmetic, functions of one number, comparisons and choices give what ONNX Runtime gives."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rnnexport.emit.numpy.expression import Binding, Expression, Operand, OutputSpec, Use, literal
from rnnexport.emit.numpy.rules import rule_of
from tests.emit.numpy.rendering import (
    BFLOAT16,
    NOTHING,
    RANKS,
    SHAPES,
    Node,
    check,
    drawn,
    evaluated,
    float32,
    int64,
    onnx_runtime,
    text_of,
    written,
)

A, B = drawn(2, 3, 4), drawn(3, 1, seed=1)
POSITIVE = drawn(2, 5, low=0.1, high=9.0)
# Division by zero, and what has no number.
ODD = float32(0.0, -0.0, 1.5, -1.5, np.inf, -np.inf, np.nan, 1e38)
ODD_2 = float32(0.0, 1.0, 0.0, -0.0, np.inf, 2.0, 1.0, 1e38)
WHOLE = int64(-7, -6, -1, 0, 1, 6, 7, 7)
WHOLE_2 = int64(2, 3, 2, 5, -3, -4, 7, -2)
KNOWN = (SHAPES, RANKS, NOTHING)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Min", "Max"])
def test_two_operands(op):
    check(op, A, B, known=KNOWN, rtol=1e-7, atol=1e-7)
    check(op, B, A, known=KNOWN, rtol=1e-7, atol=1e-7)
    check(op, A, np.float32(0.2), constant=(1,), rtol=1e-7, atol=1e-7)
    check(op, np.float32(-0.2), A, constant=(0,), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
def test_what_is_no_number(op):
    check(op, ODD, ODD_2)
    check(op, ODD_2, ODD)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
def test_integers(op):
    for dtype in (np.int32, np.int64):
        check(op, WHOLE.astype(dtype), WHOLE_2.astype(dtype))
        check(op, WHOLE.astype(dtype), np.array(-3, dtype), constant=(1,))
    check(op, np.abs(WHOLE).astype(np.uint8), np.abs(WHOLE_2).astype(np.uint8))


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Pow"])
def test_two_literals_have_the_dtype(op):
    check(op, np.float32(0.3), np.float32(2.0), constant=(0, 1), rtol=1e-6)


@pytest.mark.parametrize("op", ["Neg", "Exp", "Abs", "Reciprocal", "Sqrt"])
def test_a_literal_has_the_dtype(op):
    check(op, np.float32(0.3), constant=(0,), rtol=1e-6)


@pytest.mark.parametrize("op", ["Min", "Max"])
def test_one_operand_and_four(op):
    check(op, A)
    check(op, A, B, drawn(4, seed=2), np.float32(0.7), constant=(3,), rtol=1e-6, atol=1e-7)


def test_extremes_of_integers():
    check("Max", WHOLE, np.int64(3), WHOLE_2, constant=(1,))
    check("Min", WHOLE.astype(np.int32), WHOLE_2.astype(np.int32))


def test_powers():
    check("Pow", POSITIVE, drawn(5, seed=4), known=(SHAPES, RANKS), rtol=1e-5)
    for exponent in (2.0, 3.0, 0.5, -1.0, 1.7):
        check("Pow", POSITIVE, np.float32(exponent), constant=(1,), rtol=2e-6)
    check("Pow", A, np.float32(2), constant=(1,), rtol=1e-6)
    check("Pow", np.float32(-2.0), WHOLE.astype(np.float32), constant=(0,), rtol=1e-6)
    check("Pow", A, np.full((3, 4), 3, np.int32), rtol=1e-6)
    check("Pow", A, np.int64(2), constant=(1,), rtol=1e-6)
    check("Pow", np.abs(WHOLE), np.int64(3), constant=(1,))
    check("Pow", np.abs(WHOLE), np.full(8, 2, np.int32))
    check("Pow", np.abs(WHOLE).astype(np.int32), np.float32(2), constant=(1,))
    assert text_of("Pow", A, np.float32(2), constant=(1,)) == "x0 ** 2"


def test_remainders():
    check("Mod", WHOLE, WHOLE_2)
    check("Mod", WHOLE.astype(np.int32), np.int32(4), constant=(1,))
    check("Mod", WHOLE, WHOLE_2, attributes={"fmod": 1})
    check("Mod", A, B, attributes={"fmod": 1}, rtol=1e-6)
    assert text_of("Mod", WHOLE, WHOLE_2) == "x0 % x1"


@pytest.mark.parametrize("bounds", [(-0.5, 0.7), (None, 0.7), (-0.5, None), (None, None), (0.9, 0.1)])
def test_clipping(bounds):
    limits = [None if bound is None else np.float32(bound) for bound in bounds]
    constant = tuple(at for at, limit in enumerate(limits, 1) if limit is not None)
    check("Clip", A, *limits, constant=constant)
    check("Clip", A, *limits)


def test_clipping_of_other_dtypes():
    check("Clip", WHOLE, np.int64(-3), np.int64(5), constant=(1, 2))
    check("Clip", np.float32(3.0), np.float32(-1), np.float32(1), constant=(0, 1, 2))
    assert text_of("Clip", A, np.float32(0), np.float32(6), constant=(1, 2)) == "np.clip(x0, 0.0, 6.0)"


BITS = np.array([0, 1, 6, 200], np.uint8), np.array([3, 1, 2, 7], np.uint8)


def test_bits():
    for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
        check(op, *BITS)
        check(op, *(part.astype(np.int32) for part in BITS))
    check("BitwiseNot", BITS[0])
    check("BitwiseNot", WHOLE)
    check("BitShift", *BITS, attributes={"direction": "LEFT"})
    check("BitShift", BITS[0].astype(np.uint32), np.uint32(2), constant=(1,), attributes={"direction": "RIGHT"})


UNIT = drawn(3, 5, low=-0.99, high=0.99)
FUNCTIONS = {
    **dict.fromkeys(("Abs", "Neg", "Sign", "Floor", "Ceil", "Exp", "Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh"), A),
    **dict.fromkeys(("Asinh", "Reciprocal", "Erf"), A),
    **dict.fromkeys(("Acos", "Asin", "Atanh"), UNIT),
    **dict.fromkeys(("Sqrt", "Log"), POSITIVE),
    "Acosh": POSITIVE + 1,
    "Round": float32(-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.4, -2.6, 1e20),
}


@pytest.mark.parametrize("op", FUNCTIONS)
def test_functions(op):
    exact = op in ("Abs", "Neg", "Sign", "Floor", "Ceil", "Round")
    check(op, FUNCTIONS[op], known=KNOWN, rtol=0 if exact else 3e-6)
    check(op, FUNCTIONS[op].ravel()[3], rtol=0 if exact else 3e-6)


@pytest.mark.parametrize("op", ["Abs", "Neg", "Floor", "Exp", "Log", "Sqrt", "Reciprocal", "Round", "IsNaN"])
def test_functions_of_what_is_no_number(op):
    check(op, ODD, rtol=1e-6)


def test_functions_of_integers():
    check("Abs", WHOLE)
    check("Neg", WHOLE.astype(np.int32))
    check("Sign", WHOLE)


def test_erf_is_as_exact_as_float64():
    points = np.concatenate([np.linspace(-7, 7, 5001), np.geomspace(1e-300, 1, 500), [0.0, -0.0, np.inf, -np.inf]])
    (value,) = evaluated([Expression("erf(x)", helpers=frozenset({"erf"}))], {"x": points}, np.float64)
    truth = np.array([math.erf(point) for point in points])
    assert np.max(np.abs(value - truth) / np.spacing(np.abs(truth) + 1e-308)) <= 4
    assert math.isnan(evaluated([Expression("erf(np.nan)", helpers=frozenset({"erf"}))], {}, np.float64)[0])


@pytest.mark.parametrize("op", ["Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"])
def test_comparisons(op):
    check(op, ODD, ODD_2, known=KNOWN)
    check(op, ODD, ODD)
    check(op, A, np.float32(0.3), constant=(1,))
    check(op, WHOLE, WHOLE_2)
    check(op, np.float32(0.3), np.float32(0.7), constant=(0, 1))


TRUTHS = np.array([[True, False], [True, False]]), np.array([True, True])


def test_truth_values():
    for op in ("And", "Or", "Xor", "Equal"):
        check(op, *TRUTHS)
        check(op, TRUTHS[0], np.bool_(True), constant=(1,))
        check(op, np.bool_(True), np.bool_(False), constant=(0, 1))
    check("Not", TRUTHS[0], known=KNOWN)
    check("Not", np.bool_(True), known=KNOWN)
    check("Not", np.bool_(True), constant=(0,))
    # `~True` is -2.
    assert text_of("Not", np.bool_(True)) == "np.logical_not(x0)"


def inline(op, *texts):
    """What a rule writes of expressions that are no names."""
    inputs = tuple(Operand(Expression(*text), "bool", (3,)) for text in texts)
    rule = rule_of(op)
    assert rule is not None
    return rule(Use(op, inputs, {}, (OutputSpec("bool", (3,)),)))


def test_not_equal_is_written_as_such():
    assert inline("Not", ("x == y", Binding.COMPARISON)).text == "x != y"
    assert inline("Not", ("(x == y) == z", Binding.COMPARISON)).text == "(x == y) != z"
    assert inline("Not", ('f(x, mode="==") == y[a == b]', Binding.COMPARISON)).text == ('f(x, mode="==") != y[a == b]')
    assert inline("Not", ("x < y", Binding.COMPARISON)).text == "~(x < y)"


@pytest.mark.parametrize(
    ("op", "texts", "written"),
    [
        ("Sub", [("a", 14), ("b - c", 9)], "a - (b - c)"),
        ("Sub", [("a - b", 9), ("c", 14)], "a - b - c"),
        ("Add", [("a", 14), ("b + c", 9)], "a + (b + c)"),
        ("Add", [("a", 14), ("-b", 11)], "a - b"),
        ("Sub", [("a", 14), ("-0.2", 11)], "a + 0.2"),
        ("Sub", [("a", 14), ("-b", 11)], "a + b"),
        ("Div", [("a", 14), ("b * c", 10)], "a / (b * c)"),
        ("Mul", [("a * b", 10), ("c", 14)], "a * b * c"),
        ("Mul", [("a", 14), ("b * c", 10)], "a * (b * c)"),
        ("Mul", [("a + b", 9), ("-c", 11)], "(a + b) * -c"),
        ("Pow", [("-x", 11), ("y", 14)], "(-x) ** y"),
        ("Pow", [("x ** y", 12), ("-z", 11)], "(x ** y) ** -z"),
        ("Pow", [("x", 14), ("y ** z", 12)], "x ** y ** z"),
        ("Neg", [("x + y", 9)], "-(x + y)"),
        ("Neg", [("x ** 2", 12)], "-x ** 2"),
        ("Less", [("a | b", 5), ("c < d", 4)], "a | b < (c < d)"),
        ("And", [("a < b", 4), ("c & d", 7)], "(a < b) & (c & d)"),
        ("Or", [("a & b", 7), ("c | d", 5)], "a & b | (c | d)"),
        ("Xor", [("a | b", 5), ("c & d", 7)], "(a | b) ^ c & d"),
    ],
)
def test_brackets_are_where_python_needs_them(op, texts, written):
    operands = tuple(Operand(Expression(text, Binding(binding)), "float32", (3,)) for text, binding in texts)
    rule = rule_of(op)
    assert rule is not None
    assert rule(Use(op, operands, {}, (OutputSpec("float32", (3,)),))).text == written


def test_infinities():
    check("IsInf", ODD)
    check("IsInf", ODD, attributes={"detect_negative": 0})
    check("IsInf", ODD, attributes={"detect_positive": 0})
    check("IsInf", ODD, attributes={"detect_negative": 0, "detect_positive": 0})


def test_choices():
    mask = A > 0
    check("Where", mask, A, B, known=KNOWN)
    check("Where", mask, A, np.float32(0), constant=(2,))
    for pair in ((1, 0), (0, 1), (0.2, -0.1)):
        for dtype in (np.float32, np.float16):
            found = check("Where", mask, *map(dtype, pair), constant=(1, 2))
    assert found[0][0].text == "np.where(x0, 0.2, -0.1).astype(half(dtype))"
    assert text_of("Where", mask, np.float32(1), np.float32(0), constant=(1, 2)) == "x0.astype(dtype)"
    check("Where", mask, np.int64(4), np.int64(5), constant=(1, 2))
    check("Where", mask, np.int32(4), np.int32(5), constant=(1, 2))
    check("Where", np.bool_(True), A, B, constant=(0,))


def test_literals_are_as_short_as_they_mean():
    assert literal(np.float32(0.2)).text == "0.2"
    assert literal(np.float32(1e-5)).text == "1e-05"
    assert literal(np.float16(0.1)).text == "0.1"
    assert literal(np.asarray(0.1, BFLOAT16)).text == "0.1"
    assert literal(np.float64(1 / 3)).text == "0.3333333333333333"
    assert literal(np.float32(1 / 3)).text == "(1 / 3)"
    assert literal(np.float32(-2)).text == "-2.0"
    assert literal(np.float32(-2)).binding == Binding.UNARY
    assert literal(np.float32(-0.0)).text == "-0.0"
    assert [literal(np.float32(value)).text for value in (np.inf, -np.inf, np.nan)] == ["np.inf", "-np.inf", "np.nan"]
    assert literal(np.int32(-3)).text == "-3"
    assert literal(np.bool_(True)).text == "True"


def test_division_of_unknown_dtype_is_refused():
    rule = rule_of("Div")
    unknown = Operand(Expression("x"), None, (3,))
    assert rule is not None
    with pytest.raises(Exception, match="unknown dtype"):
        rule(Use("Div", (unknown, unknown), {}, (OutputSpec(None, None),)))


def test_answers_are_computed_not_copied():
    node = Node("Add", (A, B), {})
    (expression,) = written(node, SHAPES, onnx_runtime(node))
    assert (expression.text, expression.binding) == ("x0 + x1", Binding.SUM)
