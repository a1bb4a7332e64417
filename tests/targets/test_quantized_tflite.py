"""Weights of TFLite files made narrow: values in LiteRT, and what is told of each."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import rnnexport
from rnnexport.core.errors import ConversionError
from rnnexport.core.forms import TFLiteForm
from rnnexport.core.quantization import FORMS, QuantizeRequest
from rnnexport.targets.registry import target_of
from rnnexport.targets.tflite.quantized_weights import narrowed
from tests.streams import with_random_weights

STEPS, FEATURES = 6, 5
X = np.random.default_rng(2).standard_normal((3, STEPS, FEATURES)).astype("f")


def gru(steps=STEPS):
    x = keras.Input((steps, FEATURES), name="x")
    y = keras.layers.GRU(9, return_sequences=True, name="gru")(x)
    return with_random_weights(keras.Model(x, keras.layers.Dense(4, name="head")(y)), 7)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A GRU in float32."""
    return rnnexport.export(gru(), tmp_path_factory.mktemp("tflite") / "gru.tflite", verify=False).path


def ran(path):
    with target_of(path).runner(path, "cpu") as runner:
        return runner.run({"x": X})["head"]


@pytest.mark.parametrize(("form", "most"), [("weights", 0.03), ("dynamic", 0.05), ("float16", 2e-3)])
def test_narrow_weights_compute_nearly_the_same(plain, form, most, tmp_path):
    data, parts = narrowed(plain.read_bytes(), form, None)
    path = tmp_path / f"{form}.tflite"
    path.write_bytes(data)
    wanted = ran(plain)
    assert 0 < np.abs(ran(path) - wanted).max() < most * np.ptp(wanted)
    assert len(parts) >= 3
    assert all(part.how for part in parts)
    assert {part.operator for part in parts} == {"FULLY_CONNECTED"}
    kinds = target_of(path).facts(path)["tensors"]
    assert ("float16" if form == "float16" else "int8") in kinds
    alone, (part,) = narrowed(plain.read_bytes(), form, frozenset((parts[0].name,)))
    assert part.name == parts[0].name
    assert len(alone) > len(data)


@pytest.mark.long
@pytest.mark.parametrize("stream", [None, 1])
@pytest.mark.parametrize("form", FORMS["tflite"])
def test_every_form_holds_what_it_says(form, stream, tmp_path):
    request = QuantizeRequest(form, allow_partial=True)
    done = rnnexport.export(gru(None if stream else STEPS), tmp_path / "m.tflite", stream=stream, quantize=request)
    assert done.report.status == "passed"
    assert rnnexport.verify(done.path).passed
    assert done.quantization.chosen.form == form
    assert done.quantization.chosen.worst.value < 0.3


@pytest.mark.long
def test_a_fused_lstm(tmp_path):
    x = keras.Input((STEPS, FEATURES), batch_size=1, name="x")
    y = keras.layers.LSTM(8, return_sequences=True, name="lstm")(x)
    model = with_random_weights(keras.Model(x, keras.layers.Dense(4, name="head")(y)), 7)
    for form in ("weights", "int8"):
        request = QuantizeRequest(form, allow_partial=True)
        done = rnnexport.export(model, tmp_path / "m.tflite", tflite=TFLiteForm("fused"), quantize=request)
        assert done.report.status == "passed"
        assert target_of(done.path).operators(done.path)["UNIDIRECTIONAL_SEQUENCE_LSTM"] == 1
        assert done.quantization.chosen.worst.value < 0.05


@pytest.mark.long
def test_auto_unrolls_for_int8_what_else_is_a_loop(tmp_path, monkeypatch):
    monkeypatch.setattr("rnnexport.core.forms.MOST_UNROLLED", STEPS - 1)
    for form, written in (("weights", "rolled"), ("int8", "unroll")):
        done = rnnexport.export(gru(), tmp_path / "m.tflite", quantize=QuantizeRequest(form, allow_partial=True))
        (decision,) = done.lowering
        assert decision.chosen == written
        assert ("takes no loop" in decision.why) == (form == "int8")
        assert target_of(done.path).read_proof(done.path).provenance.options["form"] == written
        assert done.report.status == "passed"
        assert done.quantization.chosen.worst.value < 0.3


@pytest.mark.long
def test_a_loop_is_refused(tmp_path):
    rolled = TFLiteForm("rolled")
    with pytest.raises(ConversionError, match=r"has a loop; expected .* runs no loops; give TFLiteForm.*unroll"):
        rnnexport.export(gru(), tmp_path / "m.tflite", tflite=rolled, quantize=QuantizeRequest("int8"), verify=False)
    assert not list(tmp_path.iterdir())
