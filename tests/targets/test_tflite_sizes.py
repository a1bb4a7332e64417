"""A TFLite file that is called with one batch after the other: LiteRT's own interpreter is wrong when it is resized."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import rnnexport
from rnnexport.targets.tflite.runner import open_runner

BATCHES = (4, 7, 5, 31, 32, 3, 33) * 4
STEPS, FEATURES = 6, 3


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """A mask, a GRU and a norm: what was seen to go wrong in half of the calls behind smaller ones."""
    keras.utils.set_random_seed(11)
    x = keras.Input((None, FEATURES), name="x")
    y = keras.layers.GRU(2, return_sequences=True, activation="softsign")(keras.layers.Masking()(x))
    model = keras.Model(x, keras.layers.LayerNormalization()(y), name="masked")
    rng = np.random.default_rng(11)
    model.set_weights([rng.uniform(-1.0, 1.0, weight.shape) for weight in model.get_weights()])
    path = tmp_path_factory.mktemp("sizes") / "masked.tflite"
    rnnexport.export(model, "tflite", path, timesteps=STEPS)
    return path, model


@pytest.mark.long
def test_every_batch_gives_what_it_gives_alone(artifact):
    path, model = artifact
    rng = np.random.default_rng(5)
    with open_runner(path, "cpu") as runner:
        for batch in BATCHES:
            x_BTI = rng.standard_normal((batch, STEPS, FEATURES)).astype("float32")
            (found,) = runner.run({"x": x_BTI}).values()
            np.testing.assert_allclose(found, model(x_BTI), atol=2e-5)
