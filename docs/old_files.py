"""Writes the files that `docs/origins.md` uses: python docs/old_files.py FOLDER."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import h5py
import numpy as np
import tf_keras as keras


def make() -> keras.Model:
    """The model, for `--builder`."""
    x = keras.Input((None, 3), name="x")
    y = keras.layers.GRU(4, reset_after=False, recurrent_activation="hard_sigmoid", name="gru")(x)
    return keras.Model(x, keras.layers.Dense(2, name="readout")(y))


def write(folder: Path) -> None:
    """A GRU as Keras 2.1 saved it, its weights alone, its architecture with weights, and its program."""
    folder.mkdir(parents=True, exist_ok=True)
    model = make()
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.5, weight.shape) for weight in model.get_weights()])
    model.save(folder / "gru_of_2018.h5")
    _as_keras_2_1(folder / "gru_of_2018.h5")
    model.save_weights(folder / "weights.h5")
    model.save_weights(folder / "pair.h5")
    (folder / "pair.json").write_text(model.to_json())
    model.save(folder / "program", save_format="tf")


def _as_keras_2_1(path: Path) -> None:
    """Keras 2.1 recorded its version, and knew neither `reset_after` nor `time_major`."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            for unknown in ("reset_after", "time_major", "ragged"):
                layer["config"].pop(unknown, None)
        file.attrs["model_config"] = json.dumps({**config, "class_name": "Model"})
        for group in (file, file["model_weights"]):
            group.attrs["keras_version"] = "2.1.2"


if __name__ == "__main__":
    write(Path(sys.argv[1]))
