from __future__ import annotations

import json

import pytest

from rnnexport.core.errors import UsageError
from rnnexport.core.run_record import Watch
from rnnexport.fleet.manifest import read_manifest
from rnnexport.fleet.outcome import Fleet, Outcome


def written(folder, *entries):
    (folder / "m.json").write_text(json.dumps(entries))
    return folder / "m.json"


def test_paths_are_relative_to_the_manifest_and_modules_are_not(tmp_path):
    entry = {"model": "a/m.keras", "to": ["onnx", "numpy", "onnx"], "output": "out", "opset": 17}
    entry |= {"custom_objects": ["cells.py:Cell", "package.cells"], "data": "d/*.npz"}
    job, other = read_manifest(written(tmp_path, entry, {"model": "b.keras", "to": "onnx", "data": "s3://x/y.npz"}))
    assert (job.model, job.folder, job.to) == (tmp_path / "a/m.keras", tmp_path / "out", ("onnx", "numpy"))
    assert job.options == {
        "opset": 17,
        "custom_objects": [str(tmp_path / "cells.py:Cell"), "package.cells"],
        "data": str(tmp_path / "d/*.npz"),
    }
    assert (other.folder, other.to, other.options) == (tmp_path, ("onnx",), {"data": "s3://x/y.npz"})


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([], "no list of models"),
        ([3], "entry 1 of m.json: no object"),
        ([{"to": ["onnx"]}], "entry 1 of m.json: no model"),
        ([{"model": "a.keras", "to": []}], "no to; expected model, to"),
        ([{"model": "a.keras", "to": ["onxx"]}], "target 'onxx'; expected onnx, tflite"),
        ([{"model": "a.keras", "to": ["onnx"], "opsett": 17}], "unknown 'opsett'; .*did you mean opset"),
        ([{"model": "a.keras", "to": ["onnx"], "opset": "17"}], "opset '17'; expected int"),
        ([{"model": "a.keras", "to": ["onnx"], "verify": 1}], "verify 1; expected bool"),
        ([{"model": 1, "to": ["onnx"]}], "model 1; expected str"),
        ([{"model": "a.keras", "to": ["onnx"]}] * 2, "entries 1 and 2 of m.json write the same artifact"),
        (
            [{"model": "a.keras", "to": "onnx", "output": "o"}, {"model": "x/a.keras", "to": "onnx", "output": "./o"}],
            "entries 1 and 2",
        ),
    ],
)
def test_what_is_no_manifest_is_told_by_its_entry(entries, told, tmp_path):
    with pytest.raises(UsageError, match=told):
        read_manifest(written(tmp_path, *entries))


def test_a_manifest_that_is_cut_or_missing(tmp_path):
    path = written(tmp_path, {"model": "a.keras", "to": ["onnx"]})
    path.write_text(path.read_text()[:-3])
    with pytest.raises(UsageError, match=r"m\.json can't be read"):
        read_manifest(path)
    with pytest.raises(UsageError, match="no file"):
        read_manifest(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("codes", "code"), [((0, 0), 0), ((0, 2), 2), ((2, 4), 4), ((4, 3, 0), 3), ((3, 1), 1), ((1, 5), 5)]
)
def test_the_exit_code_is_the_gravest(codes, code):
    outcomes = tuple(Outcome("m", "failed" if one else "exported", one) for one in codes)
    fleet = Fleet(outcomes, Watch().record())
    assert fleet.exit_code == json.loads(fleet.to_json())["exit_code"] == code
    assert json.loads(fleet.to_json())["counts"]["exported"] == codes.count(0)
