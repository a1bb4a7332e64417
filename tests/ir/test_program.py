"""A program that is built by hand, read as text, and written as a program in NumPy."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from rnnexport.core.signature import Signature, TensorSpec
from rnnexport.emit.numpy.loading import opened
from rnnexport.emit.numpy.program import write_module
from rnnexport.ir.program import Carried, Function, If, Program, While, printed, scan
from rnnexport.ir.terms import Terms

FLOAT, BOOL, INT64 = ir.DataType.FLOAT, ir.DataType.BOOL, ir.DataType.INT64
PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"
RNG = np.random.default_rng(7)
WEIGHTS = {
    "kernel": RNG.normal(size=(2, 3)).astype(np.float32),
    "recurrent": RNG.normal(size=(3, 3)).astype(np.float32),
    "bias": RNG.normal(size=3).astype(np.float32),
}
X = TensorSpec("x", "float32", ("time", "batch", 2))
Y = TensorSpec("y", "float32", ("time", "batch", 3))


def inputs_of(terms):
    x = terms.input("x", FLOAT, (None, None, 2))
    return x, [terms.input(name, FLOAT, array.shape) for name, array in WEIGHTS.items()]


def simple_rnn():
    """h = tanh(x @ kernel + h @ recurrent + bias), from rows of 0.25."""
    terms = Terms()
    x, (kernel, recurrent, bias) = inputs_of(terms)
    projected = terms.elementwise("Add", terms.matmul(x, kernel), bias)
    h = terms.leaf("State", None, FLOAT, (None, 3))
    after = terms.elementwise("Tanh", terms.elementwise("Add", terms.element(projected), terms.matmul(h, recurrent)))
    start = terms.const(np.full((4, 3), 0.25, np.float32))
    each, _ = scan(terms, "model/rnn", [Carried(h, after, start)], [after], [(None, None, 3)])
    return Program(Signature((X,), (Y,)), WEIGHTS, Function("", (x, kernel, recurrent, bias), (each,)))


def computed(program, x):
    module = write_module(program, "by_hand")
    return opened(module.text, module.arrays, np.float64).step(x, {})[0]["y"]


def test_a_program_by_hand_computes_its_equation():
    x = RNG.normal(size=(5, 4, 2)).astype(np.float32)
    h, wanted = np.full((4, 3), 0.25), []
    for x_t in x.astype(np.float64):
        h = np.tanh(x_t @ WEIGHTS["kernel"] + h @ WEIGHTS["recurrent"] + WEIGHTS["bias"])
        wanted.append(h)
    np.testing.assert_allclose(computed(simple_rnn(), x), wanted, rtol=1e-12)


def test_the_page_shows_a_program_as_it_is_printed():
    (shown,) = re.findall(r"```text\n(def rnn.*?)```", PAGE.read_text(), re.DOTALL)
    assert printed(simple_rnn()) == shown


def test_a_loop_that_the_data_end_and_a_choice_are_printed():
    terms = Terms()
    x = terms.input("x", FLOAT, (3,))
    number, on = terms.leaf("State", None, INT64, ()), terms.leaf("State", None, BOOL, ())
    h = terms.leaf("State", None, FLOAT, (3,))
    after = terms.elementwise("Add", h, x)
    total = terms.call("ReduceMax", [after], {"keepdims": 0}, [(FLOAT, ())])[0]
    goes_on = terms.elementwise("Less", total, terms.const(np.float32(9)), dtype=BOOL)
    step = Function("model/halting", (number, on, h, x), (goes_on, after))
    loop = While(
        inputs=(None, terms.const(True), x, x), results=((FLOAT, (3,)),), step=step, leading=2, states=1, outputs=0
    )
    (last,) = terms.add(loop)
    (chosen,) = terms.add(If(inputs=(goes_on, last, x), results=((FLOAT, (3,)),)))
    y = TensorSpec("y", "float32", (3,))
    program = Program(Signature((TensorSpec("x", "float32", (3,)),), (y,)), {}, Function("", (x,), (last,)))
    assert printed(program) == (
        "def halting(step: int64[], goes_on: bool[], h: float32[3]; x: float32[3]):\n"
        "    v0 = Add(h, x) : float32[3]\n"
        "    v1 = ReduceMax(v0, keepdims=0) : float32[]\n"
        "    v2 = Less(v1, 9.0) : bool[]\n"
        "    return v2, [], [v0]\n"
        "\n"
        "def model(x: float32[3]):\n"
        "    v0 = while halting(-, True, [x], x) : float32[3]\n"
        "    return v0\n"
    )
    np.testing.assert_array_equal(computed(program, np.array([1, 2, 2.5], np.float32)), [4, 8, 10])
    assert chosen.operands == (goes_on, last, x)


def test_equal_calls_are_one_and_leaves_of_their_own_are_not():
    terms = Terms()
    x, _ = inputs_of(terms)
    assert terms.input("x", FLOAT, (None, None, 2)) is x
    assert terms.element(x) is terms.element(x)
    assert terms.const([1, 2], np.int64) is terms.const([1, 2], np.int64)
    assert terms.leaf("State", None, FLOAT, (3,)) is not terms.leaf("State", None, FLOAT, (3,))
    with pytest.raises(AssertionError):
        _ = x.array
