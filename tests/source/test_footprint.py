"""Weights that no graph of TensorFlow holds are refused by their size, before anything is run."""

from __future__ import annotations

import keras
import pytest
import tf_keras

import rnnexport
from rnnexport.core.forms import TFLiteForm
from rnnexport.source import footprint
from rnnexport.targets.registry import TARGET_NAMES, target

LIMITED = [name for name in TARGET_NAMES if target(name).limited]

GROUP = pytest.mark.xdist_group("footprint")
WEIGHTS = 3 * 5 + 5 + (5 * 12 + 4 * 12 + 2 * 12)  # of a Dense(5) on 3 features, a GRU(4) on these


def model_of(api, calls):
    class Counted(api.layers.Layer):
        def call(self, x):
            calls.append(x.shape)
            return x

    layers = api.layers
    x = api.Input((7, 3))
    shared = layers.Dense(5)
    return api.Model(x, layers.GRU(4)(Counted()(shared(x))), name="large"), calls


@GROUP
@pytest.mark.parametrize("to", LIMITED)
@pytest.mark.parametrize("api", [keras, tf_keras], ids=["keras", "tf_keras"])
def test_it_is_refused_at_once(api, to, tmp_path, monkeypatch):
    model, calls = model_of(api, [])
    built = len(calls)
    monkeypatch.setattr(footprint, "LARGEST", 4 * WEIGHTS - 1)
    with pytest.raises(rnnexport.ConversionError, match=r"large has weights of 0\.00 GB; expected .* GB at most"):
        rnnexport.export(model, to, tmp_path / f"m{target(to).suffix}")
    assert list(tmp_path.iterdir()) == []
    assert len(calls) == built  # it was not run


@GROUP
def test_a_program_is_refused_by_its_variables(tmp_path, monkeypatch):
    model, _ = model_of(keras, [])
    model.export(str(tmp_path / "program"), verbose=False)
    monkeypatch.setattr(footprint, "LARGEST", 4 * WEIGHTS - 1)
    with pytest.raises(rnnexport.ConversionError, match="has weights of"):
        rnnexport.export(tmp_path / "program", "tflite", tmp_path / "m.tflite")


@GROUP
def test_one_that_just_fits_is_exported(tmp_path, monkeypatch):
    model, _ = model_of(tf_keras, [])
    monkeypatch.setattr(footprint, "LARGEST", 4 * WEIGHTS)
    assert rnnexport.export(model, "tflite", tmp_path / "m.tflite").report.status == "passed"


@GROUP
@pytest.mark.parametrize("api", [keras, tf_keras], ids=["keras", "tf_keras"])
@pytest.mark.parametrize("fixed", ["by the model", "by the option"])
def test_so_many_steps_are_never_written_out(api, fixed, tmp_path):
    """At once, where the layer reads the input itself."""
    length = 10_001
    x = api.Input((length if fixed == "by the model" else None, 3))
    model = api.Model(x, api.layers.Bidirectional(api.layers.GRU(4), name="both")(x))
    message = r"layer both takes 10001 timesteps, .*; expected at most 10000; give TFLiteForm\(form=.rolled.\).*stream="
    with pytest.raises(rnnexport.ConversionError, match=message):
        rnnexport.export(model, "tflite", tmp_path / "m.tflite", timesteps=length, tflite=TFLiteForm("unroll"))
    assert list(tmp_path.iterdir()) == []


@GROUP
def test_steps_that_another_layer_makes_are_counted_where_they_are_written_out(tmp_path, monkeypatch):
    x = keras.Input((8, 3))
    model = keras.Model(x, keras.layers.GRU(4)(keras.layers.MaxPooling1D(2)(x)))
    unroll = rnnexport.TFLiteForm("unroll")
    monkeypatch.setattr("rnnexport.targets.tflite.steps._MOST_OPERATORS", 20)
    with pytest.raises(rnnexport.ConversionError, match=r"loops written out have more than 20 operators"):
        rnnexport.export(model, "tflite", tmp_path / "m.tflite", tflite=unroll)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert rnnexport.export(model, "tflite", tmp_path / "m.tflite", tflite=unroll).report.status == "passed"


@GROUP
@pytest.mark.parametrize("fixed", ["by the model", "by the option"])
def test_a_length_that_the_source_takes_days_to_run_is_refused_at_once(fixed, tmp_path):
    length = 1_000_000
    x = keras.Input((length if fixed == "by the model" else None, 3))
    model = keras.Model(x, keras.layers.GRU(4, name="gru")(x))
    message = r"layer gru reads 1000000 timesteps, .*; expected at most 50000; .*verify=False"
    with pytest.raises(rnnexport.ConversionError, match=message):
        rnnexport.export(model, "onnx", tmp_path / "m.onnx", timesteps=length)
    assert list(tmp_path.iterdir()) == []
