"""Every sample as a TFLite file of loops, of any length and of many steps."""

from __future__ import annotations

import pytest

import rnnexport
from rnnexport.core.forms import TFLiteForm
from rnnexport.targets.registry import target
from samples.catalog import SAMPLES

EACH = [pytest.param(sample, marks=pytest.mark.xdist_group(sample.name), id=sample.name) for sample in SAMPLES]


@pytest.mark.long
@pytest.mark.parametrize("steps", [None, 100])
@pytest.mark.parametrize("sample", EACH)
def test_every_sample_is_right_as_a_loop(sample, steps, saved, tmp_path):
    loading = rnnexport.LoadOptions([str(sample.path)])
    exported = rnnexport.export(
        saved(sample.name),
        "tflite",
        tmp_path / "m.tflite",
        loading=loading,
        timesteps=steps,
        tflite=TFLiteForm("rolled"),
    )
    assert exported.report.status == "passed"
    assert {one.chosen for one in exported.lowering} <= {"rolled"}
    assert target("tflite").operators(exported.path)["CUSTOM"] == 0
