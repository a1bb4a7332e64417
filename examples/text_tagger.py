"""A tagger of words: padded sentences of ids to a tag a word; the ONNX file and the NumPy program give the same.

python examples/text_tagger.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np

import rnnexport

VOCABULARY, TAGS = 40, 5


def main(folder: Path) -> None:
    """Export twice, tag a padded sentence, compare the two artifacts with each other."""
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(4)
    ids = keras.Input((None,), name="ids", dtype="int32")
    words = keras.layers.Embedding(VOCABULARY, 6, mask_zero=True, name="words")(ids)
    context = keras.layers.Bidirectional(keras.layers.LSTM(7, return_sequences=True), name="context")(words)
    model = keras.Model(ids, keras.layers.Dense(TAGS, activation="softmax", name="tags")(context), name="tagger")

    onnx, program = rnnexport.export_all(model, ["onnx", "numpy"], folder)
    sentence = np.array([[3, 17, 8, 25, 0, 0], [9, 2, 0, 0, 0, 0]], "int32")  # 0 is padding
    tags = rnnexport.run(onnx.path, {"ids": sentence}).outputs["tags"].argmax(axis=-1)
    print(f"{onnx.path.name}: tags {tags[0, :4].tolist()}")
    report = rnnexport.compare(onnx.path, program.path)
    assert report.passed, report


if __name__ == "__main__":
    main(Path(sys.argv[1]))
