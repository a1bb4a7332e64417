"""Quantised artifacts: what is lost is measured on sequences from initial states, bounded, and kept in the file."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import keras
import numpy as np
import pytest

import rnnexport
from benchmarks.quantization import Leaky
from rnnexport.core.errors import ConversionError, MismatchError
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.quantization import FORMS, QuantizeRequest
from rnnexport.targets.registry import target_of
from rnnexport.verification.tolerance import Override
from samples.catalog import FOLDER, SAMPLES, SAMPLES_BY_NAME
from tests.streams import with_random_weights

GROUP = pytest.mark.xdist_group("quantize")
UNITS, FEATURES = 12, 5
S_LSTM = FOLDER / "s_lstm.py"
# Why a sample has no such form.
REFUSED = "nothing of .* can be quantised|the TFLite quantiser refuses"
# Runs where TensorFlow is not.
ALONE = """
import sys
sys.modules.update(dict.fromkeys(["tensorflow", "keras", "tf_keras", "tf2onnx"]))
from rnnexport.cli import main
main(["verify", sys.argv[1]])
"""


def gru():
    x = keras.Input((None, FEATURES), name="x")
    y = keras.layers.GRU(UNITS, return_sequences=True, name="gru")(x)
    return with_random_weights(keras.Model(x, keras.layers.Dense(3, name="head")(y)), 3)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Sequences of features that differ in size, as sensors do."""
    path = tmp_path_factory.mktemp("data") / "recordings.npz"
    steps = np.cumsum(np.random.default_rng(4).standard_normal((40, 25, FEATURES)), axis=1) * 0.2
    np.savez(path, x=steps.astype("f"))
    return path


@pytest.fixture(scope="module")
def quiet(recordings, tmp_path_factory):
    """The same a hundred times as small: what ranges should not be taken from."""
    path = tmp_path_factory.mktemp("data") / "quiet.npz"
    with np.load(recordings) as arrays:
        np.savez(path, x=arrays["x"] * np.float32(0.01))
    return path


@pytest.fixture(scope="module")
def quantised(recordings, tmp_path_factory):
    """A GRU in int8, calibrated on the recordings."""
    path = tmp_path_factory.mktemp("quantised") / "gru.onnx"
    request = QuantizeRequest("int8", recordings, max_loss=0.06)
    return rnnexport.export(gru(), path, quantize=request)


@GROUP
def test_a_gru_is_one_of_integers_within_its_bound(quantised):
    found = quantised.quantization
    assert found.chosen.form == "int8"
    assert [part.how for part in found.chosen.parts] == ["int8 products, calibrated ranges"] * 3
    plain, trial = found.trials
    assert plain.worst.value < 1e-5 < trial.worst.value <= 0.06
    assert trial.worst.curve[0] > 0
    assert found.calibrated_on == "1 of 2 calls on recordings.npz"
    assert {name for name, _ in found.alone} == {part.name for part in trial.parts}
    assert 0 < max(loss for _, loss in found.alone) <= 0.06
    operators = target_of(quantised.path).operators(quantised.path)
    assert operators["MatMulIntegerToFloat"] == 3
    assert not {"GRU", "MatMul", "Gemm"} & set(operators)


@GROUP
def test_it_is_verified_by_its_bound_from_the_file_alone(quantised, python_process):
    done = python_process("-c", ALONE, quantised.path)
    assert done.returncode == 0, done.stderr
    known = target_of(quantised.path).read_proof(quantised.path).provenance
    assert known.quantization["form"] == "int8"
    (loss,) = quantised.quantization.chosen.losses
    assert known.override == {"rtol": 0.0, "atols": {"head": pytest.approx(0.06 * loss.span)}}
    assert known.options["quantize"] == "int8"
    (values,) = known.options["ranges"]
    assert values[0] == "x"
    tight = Override(atols={"head": loss.largest / 3})
    assert not rnnexport.verify(quantised.path, tolerance=tight).passed


