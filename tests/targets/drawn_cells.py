"""The random cells of `tests/lowering`, which are written there as nodes of ONNX, as cells of Keras."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import keras
import numpy as np
import tensorflow as tf
from onnx import TensorProto

from benchmarks.edges.cases import Case
from tests.lowering.graph import Graph

_DTYPES = {TensorProto.FLOAT: tf.float32, TensorProto.INT32: tf.int32, TensorProto.BOOL: tf.bool}


def _slice(value, starts, ends, axes):
    (start,), (end,), (axis,) = (np.atleast_1d(one) for one in (starts, ends, axes))
    assert axis in (1, -1)
    return value[:, int(start) : int(end)]


OPERATORS = {
    "Abs": tf.abs,
    "Add": tf.add,
    "Cast": lambda value, to: tf.cast(value, _DTYPES[to]),
    "Clip": tf.clip_by_value,
    "Concat": lambda *values, axis: tf.concat(values, axis),
    "Div": tf.divide,
    "Elu": lambda value, alpha: tf.where(value > 0, value, alpha * tf.math.expm1(tf.minimum(value, 0.0))),
    "Exp": tf.exp,
    "Gemm": lambda a, b, c=0.0, transB=0: tf.matmul(a, b, transpose_b=bool(transB)) + c,
    "HardSigmoid": lambda value, alpha, beta: tf.clip_by_value(alpha * value + beta, 0.0, 1.0),
    "Identity": tf.identity,
    "LeakyRelu": lambda value, alpha: tf.where(value > 0, value, alpha * value),
    "MatMul": tf.matmul,
    "Max": lambda *values: reduce(tf.maximum, values),
    "Min": lambda *values: reduce(tf.minimum, values),
    "Mul": tf.multiply,
    "Neg": tf.negative,
    "Reciprocal": tf.math.reciprocal,
    "ReduceMean": lambda value, axes=(-1,), keepdims=1: tf.reduce_mean(value, list(axes), bool(keepdims)),
    "ReduceSum": lambda value, axes=(-1,), keepdims=1: tf.reduce_sum(value, np.ravel(axes), bool(keepdims)),
    "Relu": tf.nn.relu,
    "Sigmoid": tf.sigmoid,
    "Slice": _slice,
    "Softmax": lambda value, axis: tf.nn.softmax(value, axis),
    "Softplus": tf.math.softplus,
    "Softsign": tf.nn.softsign,
    "Split": lambda value, *sizes, axis, parts: tf.split(value, *(map(np.ravel, sizes) if sizes else [parts]), axis),
    "Sqrt": tf.sqrt,
    "Sub": tf.subtract,
    "Sum": lambda *values: reduce(tf.add, values),
    "Tanh": tf.tanh,
    "Transpose": lambda value, perm: tf.transpose(value, perm),
}


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor where a cell has a name: it is always there."""

    tensor: tf.Tensor | np.ndarray


class Computed(Graph):
    """What writes nodes elsewhere computes them here."""

    def ops(self, kind, outputs, *inputs, **attributes):
        attributes |= {"parts": outputs} if kind == "Split" else {}
        found = OPERATORS[kind](*(one.tensor for one in inputs), **attributes)
        return [Value(one) for one in (found if isinstance(found, list) else [found])]

    def const(self, array, dtype=np.float32):
        return Value(np.array(array, dtype))

    weight = const

    def transposed_weight(self, array):
        return self.op("Transpose", self.weight(np.array(array).T), perm=[1, 0])

    def note(self, text):
        """Of no use here."""


class Drawn(keras.layers.Layer):
    """One of them; `seed` decides how it is written, the same in every call."""

    def __init__(self, cell, seed):
        super().__init__()
        self.cell, self.seed = cell, seed
        self.state_size = [shape[0] for shape in cell.states.values()]
        self.output_size = cell.outputs["y"][0]

    def call(self, x, states):
        given = dict(zip(self.cell.states, map(Value, states), strict=True))
        written = self.cell.write(Computed(np.random.default_rng(self.seed)), {"x": Value(x)}, given)
        return written.outputs["y"].tensor, [written.states[name].tensor for name in self.cell.states]


def cases_of(cells):
    """Each of the cells over one sequence `x`, for `benchmarks.edges`."""
    return [
        Case(name, "", "x", keras.layers.RNN(Drawn(cell, seed), return_sequences=True, name=f"rnn_{name}"))
        for seed, (name, cell) in enumerate(cells.items())
    ]


def computed(cell, x_BTI):
    """What a cell that has a formula gives, (B, T, U), float64."""
    states = {name: np.zeros((len(x_BTI), *shape)) for name, shape in cell.states.items()}
    given = []
    for x_BI in np.swapaxes(np.asarray(x_BTI, np.float64), 0, 1):
        found = cell.step(x_BI, states)
        states = {name: found[name] for name in states}
        given.append(found["y"] if "y" in found else found["h"])
    return np.stack(given, 1)
