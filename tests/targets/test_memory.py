"""What an export holds besides its model: a model of 50 MB is written without a second copy of all its weights."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from rnnexport.api.export import load
from rnnexport.core.lowering import LoweringRequest
from rnnexport.core.signature import Boundary
from rnnexport.source.describe import describe
from rnnexport.source.trace import Graphs, trace
from rnnexport.targets.base import DEFAULT_OPSET, ExportOptions
from rnnexport.targets.registry import target

WORDS, WIDTH, UNITS = 12_000, 300, 500
NAMES = {"onnx": "m.onnx", "numpy": "m.py", "saved-model": "m"}


@pytest.fixture(scope="module")
def traced():
    import keras

    keras.utils.set_random_seed(8)
    layers = keras.layers
    stack = [
        layers.Embedding(WORDS, WIDTH),
        layers.LSTM(UNITS, return_sequences=True, bias_initializer="random_normal"),
        layers.LSTM(UNITS, bias_initializer="random_normal"),
        layers.Dense(WORDS, bias_initializer="random_normal"),
    ]
    source = load(keras.Sequential([keras.Input((None,), dtype="int32", name="ids"), *stack]))
    return trace(source, describe(source, Boundary()), unroll=False)


@pytest.mark.long
@pytest.mark.parametrize("to", NAMES)
def test_weights_are_not_copied(to, traced, tmp_path):
    weights = sum(array.nbytes for array in traced.weights().values())
    assert weights > 50e6
    feeds = [{"ids": np.arange(rows * steps, dtype=np.int32).reshape(rows, steps)} for rows, steps in ((2, 3), (4, 5))]
    options = ExportOptions(DEFAULT_OPSET, LoweringRequest())
    target(to).export(Graphs(traced), feeds, tmp_path / f"first_{NAMES[to]}", options)  # imports, and TensorFlow's own
    tracemalloc.start()
    try:
        target(to).export(Graphs(traced), feeds, tmp_path / NAMES[to], options)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Forms of the recurrences, a third of the weights, are compared with each other, each laid out in its own order.
    assert peak < 1.6 * weights
