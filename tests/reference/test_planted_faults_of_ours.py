"""A fault in a handler or a form of our own is caught, and the operator named."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from rnnexport.conversion import forms
from rnnexport.conversion.forms.values import ComplexPair
from rnnexport.conversion.handlers import HANDLERS
from rnnexport.reference.float64 import Float64Run
from tests.emit.numpy.doubles import normal, traced_functions
from tests.reference.faults import Fault, miswritten, plant

pytestmark = pytest.mark.xdist_group("witness")
# Angles in all quadrants, both signs, ties; and whole numbers of both signs.
X = normal(4, 3, 3) * np.float32(2.5)
N = np.random.default_rng(5).integers(-9, 9, (4, 3)).astype(np.int32)
N[N == 0] = 4
TURNED_CHOICE = Fault("Where", turned=True)
OTHER_NUMBERS = {math.pi / 2: math.pi / 2 + 1e-6}


def real(x):
    return tf.cast(x, tf.float32)


# The operator, a fault in our handler, and a function of reals or of whole numbers that uses it.
OF_HANDLERS = {
    "constant of Atan2": ("Atan2", Fault(numbers=OTHER_NUMBERS), lambda x, n: tf.atan2(x, x[:, ::-1])),
    "sign of Atan2": ("Atan2", TURNED_CHOICE, lambda x, n: tf.atan2(x, x[:, ::-1])),
    "sign bit": (
        "BitwiseAnd",
        Fault("BitwiseAnd", becomes="BitwiseOr"),
        lambda x, n: real(tf.bitwise.bitwise_and(tf.bitcast(x, tf.int32), -(2**31))),
    ),
    "or of bits": ("BitwiseOr", Fault("BitwiseOr", becomes="BitwiseXor"), lambda x, n: real(n | n[:, ::-1])),
    "xor of bits": ("BitwiseXor", Fault("BitwiseXor", becomes="BitwiseOr"), lambda x, n: real(n ^ n[:, ::-1])),
    "bits turned": ("Invert", Fault("Sub", turned=True), lambda x, n: real(tf.bitwise.invert(n))),
    "axis of OneHot": ("OneHot", Fault("OneHot", attributes={"axis": 1}), lambda x, n: tf.one_hot(n, 3)),
    "ids below 0 of OneHot": ("OneHot", Fault("Less", turned=True), lambda x, n: tf.one_hot(n, 5)),
    "on and off of OneHot": ("OneHot", TURNED_CHOICE, lambda x, n: tf.one_hot(n, 5, 2.0, 0.5)),
    "operands of Select": (
        "Select",
        TURNED_CHOICE,
        lambda x, n: tf.raw_ops.Select(condition=x[:, 0, 0] > 0.1, x=x, y=x * x),
    ),
    "rounding of FloorDiv": ("FloorDiv", Fault("Floor", becomes="Round"), lambda x, n: x // 0.3),
    "sign of FloorDiv of integers": ("FloorDiv", TURNED_CHOICE, lambda x, n: real(n // 4)),
    "sign of FloorMod": ("FloorMod", TURNED_CHOICE, lambda x, n: x % x[:, ::-1]),
    "operands of TruncateMod": (
        "TruncateMod",
        Fault("Mod", turned=True),
        lambda x, n: tf.truncatemod(x, x[:, ::-1]),
    ),
    "axes of Einsum": (
        "Einsum",
        Fault("Transpose", attributes={"perm": [1, 0, 2]}),
        lambda x, n: tf.einsum("bij,bkj->bik", x[:3], x[:3] * x[:3]),
    ),
    "EuclideanNorm": (
        "EuclideanNorm",
        Fault("Sqrt", becomes="Identity"),
        lambda x, n: tf.raw_ops.EuclideanNorm(input=x, axis=[1]),
    ),
    "place of ScatterNd taken twice": (
        "ScatterNd",
        Fault("ScatterND", attributes={"reduction": "none"}),
        lambda x, n: tf.scatter_nd([[1], [0], [1], [2]], x, [5, 3, 3]),
    ),
    "place of TensorScatterAdd": (
        "TensorScatterAdd",
        Fault("ScatterND", attributes={"reduction": "none"}),
        lambda x, n: tf.tensor_scatter_nd_add(x, [[2]], x[:1]),
    ),
    "sign of Erfc": ("Erfc", Fault("Sub", turned=True), lambda x, n: tf.math.erfc(x)),
    "constant of Expm1": ("Expm1", Fault(numbers={0.5: 0.5 + 1e-6}), lambda x, n: tf.math.expm1(x)),
    "Log1p right near 0": ("Log1p", TURNED_CHOICE, lambda x, n: tf.math.log1p(tf.abs(x))),
    "0 of MulNoNan": (
        "MulNoNan",
        Fault("Equal", becomes="Less"),
        lambda x, n: tf.math.multiply_no_nan(1 / tf.nn.relu(x), tf.nn.relu(x)),
    ),
    "operands of Xdivy": ("Xdivy", Fault("Div", turned=True), lambda x, n: tf.math.xdivy(x, x[:, ::-1])),
    "log of Xlogy": ("Xlogy", Fault("Log", becomes="Abs"), lambda x, n: tf.math.xlogy(x, tf.abs(x[:, ::-1]))),
    "constant of Xlog1py": (
        "Xlog1py",
        Fault(numbers={1: 1 + 1e-6}),
        lambda x, n: tf.math.xlog1py(x, tf.abs(x[:, ::-1])),
    ),
}


def negated(form):
    return lambda operation, inputs: [-one for one in form(operation, inputs)]


def off(form):
    return lambda operation, inputs: [one * (1 + 1e-6) for one in form(operation, inputs)]


def turned(form):
    return lambda operation, inputs: form(operation, inputs[::-1])


def transposed(form):
    return lambda operation, inputs: [tf.linalg.matrix_transpose(one) for one in form(operation, inputs)]


def along(axis):
    return lambda form: lambda operation, inputs: form(operation, [inputs[0], tf.constant(axis)])


def conjugate(form):
    return lambda operation, inputs: [ComplexPair(one.real, -one.imag) for one in form(operation, inputs)]


def another(op):
    return lambda form: forms._FORMS[op]


def of_three(x):
    return tf.ensure_shape(x, [4, 3, 3])


def positive(x):
    return tf.matmul(of_three(x), of_three(x), transpose_b=True) + 0.5 * tf.eye(3)


OF_FORMS = {
    "axis of Cumprod": ("Cumprod", along(1), lambda x, n: tf.math.cumprod(x, 2)),
    "sign of RFFT": ("RFFT", conjugate, lambda x, n: tf.math.imag(tf.signal.rfft(x))),
    "Cholesky": ("Cholesky", transposed, lambda x, n: tf.linalg.cholesky(positive(x))),
    "sign of MatrixDeterminant": ("MatrixDeterminant", negated, lambda x, n: tf.linalg.det(of_three(x))),
    "Lgamma": ("Lgamma", off, lambda x, n: tf.math.lgamma(tf.abs(x) + 0.1)),
    "sign of Digamma": ("Digamma", negated, lambda x, n: tf.math.digamma(tf.abs(x) + 0.1)),
    "Erfinv": ("Erfinv", off, lambda x, n: tf.math.erfinv(0.9 * tf.tanh(0.3 * x))),
    "ties of LowerBound": (
        "LowerBound",
        another("UpperBound"),
        lambda x, n: real(tf.searchsorted(tf.sort(n), n, side="left")),
    ),
    "sums of segments": (
        "UnsortedSegmentSum",
        negated,
        lambda x, n: tf.math.unsorted_segment_sum(x, [1, 0, 1, 2], 3),
    ),
    "operands of Cross": ("Cross", turned, lambda x, n: tf.linalg.cross(x, x[:, ::-1])),
    "operands of TanhGrad": ("TanhGrad", turned, lambda x, n: tf.raw_ops.TanhGrad(y=x, dy=x * x)),
    "SoftplusGrad": (
        "SoftplusGrad",
        another("SoftsignGrad"),
        lambda x, n: tf.raw_ops.SoftplusGrad(gradients=x, features=x[:, ::-1]),
    ),
}
# Bits are others in float64; Mod is TruncateMod, SelectV2 Select; the last one is of words.
EXEMPT = {"Bitcast", "Mod", "SelectV2", "StringToHashBucketFast"}
# Complex values are no outputs of a program, and the bits that are read first differ by themselves.
NAMED = {"RFFT": "program, ", "BitwiseAnd": "Bitcast in "}
FUNCTIONS = {name: function for name, (_, _, function) in (OF_HANDLERS | OF_FORMS).items()}


def run_of(names):
    """The two readings of functions, run on their inputs and asked what they give there."""
    functions = {f"y{at}": FUNCTIONS[name] for at, name in enumerate(names)}
    inputs = {"x": X, "n": N}
    traced = traced_functions(
        {y: lambda x, n, f=f: f(tf.identity(x) * 1.5, n + 0) for y, f in functions.items()}, **inputs
    )
    run = Float64Run(traced)
    run.run(inputs, {y: tf.function(f)(X * np.float32(1.5), N).numpy() for y, f in functions.items()})
    return run


def test_what_is_right_passes():
    run = run_of(FUNCTIONS)
    assert (run.fault, run.no_truth, run.no_witness) == ("", "", "")


@pytest.mark.parametrize("name", OF_HANDLERS)
def test_a_fault_in_a_handler_of_ours_is_caught_and_named(name, monkeypatch):
    op, fault, _ = OF_HANDLERS[name]
    plant(monkeypatch, {op: miswritten(op, fault)})
    assert run_of([name]).fault.startswith(NAMED.get(op, f"{op} in ")), name


@pytest.mark.parametrize("name", OF_FORMS)
def test_a_fault_in_a_form_is_caught_and_named(name, monkeypatch):
    op, wrong, _ = OF_FORMS[name]
    monkeypatch.setattr(forms, "_FORMS", {**forms._FORMS, op: wrong(forms._FORMS[op])})
    assert run_of([name]).fault.startswith(NAMED.get(op, f"{op} in ")), name


def test_every_handler_of_numbers_has_a_fault():
    assert set(HANDLERS) - {op for op, _, _ in OF_HANDLERS.values()} == EXEMPT
