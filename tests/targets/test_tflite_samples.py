"""Every sample as a TFLite file in each form: of an open length where it has one, and of lengths that are fixed."""

from __future__ import annotations

import pytest

import rnnexport
from rnnexport.core.errors import ConversionError
from rnnexport.core.forms import TFLiteForm
from rnnexport.targets.registry import target
from samples.catalog import SAMPLES

EACH = [pytest.param(sample, marks=pytest.mark.xdist_group(sample.name), id=sample.name) for sample in SAMPLES]
# The sample whose loops are an LSTM that begins at zero.
FUSED = ("lstm",)


def exported(sample, saved, folder, form, **sizes):
    loading = rnnexport.LoadOptions([str(sample.path)])
    path = folder / f"{form}_{sizes.get('timesteps')}.tflite"
    made = rnnexport.export(saved(sample.name), "tflite", path, loading=loading, tflite=TFLiteForm(form), **sizes)
    assert made.report.status == "passed"
    assert target("tflite").operators(made.path)["CUSTOM"] == 0
    return made


@pytest.mark.long
@pytest.mark.parametrize("sample", EACH)
def test_every_sample_is_right_as_a_loop(sample, saved, tmp_path):
    """Of an open length, where it has one: a verification takes lengths from 1 to 103."""
    made = exported(sample, saved, tmp_path, "rolled")
    assert {one.chosen for one in made.lowering} <= {"rolled"}


@pytest.mark.long
@pytest.mark.parametrize("steps", [1, 7, 100])
@pytest.mark.parametrize("sample", EACH)
def test_every_sample_is_right_step_by_step(sample, steps, saved, tmp_path):
    if sample.timesteps is None:
        pytest.skip("it has a length, or none")
    made = exported(sample, saved, tmp_path, "unroll", timesteps=steps)
    assert target("tflite").operators(made.path)["WHILE"] == 0


@pytest.mark.long
@pytest.mark.parametrize("sample", EACH)
def test_what_is_an_lstm_is_fused(sample, saved, tmp_path):
    if sample.name in FUSED:
        made = exported(sample, saved, tmp_path, "fused", batch=2)
        assert [one.chosen for one in made.lowering] == ["fused"]
        return
    with pytest.raises(ConversionError, match="no recurrence with a fused form"):
        exported(sample, saved, tmp_path, "fused", **({} if sample.timesteps is None else {"batch": 2}))
    assert not list(tmp_path.iterdir())
