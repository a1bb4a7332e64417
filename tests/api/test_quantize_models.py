"""Twelve models, each in every quantised form of every target: made, run and measured, and one of them verified."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import rnnexport
from benchmarks.quantization import Leaky
from rnnexport.core.quantization import FORMS, QuantizeRequest
from tests.streams import with_random_weights

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("quantize models")]
FEATURES, STEPS = 5, 9
LAYERS = keras.layers


def recurrent(*layers):
    """The layers one behind the other, and a Dense."""

    def build():
        x = y = keras.Input((STEPS, FEATURES), name="x")
        for layer in layers:
            y = layer()(y)
        return keras.Model(x, LAYERS.Dense(3, name="y")(y))

    return build


def attention():
    x = keras.Input((STEPS, FEATURES), name="x")
    h = LAYERS.GRU(12, return_sequences=True)(x)
    scores = LAYERS.Softmax(axis=1)(LAYERS.Dense(1)(LAYERS.Dense(8, activation="tanh")(h)))
    return keras.Model(x, LAYERS.Dense(3, name="y")(LAYERS.Dot(axes=1)([h, scores])))


def two_outputs():
    x = keras.Input((STEPS, FEATURES), name="x")
    y, h, c = LAYERS.LSTM(12, return_sequences=True, return_state=True)(x)
    return keras.Model(x, [LAYERS.Dense(3, name="y")(y), LAYERS.Dense(2, name="last")(LAYERS.Concatenate()([h, c]))])


def uneven():
    """Features whose sizes are far apart."""
    x = keras.Input((STEPS, FEATURES), name="x")
    h = LAYERS.Rescaling(np.array([1e-2, 1, 1, 30, 1], "f"))(x)
    return keras.Model(x, LAYERS.Dense(3, name="y")(LAYERS.GRU(12, return_sequences=True)(h)))


MODELS = {
    "simple": recurrent(lambda: LAYERS.SimpleRNN(12, return_sequences=True)),
    "lstm": recurrent(lambda: LAYERS.LSTM(12, return_sequences=True)),
    "gru": recurrent(lambda: LAYERS.GRU(12, return_sequences=True)),
    "gru, reset before": recurrent(lambda: LAYERS.GRU(12, return_sequences=True, reset_after=False)),
    "last step": recurrent(lambda: LAYERS.GRU(12)),
    "stack": recurrent(lambda: LAYERS.GRU(12, return_sequences=True), lambda: LAYERS.LSTM(7, return_sequences=True)),
    "bidirectional": recurrent(lambda: LAYERS.Bidirectional(LAYERS.LSTM(7, return_sequences=True))),
    "backwards": recurrent(lambda: LAYERS.GRU(12, return_sequences=True, go_backwards=True)),
    "custom": recurrent(lambda: LAYERS.RNN(Leaky(12), return_sequences=True)),
    "attention": attention,
    "two outputs": two_outputs,
    "uneven": uneven,
}


@pytest.fixture(scope="module")
def walks(tmp_path_factory):
    """Sequences as sensors give them."""
    path = tmp_path_factory.mktemp("walks") / "walks.npz"
    np.savez(path, x=(np.random.default_rng(5).standard_normal((40, STEPS, FEATURES)).cumsum(1) / 3).astype("f"))
    return path


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("to", FORMS)
def test_every_form_runs_and_loses_what_is_said(name, to, walks, tmp_path):
    model = with_random_weights(MODELS[name](), 7)
    request = QuantizeRequest(max_loss=0.2, calibrate=walks, allow_partial=True)
    done = rnnexport.export(model, tmp_path / f"m.{to}", quantize=request)
    plain, *trials = done.quantization.trials
    assert plain.worst.value < 1e-5
    losses = {trial.form: trial.worst.value for trial in trials if trial.form in FORMS[to]}
    assert set(losses) == set(FORMS[to])
    assert all(0 < loss < 0.2 for loss in losses.values()), losses
    assert losses.get("float16", 0) < losses.get("weights", 1)
    assert done.report.status == "passed"
    known = rnnexport.verify(done.path)
    assert known.passed
