"""A keyword spotter: frames of sound to a word, as TFLite for a phone and as ONNX for a server.

python examples/keyword_spotter.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np

import rnnexport

FRAMES, FEATURES, WORDS = 20, 8, 3


def sounds(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames `[count, FRAMES, FEATURES]` in which one band of features rises, and which band it is."""
    rng = np.random.default_rng(seed)
    words = rng.integers(0, WORDS, count)
    x = rng.normal(0, 0.3, (count, FRAMES, FEATURES))
    for row, word in enumerate(words):
        x[row, :, 2 * word : 2 * word + 2] += np.linspace(0, 1, FRAMES)[:, None]
    return x.astype("float32"), words


def main(folder: Path) -> None:
    """Train, export, run, verify."""
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(1)
    x = keras.Input((FRAMES, FEATURES), name="frames")
    y = keras.layers.Dense(WORDS, activation="softmax", name="word")(keras.layers.GRU(12, name="listener")(x))
    model = keras.Model(x, y, name="spotter")
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*sounds(256, 1), epochs=8, verbose=0)

    artifacts = rnnexport.export_all(model, ["onnx", "tflite"], folder, batch=1)
    heard, words = sounds(16, 2)
    for artifact in artifacts:
        found = rnnexport.run(artifact.path, {"frames": heard}).outputs["word"].argmax(axis=-1)
        print(f"{artifact.path.name}: {np.mean(found == words):.0%} of {len(words)} words")
    report = rnnexport.verify([artifact.path for artifact in artifacts])
    assert report.passed, report


if __name__ == "__main__":
    main(Path(sys.argv[1]))
