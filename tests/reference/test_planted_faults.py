"""A fault in what the converter makes of an operator is caught at any size that float64 can tell, and named."""

from __future__ import annotations

import math
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnnexport
from rnnexport.core.errors import ConversionError
from rnnexport.reference.float64 import Float64Run
from rnnexport.source.eager import reference
from tests.emit.numpy.doubles import described, normal, traced_functions, with_random_weights
from tests.reference.faults import attribute, before, formula, plant, swapped, with_constant

GROUP = pytest.mark.xdist_group("witness")
X = normal(4, 3, 5) * np.float32(2.5)


def series(terms):
    """A power series, which is right to float64 rounding on (-1, 1) alone."""

    def write(emit, x):
        total, power = emit("Mul", x, 0.0), emit("Add", emit("Mul", x, 0.0), 1.0)
        for term in terms:
            total, power = emit("Add", total, emit("Mul", power, term)), emit("Mul", power, x)
        return total

    return formula(write)


EXP = [1 / math.factorial(k) for k in range(20)]
SIN = [0.0 if k % 2 == 0 else (-1) ** (k // 2) / math.factorial(k) for k in range(12)]

# The operator, what is planted, and a function that uses it.
FAULTS = {
    "sign of Neg": ("Neg", formula(lambda emit, x: emit("Identity", x)), tf.negative),
    "sign of Tanh": ("Tanh", formula(lambda emit, x: emit("Neg", emit("Tanh", x))), tf.tanh),
    "sign of Cos": ("Cos", formula(lambda emit, x: emit("Neg", emit("Cos", x))), tf.cos),
    "sign of Log": ("Log", formula(lambda emit, x: emit("Neg", emit("Log", x))), lambda x: tf.math.log(tf.abs(x))),
    "axis of Softmax": (
        "Softmax",
        formula(lambda emit, x: emit("Softmax", x, axis=1)),
        tf.nn.softmax,
    ),
    "axis of Sum": ("Sum", before("Sum", with_constant(1, lambda axis: 1)), lambda x: tf.reduce_sum(x, [2], True)),
    "axis of Max": ("Max", before("Max", with_constant(1, lambda axis: 1)), lambda x: tf.reduce_max(x, [2], True)),
    "axis of ArgMax": (
        "ArgMax",
        before("ArgMax", with_constant(1, lambda axis: 1)),
        lambda x: tf.argmax(x[:3, :, :3], 2),
    ),
    "axis of Cumsum": ("Cumsum", before("Cumsum", with_constant(1, lambda axis: 1)), lambda x: tf.cumsum(x, 2)),
    "direction of Cumsum": (
        "Cumsum",
        before("Cumsum", attribute("reverse", lambda on: 1 - on)),
        lambda x: tf.cumsum(x, 2),
    ),
    "axes of Transpose": (
        "Transpose",
        before("Transpose", with_constant(1, lambda axes: [2, 0, 1])),
        lambda x: tf.transpose(x[:3, :, :3], [1, 2, 0]),
    ),
    "axis of ReverseV2": (
        "ReverseV2",
        before("ReverseV2", with_constant(1, lambda axis: [1])),
        lambda x: tf.reverse(x, [2]),
    ),
    "operands of Sub": ("Sub", before("Sub", swapped), lambda x: x - x[:, ::-1]),
    "operands of RealDiv": ("RealDiv", before("RealDiv", swapped), lambda x: x / x[:, ::-1]),
    "operands of Pow": ("Pow", before("Pow", swapped), lambda x: tf.pow(tf.abs(x), tf.abs(x[:, ::-1]))),
    "operands of SelectV2": ("SelectV2", before("SelectV2", swapped), lambda x: tf.where(x > 0.3, x, x * x)),
    "operands of ConcatV2": (
        "ConcatV2",
        formula(lambda emit, one, other, axis: emit("Concat", other, one, axis=2)),
        lambda x: tf.concat([x, x * 2], 2),
    ),
    "operands of Greater": (
        "Greater",
        before("Greater", swapped),
        lambda x: tf.cast(tf.greater(x, x[:, ::-1]), tf.float32),
    ),
    "Exp right on (-1, 1)": ("Exp", series(EXP), tf.exp),
    "Sin right on (-1, 1)": ("Sin", series(SIN), tf.sin),
    "Relu right on (-1, 1)": ("Relu", formula(lambda emit, x: emit("Clip", x, 0.0, 1.0)), tf.nn.relu),
    "Floor right on (-1, 1)": ("Floor", formula(lambda emit, x: emit("Min", emit("Sign", x), 0.0)), tf.floor),
    "slope of LeakyRelu": (
        "LeakyRelu",
        formula(lambda emit, x: emit("LeakyRelu", x, alpha=0.2000001)),
        lambda x: tf.nn.leaky_relu(x, 0.2),
    ),
}


def run_of(function, **inputs):
    """The two readings of a function, run on its inputs and asked what it gives there."""
    traced = traced_functions({"y": function}, **inputs)
    run = Float64Run(traced)
    run.run(inputs, {"y": tf.function(function)(**inputs).numpy()})
    return run


@GROUP
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_a_handler_is_caught_and_named(name, monkeypatch):
    op, fault, function = FAULTS[name]
    right = run_of(lambda x: function(tf.identity(x) * 1.5), x=X)
    assert (right.fault, right.no_truth, right.no_witness) == ("", "", "")
    plant(monkeypatch, {op: fault})
    wrong = run_of(lambda x: function(tf.identity(x) * 1.5), x=X)
    assert wrong.fault.startswith(f"{op} in "), wrong.fault


def recurrent():
    x = keras.Input((None, 4), name="x")
    y = keras.layers.GRU(5, return_sequences=True, name="gru")(x)
    return with_random_weights(keras.Model(x, keras.layers.Dense(3, name="readout")(y), name="m"))


IN_A_CELL = {
    "Sub": before("Sub", swapped),
    "Tanh": formula(lambda emit, x: emit("Neg", emit("Tanh", x))),
    "Sigmoid": formula(lambda emit, x: emit("HardSigmoid", x)),
    "MatMul": formula(lambda emit, a, b: emit("Mul", emit("MatMul", a, b), 1.000001)),
}


@pytest.fixture(scope="module")
def traced_recurrent():
    source, signature, traced = described(recurrent())
    feed = {"x": normal(3, 6, 4)}
    return traced, feed, reference(source, signature, feed)


@GROUP
@pytest.mark.parametrize("op", IN_A_CELL)
def test_a_fault_in_a_cell_is_named(op, traced_recurrent, monkeypatch):
    traced, feed, expected = traced_recurrent
    plant(monkeypatch, {op: IN_A_CELL[op]})
    run = Float64Run(traced)
    run.run(feed, expected)
    assert re.match(rf"{op} in m\S*/gru\S*/while/\S+, in float64 readout\[", run.fault), run.fault


@GROUP
def test_what_a_faulty_converter_makes_is_not_put_in_place(tmp_path, monkeypatch):
    plant(monkeypatch, {"Tanh": IN_A_CELL["Tanh"]})
    told = r"tf2onnx does not compute what m computes: Tanh in m\S*/gru\S*/while/\S+, in float64 readout"
    with pytest.raises(ConversionError, match=told):
        rnnexport.export_all(recurrent(), ["saved-model", "numpy", "onnx"], tmp_path / "made")
    assert list(tmp_path.iterdir()) == []


@GROUP
def test_what_is_made_without_the_converter_is_put_in_place(tmp_path, monkeypatch):
    plant(monkeypatch, {"Tanh": IN_A_CELL["Tanh"]})
    done = rnnexport.export(recurrent(), "saved-model", tmp_path / "m_saved_model")
    assert done.report.status == "passed"
    assert done.report.no_truth == ""
    assert "the converter is at fault at Tanh in m" in done.report.no_witness
