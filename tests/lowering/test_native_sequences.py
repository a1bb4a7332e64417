"""The native operators over sequences: backwards, and in both directions at once."""

from __future__ import annotations

import copy

import numpy as np
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

from rnnexport.lowering.bidirectional import join_directions
from tests.lowering.small import (
    LENGTH,
    SIMPLE,
    SIMPLE_WEIGHTS,
    compared,
    drawn,
    loop,
    node_of,
    operators,
    same,
)
from tests.lowering.test_native import attributes

REVERSED = f"""{LENGTH}
    rows = Gather <axis = 0> (shape, one)
    count = Unsqueeze (rows, zero_axis)
    lengths = Expand (steps, count)
    y = ReverseSequence <batch_axis = 1, time_axis = 0> (x, lengths)
"""
WITH_AXIS = SIMPLE_WEIGHTS | {"zero_axis": np.array([0])}
TURN_BACK = "back = ReverseSequence <batch_axis = 1, time_axis = 0> (every_n, lengths)"


def test_a_sequence_from_the_end():
    """The outputs of the operator are in the order of the sequence, those of the Loop in that of the steps."""
    model = loop(SIMPLE.replace("(x, i)", "(y, i)"), around=REVERSED, weights=WITH_AXIS)
    changed, outcome = same(model, "native")
    node = node_of(changed, "RNN")
    assert attributes(node) == {"hidden_size": 4, "direction": "reverse"}
    assert node.inputs[0].name == "x"
    assert "backwards" in outcome.what


def test_the_reversed_sequence_itself_is_gone():
    changed, _ = same(loop(SIMPLE.replace("(x, i)", "(y, i)"), around=REVERSED, weights=WITH_AXIS), "native")
    assert operators(changed.graph)["ReverseSequence"] == 1  # of the outputs


def test_a_sequence_turned_back():
    """Two reversals are none."""
    model = loop(
        SIMPLE.replace("(x, i)", "(y, i)"),
        around=REVERSED,
        weights=WITH_AXIS,
        after=TURN_BACK,
        results=["last_h", "back"],
    )
    changed, _ = same(model, "native")
    assert operators(changed.graph)["ReverseSequence"] == 0


OPERATORS = {
    "RNN": (1, ["Relu"]),
    "GRU": (3, ["Sigmoid", "Softsign"]),
    "LSTM": (4, ["Sigmoid", "Softsign", "Tanh"]),
}


def pair(op, first="", second="", x_second="x", extra=("", "")):
    """Two operators over x, the second backwards, with their attributes."""
    gates, _ = OPERATORS[op]
    text = f"""
    <ir_version: 8, opset_import: ["": 17]>
    both (float[T,B,3] x, float[T,B,3] x_2, float[1,B,4] h) =>
        (float[T,1,B,4] yf, float[1,B,4] lf, float[T,1,B,4] yb, float[1,B,4] lb) {{
        y_1, l_1 = {op} <hidden_size = 4 {first}> (x, W_1, R_1, B_1 {extra[0]})
        y_2, l_2 = {op} <hidden_size = 4, direction = "reverse" {second}> ({x_second}, W_2, R_2, B_2 {extra[1]})
        yf = Identity (y_1) lf = Identity (l_1) yb = Identity (y_2) lb = Identity (l_2)
    }}"""
    model = parser.parse_model(text)
    for node in model.graph.node:
        node.input[:] = ["" if name == "nothing" else name for name in node.input]
    shapes = {"W": (1, 4 * gates, 3), "R": (1, 4 * gates, 4), "B": (1, 8 * gates), "P": (1, 12)}
    for at in (1, 2):
        for name, array in drawn(seed=at, **shapes).items():
            model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), f"{name}_{at}"))
    for node in model.graph.node:
        node.name = node.output[0]
    return model


def joined(model):
    changed = ir.from_proto(copy.deepcopy(model))
    count = join_directions(changed.graph)
    assert compared(model, changed) == []
    return count, changed


@pytest.mark.parametrize("op", OPERATORS)
def test_two_directions_are_one_operator(op):
    count, changed = joined(pair(op))
    assert count == 1
    node = node_of(changed, op)
    assert attributes(node) == {"hidden_size": 4, "direction": "bidirectional"}
    assert [value.shape[0] for value in node.inputs[1:4]] == [2, 2, 2]


@pytest.mark.parametrize("op", OPERATORS)
def test_activations_of_both_directions(op):
    """Those of one are the defaults, and are written out."""
    own = ", ".join(f'"{name}"' for name in OPERATORS[op][1])
    _, changed = joined(pair(op, second=f", activations = [{own}]"))
    defaults = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}[op]
    assert attributes(node_of(changed, op))["activations"] == defaults + OPERATORS[op][1]


def test_alphas_of_both_directions():
    relu = ', activations = ["LeakyRelu"], activation_alpha = [0.25]'
    elu = ', activations = ["Elu"], activation_alpha = [0.5]'
    _, changed = joined(pair("RNN", relu, elu))
    assert attributes(node_of(changed, "RNN"))["activation_alpha"] == [0.25, 0.5]


def test_peepholes_of_both_directions():
    count, changed = joined(
        pair("LSTM", extra=(", nothing, nothing, nothing, P_1", ", nothing, nothing, nothing, P_2"))
    )
    assert count == 1
    assert node_of(changed, "LSTM").inputs[7].shape[0] == 2


@pytest.mark.parametrize(
    "given",
    [
        {"op": "GRU", "x_second": "x_2"},
        {"op": "GRU", "first": ", linear_before_reset = 1"},
        {"op": "GRU", "first": ', direction = "reverse"'},
        {"op": "GRU", "extra": (", nothing, h", "")},
        {"op": "GRU", "extra": ("", ", nothing, h")},
        {"op": "LSTM", "extra": (", nothing, nothing, nothing, P_1", "")},
        {"op": "LSTM", "second": ", input_forget = 1"},
    ],
)
def test_operators_that_are_no_pair(given):
    assert joined(pair(**given))[0] == 0