@GROUP
@pytest.mark.long
def test_where_no_form_holds_nothing_is_written(tmp_path, rnnexport_command):
    path = tmp_path / "small.keras"
    gru().save(path)
    out = tmp_path / "small.onnx"
    done = rnnexport_command("onnx", path, "--max-loss", "1e-7", "-o", out)
    assert done.returncode == 1
    assert not out.exists()
    assert all(f"{form} (" in done.stderr for form in FORMS["onnx"])
    assert "a loss of at most 1e-07 (range)" in done.stderr


@GROUP
@pytest.mark.long
def test_the_command_tells_every_form_and_takes_the_smallest_that_holds(recordings, tmp_path, rnnexport_command):
    gru().save(tmp_path / "gru.keras")
    done = rnnexport_command(
        *("onnx", tmp_path / "gru.keras", "--max-loss", "0.05", "--calibrate", recordings),
        *("-o", tmp_path / "gru.onnx", "--json", tmp_path / "report.json"),
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split()[0] for line in done.stdout.splitlines() if line.strip().startswith(("float", *FORMS["onnx"]))]
    assert rows == ["float32", *FORMS["onnx"]]
    assert "quantised as" in done.stdout
    assert "head by step: " in done.stdout
    told = json.loads((tmp_path / "report.json").read_text())["exported"][0]["quantization"]
    assert told["chosen"]["losses"][0]["loss"] <= 0.05
    assert [trial["form"] for trial in told["trials"]] == ["float32", *FORMS["onnx"]]


@GROUP
@pytest.mark.long
@pytest.mark.parametrize("to", ["onnx", "tflite"])
def test_a_bad_calibration_is_shown_to_be_worse(to, recordings, quiet, tmp_path):
    request = QuantizeRequest("int8", quiet, allow_partial=True)
    sizes = {"timesteps": 25} if to == "tflite" else {}
    alone = rnnexport.export(gru(), tmp_path / f"alone.{to}", quantize=request, **sizes)
    assert alone.report.status == "passed"
    with pytest.raises(MismatchError, match="loses more than was measured"):
        rnnexport.export(gru(), tmp_path / f"bad.{to}", quantize=request, data=recordings, **sizes)
    assert not (tmp_path / f"bad.{to}").exists()
    good = rnnexport.export(gru(), tmp_path / f"good.{to}", quantize=replace(request, calibrate=recordings), **sizes)
    with np.load(recordings) as arrays:
        x = arrays["x"]
    losses = [np.abs(ran(one.path, x) - np.asarray(gru()(x))).max() for one in (alone, good)]
    assert losses[0] > 3 * losses[1]


@GROUP
@pytest.mark.long
def test_a_c_program_has_nothing_to_calibrate(recordings, quiet, tmp_path):
    """Whatever it was measured on, it gives the same bits."""
    made = [
        rnnexport.export(gru(), tmp_path / f"{name}.c", quantize=QuantizeRequest("int8", data), verify=False)
        for name, data in {"loud": recordings, "quiet": quiet}.items()
    ]
    assert not any(one.quantization.calibrated_on for one in made)
    x = np.random.default_rng(8).standard_normal((3, 25, FEATURES)).astype("f") * 3
    np.testing.assert_array_equal(*(ran(one.path, x) for one in made))


def ran(path, x):
    """The output of an artifact, a row at a time."""
    with target_of(path).runner(path, "cpu") as runner:
        return np.concatenate([runner.run({"x": row[np.newaxis]})["head"] for row in x])


def one_layer(layer):
    x = keras.Input((None, FEATURES), name="x")
    return with_random_weights(keras.Model(x, keras.layers.Dense(3, name="head")(layer(x))), 3)


def s_lstm():
    """The cell of the sample, which itself is trained to add up its inputs, so that an error stays in it."""
    from samples.s_lstm import SLSTMCell, tf_keras

    x = tf_keras.Input((None, FEATURES), name="x")
    y = tf_keras.layers.RNN(SLSTMCell(UNITS), return_sequences=True)(x)
    return with_random_weights(tf_keras.Model(x, tf_keras.layers.Dense(3, name="head")(y)), 3)


STREAMS = {
    "gru": (gru, 10_000),
    "lstm": (lambda: one_layer(keras.layers.LSTM(UNITS, return_sequences=True)), 1000),
    "leaky": (lambda: one_layer(keras.layers.RNN(Leaky(UNITS), return_sequences=True)), 1000),
    "s_lstm": (s_lstm, 1000),
}


