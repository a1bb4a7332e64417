"""Products of matrices give what ONNX Runtime gives, written as one would write them."""

from __future__ import annotations

import numpy as np
import pytest

from rnnexport.emit.numpy.expression import Binding, Expression, Operand, OutputSpec, Use
from rnnexport.emit.numpy.rules import rule_of
from tests.emit.numpy.rendering import NOTHING, RANKS, SHAPES, check, drawn, float32, text_of

KNOWN = (SHAPES, RANKS, NOTHING)
C = {"none": (), "row": (drawn(5, seed=2),), "whole": (drawn(3, 5, seed=2),), "column": (drawn(3, 1, seed=2),)}


@pytest.mark.parametrize(
    ("left", "right"),
    [
        *(((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((7, 1, 3, 4), (2, 4, 5))),
        *(((4,), (4, 5)), ((2, 3, 4), (4,)), ((4,), (4,)), ((0, 4), (4, 5)), ((3, 0), (0, 5))),
    ],
)
def test_a_product_of_any_ranks(left, right):
    found = check("MatMul", drawn(*left), drawn(*right, seed=1), known=KNOWN, rtol=1e-5, atol=1e-5)
    assert {expression.text for (expression,) in found} == {"x0 @ x1"}


def test_a_product_of_whole_numbers():
    check("MatMul", np.array([[1, -2], [3, 4]]), np.array([[5], [-6]]))


@pytest.mark.parametrize("c", C)
@pytest.mark.parametrize(
    ("attributes", "product"),
    [
        ({}, "x0 @ x1"),
        ({"transA": 1}, "x0.T @ x1"),
        ({"transB": 1, "alpha": 0.5}, "0.5 * (x0 @ x1.T)"),
        ({"transA": 1, "transB": 1, "alpha": -2.0, "beta": 0.25}, "-2.0 * (x0.T @ x1.T)"),
        ({"beta": 0.0}, "x0 @ x1"),
    ],
)
def test_a_general_product(attributes, product, c):
    left = drawn(4, 3) if "transA" in attributes else drawn(3, 4)
    right = drawn(5, 4, seed=1) if "transB" in attributes else drawn(4, 5, seed=1)
    found = check("Gemm", left, right, *C[c], attributes=attributes, known=KNOWN, rtol=1e-5, atol=1e-5)
    beta = attributes.get("beta", 1.0)
    addend = "" if c == "none" or beta == 0 else " + x2" if beta == 1 else f" + {beta} * x2"
    assert {expression.text for (expression,) in found} == {product + addend}


def test_a_constant_is_added_as_a_number():
    check("Gemm", drawn(3, 4), drawn(4, 5, seed=1), float32(1.5)[0], constant=(2,), rtol=1e-5, atol=1e-5)
    assert text_of("Gemm", drawn(3, 4), drawn(4, 5), float32(1.5)[0], constant=(2,)) == "x0 @ x1 + 1.5"


def written(op, attributes, *inputs):
    operands = tuple(Operand(expression, "float32", (3, 3)) for expression in inputs)
    rule = rule_of(op)
    assert rule is not None
    return rule(Use(op, operands, attributes, (OutputSpec("float32", (3, 3)),)))


def test_brackets_are_where_they_are_needed_and_where_they_tell_more():
    product = Expression("a @ b", Binding.PRODUCT)
    total = Expression("a + b", Binding.SUM)
    name, negative = Expression("w"), Expression("-a", Binding.UNARY)
    assert written("MatMul", {}, product, name).text == "(a @ b) @ w"
    assert written("MatMul", {}, name, product).text == "w @ (a @ b)"
    assert written("MatMul", {}, total, name).text == "(a + b) @ w"
    assert written("MatMul", {}, negative, negative).text == "-a @ -a"
    assert written("Gemm", {"transA": 1}, total, name).text == "(a + b).T @ w"
    assert written("Gemm", {"beta": 0.5}, name, name, total).text == "w @ w + 0.5 * (a + b)"
    assert written("Gemm", {}, name, name, total).text == "w @ w + (a + b)"


def test_what_the_parts_need_the_whole_needs():
    left, right = Expression("f(a)", helpers=frozenset({"f"})), Expression("b.astype(dtype)", needs_dtype=True)
    made = written("Gemm", {"alpha": 0.5, "beta": 2.0}, left, Expression("w"), right)
    assert (made.helpers, made.needs_dtype) == (frozenset({"f"}), True)
