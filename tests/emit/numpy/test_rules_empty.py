"""Arrays of no element and of one, axes that are none and parts that are one, are what ONNX Runtime makes."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import rnnexport
from tests.emit.numpy.rendering import NOTHING, RANKS, SHAPES, check, drawn, float32, int64, text_of

KNOWN = (SHAPES, RANKS, NOTHING)
WHOLE, ONE, EMPTY, NUMBER = drawn(2, 3, 4), drawn(1, 1, 1), drawn(0, 3), np.float32(1.5)
ARRAYS = (WHOLE, ONE, EMPTY, NUMBER, float32(2.5), float32(), int64(3), int64())


@pytest.mark.parametrize("x", ARRAYS, ids=lambda x: f"{x.dtype}{list(x.shape)}")
def test_new_axes_and_shapes(x):
    for axes in ((), (0,), (-1,), (0, 1, 2)):
        check("Unsqueeze", x, int64(*axes), constant=(1,), known=KNOWN)
        check("Unsqueeze", x, int64(*axes), constant=(0, 1))
    check("Squeeze", x, known=KNOWN)
    check("Reshape", x, int64(-1), constant=(1,), known=KNOWN)
    for target in ((), (1,), (1, 1, 1, 1)):
        check("Expand", x, int64(*target), constant=(1,), known=KNOWN)
    check("Tile", x, int64(*[0] * x.ndim), constant=(1,), known=KNOWN)
    if x.ndim:
        check("Pad", x, int64(*[1] * 2 * x.ndim), constant=(1,), known=KNOWN[:2])


@pytest.mark.parametrize("x", [x for x in ARRAYS if x.ndim], ids=lambda x: f"{x.dtype}{list(x.shape)}")
def test_parts(x):
    n = x.shape[0]
    check("Concat", x, attributes={"axis": 0}, known=KNOWN)
    check("Concat", x, x[:0], attributes={"axis": 0}, known=KNOWN)
    if n:
        check("Split", x, attributes={"num_outputs": 1, "axis": 0}, known=KNOWN)
    for sizes in ((n,), (0, n), (n, 0)):
        check("Split", x, int64(*sizes), constant=(1,), attributes={"axis": 0}, outputs=len(sizes), known=KNOWN)
    for start, end, step in ((1, 1, 1), (5, 9, 1), (0, -1, 1), (-9, 9, 1), (9, -9, -1), (-1, -9, -1)):
        part = (int64(start), int64(end), int64(0), int64(step))
        check("Slice", x, *part, constant=(1, 2, 3, 4), known=KNOWN)
        check("Slice", x, *part, constant=(3, 4), known=KNOWN)
    check("Slice", x, int64(), int64(), int64(), constant=(1, 2, 3), known=KNOWN)
    check("Gather", x, int64(), constant=(1,), known=KNOWN)


@pytest.mark.parametrize("x", [drawn(2, 0, 3), int64(), np.zeros((2, 0), np.int32), float32()], ids=str)
def test_the_largest_and_the_smallest_of_nothing(x):
    """Are the least and the largest number that there are."""
    axis = 1 if x.ndim > 1 else 0
    for op in ("ReduceMax", "ReduceMin"):
        for keep in (0, 1):
            check(op, x, int64(axis), constant=(1,), attributes={"keepdims": keep}, known=KNOWN)
    for op in ("ReduceSum", "ReduceProd"):
        check(op, x, int64(axis), constant=(1,), known=KNOWN)


def test_what_may_be_nothing_is_told_from_what_is_not():
    steps = {"constant": (1,), "attributes": {"keepdims": 0}}
    x = drawn(2, 3, 4)
    assert text_of("ReduceMax", x, int64(1), letters={3: "T"}, **steps) == "x0.max(axis=1)"
    assert text_of("ReduceMax", x, int64(1), letters={3: "T - 1"}, **steps) == "x0.max(axis=1, initial=-np.inf)"
    assert text_of("ReduceMin", x, int64(1), known=RANKS, **steps) == "x0.min(axis=1, initial=np.inf)"


def test_one_hot_of_one_and_of_none():
    for indices in (int64(1), int64(), np.zeros((0, 2), np.int64)):
        for depth in (int64(3), np.int64(3)):
            check("OneHot", indices, depth, float32(0, 1), known=KNOWN[:2])


class EquationCell(keras.layers.Layer):
    """h' = tanh(x W + h R + sum(h * v)), all products by equations."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = self.state_size = units

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units))
        self.recurrent = self.add_weight(shape=(self.units, self.units))
        self.scale = self.add_weight(shape=(self.units,), initializer="random_normal")

    def call(self, x_BI, states):
        x_BH = keras.ops.einsum("bi,ih->bh", x_BI, self.kernel)
        h_BH = keras.ops.einsum("bh,hk->bk", states[0], self.recurrent)
        along_B = keras.ops.einsum("bh,h->b", states[0], self.scale)
        h_BH = keras.ops.tanh(x_BH + h_BH + along_B[:, None])
        return h_BH, [h_BH]


@pytest.mark.parametrize(
    ("steps", "layer"),
    [
        (None, lambda: keras.layers.RNN(EquationCell(5), return_sequences=True)),
        (1, lambda: keras.layers.Bidirectional(keras.layers.LSTM(5, unroll=True, return_sequences=True))),
    ],
    ids=["equations", "one timestep unrolled"],
)
def test_models(tmp_path, steps, layer):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((steps, 4)), layer()])
    exported = rnnexport.export(model, "numpy", tmp_path / "generated.py")
    assert exported.report.status == "passed"