@GROUP
@pytest.mark.long
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_loses_no_more_at_its_end(name, tmp_path):
    """The largest error of 5 or 50 steps a point. The source, which takes most of the time, runs once for all files."""
    build, steps = STREAMS[name]
    source = rnnexport.load(build(), LoadOptions([str(S_LSTM)] if name == "s_lstm" else []))
    wanted = [("onnx", "int8"), ("onnx", "dynamic"), ("onnx", "weights"), ("c", "int8"), ("tflite", "int8")]
    made = [
        rnnexport.export(
            source,
            tmp_path / f"{form}_{name}.{to}" if to != "c" else tmp_path / f"{name}.c",
            stream=1,
            quantize=QuantizeRequest(form, allow_partial=True),
            verify=False,
        )
        for to, form in wanted
    ]
    report = rnnexport.verify([one.path for one in made], source=source, steps=steps)
    for one, artifact in zip(made, report.artifacts, strict=True):
        assert one.quantization.chosen.worst.value < 0.15
        (followed,) = (feed for feed in artifact.feeds if feed.steps)
        assert followed.steps == steps
        for output in followed.outputs:
            curve = output.errors.by_timestep
            assert len(curve) == 200
            early, late = np.median(curve[:8]), np.median(curve[100:])  # as errors go up and down
            assert late <= 2 * early, (one.path.name, output.name, early, late)


@GROUP
@pytest.mark.long
@pytest.mark.parametrize("to", FORMS)
@pytest.mark.parametrize("name", [sample.name for sample in SAMPLES])
def test_every_sample_in_every_form(name, to, tmp_path):
    """Or refused with the reason: of ONNX none is."""
    sample = SAMPLES_BY_NAME[name]
    source = rnnexport.load(sample.build(), LoadOptions([str(sample.path)]))
    sizes = {"timesteps": sample.timesteps} if to == "tflite" else {}
    for form in FORMS[to]:
        request = QuantizeRequest(form, allow_partial=to != "onnx")
        try:
            done = rnnexport.export(source, tmp_path / f"{form}.{to}", quantize=request, **sizes)
        except ConversionError as error:
            if to == "onnx" or not re.search(REFUSED, str(error)):
                raise
            continue
        assert done.report.status == "passed"
        assert done.quantization.chosen.form == form
        assert rnnexport.verify(done.path).passed


@GROUP
@pytest.mark.long
def test_a_model_without_weights_is_no_quantised_one(tmp_path):
    x = keras.Input((4, 3), name="x")
    model = keras.Model(x, keras.layers.Activation("tanh", name="y")(x))
    with pytest.raises(ConversionError, match="nothing of"):
        rnnexport.export(model, tmp_path / "m.onnx", quantize=QuantizeRequest("weights"))


@GROUP
@pytest.mark.long
def test_a_weight_that_stays_float32_has_to_be_allowed(tmp_path):
    model = gru()
    kernel, bias = model.get_layer("head").get_weights()
    kernel[0, 0] = 1e5
    model.get_layer("head").set_weights([kernel, bias])
    request = QuantizeRequest("float16")
    with pytest.raises(ConversionError, match=r"1 of 2 weights .* stay float32") as caught:
        rnnexport.export(model, tmp_path / "m.onnx", quantize=request)
    assert caught.value.exit_code == 3
    done = rnnexport.export(model, tmp_path / "m.onnx", quantize=replace(request, allow_partial=True))
    assert len(done.quantization.chosen.left) == 1


@GROUP
@pytest.mark.long
def test_several_targets_at_once_take_a_form_each(recordings, tmp_path):
    request = QuantizeRequest(max_loss=0.06, calibrate=recordings)
    done = rnnexport.export_all(gru(), ["onnx", "tflite", "c"], tmp_path, tflite_timesteps=25, quantize=request)
    assert [one.path.suffix for one in done] == [".onnx", ".tflite", ".c"]
    for one in done:
        assert one.report.status == "passed"
        assert one.quantization.chosen.form in FORMS[one.report.target]
        assert one.quantization.chosen.worst.value <= 0.06
