"""A stream of readings of sensors, looked at as they come: the model's states are carried from chunk to chunk.

python examples/sensor_stream.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np

import rnnexport

SENSORS = 4


def main(folder: Path) -> None:
    """Export a stream, step through it in chunks of any length, verify it."""
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(2)
    x = keras.Input((None, SENSORS), name="readings")
    hidden = keras.layers.LSTM(10, return_sequences=True, name="memory")(x)
    model = keras.Model(x, keras.layers.Dense(1, name="load")(hidden), name="sensors")

    artifact = rnnexport.export(model, folder / "sensors.onnx", stream="dynamic")
    readings = np.random.default_rng(3).normal(size=(2, 30, SENSORS)).astype("float32")
    with rnnexport.runtime.open(artifact.path) as stream:
        chunks = [stream.step(readings[:, start:end]) for start, end in ((0, 1), (1, 8), (8, 30))]
    error = np.abs(np.concatenate(chunks, axis=1) - np.asarray(model(readings))).max()
    print(f"{artifact.path.name}: three chunks are off the whole by {error:.1e}")
    assert error < 1e-5
    report = rnnexport.verify(artifact.path)
    assert report.passed, report


if __name__ == "__main__":
    main(Path(sys.argv[1]))
