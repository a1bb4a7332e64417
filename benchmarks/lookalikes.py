"""What tf2onnx, and so Keras' own ONNX export, makes of cells that look like an LSTM, beside what rnnexport makes.

    python -m benchmarks.lookalikes

Each cell is an LSTMCell with one change. The figures are the largest absolute errors against eager Keras, on one
input of batch 2 and length 9; the weights are random in (-1, 1).
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx
from keras import ops

import rnnexport
from rnnexport.cli.session import captured_stderr
from rnnexport.targets.registry import target

SWAPS = {"i and f swapped": (1, 0, 2, 3), "f and o swapped": (0, 3, 2, 1)}
OUTPUT = {"output gate tanh": ops.tanh, "output gate relu": ops.relu}
CHANGES = ("none", *SWAPS, "input gate tanh", *OUTPUT)


def lookalike(change: str) -> Any:
    """A model of one such cell, 3 features, 5 units."""

    class Cell(keras.layers.LSTMCell):
        def _compute_carry_and_output_fused(self, z: Any, c_tm1: Any) -> Any:
            i, f, c, o = (z[k] for k in SWAPS.get(change, (0, 1, 2, 3)))
            i = ops.tanh(i) if change == "input gate tanh" else ops.sigmoid(i)
            return ops.sigmoid(f) * c_tm1 + i * ops.tanh(c), OUTPUT.get(change, ops.sigmoid)(o)

    x = keras.Input((None, 3), name="x")
    model = keras.Model(x, keras.layers.RNN(Cell(5), return_sequences=True, name="rnn")(x), name="lookalike")
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(-1, 1, weight.shape) for weight in model.get_weights()])
    return model


def errors(change: str, folder: Path) -> tuple[str, float, float]:
    """The recurrent ops that tf2onnx emits, its error, and the error of rnnexport."""
    model, x = lookalike(change), np.random.default_rng(2).standard_normal((2, 9, 3)).astype("float32")
    wanted = np.asarray(model(x))
    theirs, ours = folder / "theirs.onnx", folder / "ours.onnx"
    function = tf.function(lambda tensor: model(tensor, training=False))
    specs = [tf.TensorSpec((None, None, 3), tf.float32, name="x")]
    tf2onnx.convert.from_function(function, specs, opset=17, output_path=str(theirs))
    rnnexport.export(model, "onnx", ours)
    ops_found = Counter(target("onnx").operators(theirs))
    emitted = ", ".join(op for op in ("LSTM", "GRU", "Loop") if ops_found[op])
    return emitted, _error(theirs, x, wanted), _error(ours, x, wanted)


def _error(path: Path, x: np.ndarray, wanted: np.ndarray) -> float:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x})
    return float(np.abs(found - wanted).max())


def main() -> None:
    """Print the table as Markdown."""
    with captured_stderr(show=False), tempfile.TemporaryDirectory() as folder:
        rows = [(change, *errors(change, Path(folder))) for change in CHANGES]
    print("| change to the cell | tf2onnx emits | its error | error of rnnexport |\n| --- | --- | --- | --- |")
    for change, emitted, theirs, ours in rows:
        print(f"| {change} | {emitted} | {theirs:.1e} | {ours:.1e} |")


if __name__ == "__main__":
    main()
