"""An ONNX file whose weights are too many for one message: they lie in a file beside it, under its seal."""

from __future__ import annotations

import shutil

import numpy as np
import onnx
import pytest

import rnnexport
from rnnexport.targets.onnx import wire

WORDS, WIDTH = 600, 70


def model_of(words):
    import keras

    keras.utils.set_random_seed(words)
    layers = keras.layers
    x = keras.Input((None,), dtype="int32", name="ids")
    h = layers.LSTM(WIDTH, bias_initializer="random_normal")(layers.Embedding(words, 40)(x))
    return keras.Model(x, layers.Dense(words, bias_initializer="random_normal")(h), name="text")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model of some large weights, where a message holds less than one of them."""
    folder = tmp_path_factory.mktemp("beside")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "LARGEST", 1000)
        found = rnnexport.export(model_of(WORDS), "onnx", folder / "m.onnx")
    assert found.report.status == "passed"
    assert [path.name for path in found.companions] == ["m.onnx.data"]
    return folder


@pytest.fixture
def copied(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "elsewhere")


def test_both_files_are_what_one_would_be(copied):
    assert sorted(path.name for path in copied.iterdir()) == ["m.onnx", "m.onnx.data"]
    onnx.checker.check_model(str(copied / "m.onnx"), full_check=True)
    lean = onnx.load(copied / "m.onnx", load_external_data=False)
    outside = [one for one in lean.graph.initializer if one.data_location == onnx.TensorProto.EXTERNAL]
    places = [{entry.key: entry.value for entry in one.external_data} for one in outside]
    assert {place["location"] for place in places} == {"m.onnx.data"}
    assert all(int(place["offset"]) % 65536 == 0 for place in places)
    numbers = sum(int(place["length"]) for place in places)
    assert numbers == 4 * (WORDS * 40 + WIDTH * 4 * WIDTH + WORDS * WIDTH)


def test_a_copy_of_both_is_verified_and_one_of_a_part_is_refused(copied):
    assert rnnexport.verify(copied / "m.onnx").passed
    (copied / "m.onnx.data").rename(copied / "away")
    with pytest.raises(
        rnnexport.UsageError, match=r"from 'm\.onnx\.data', which is not beside it; .*copy m\.onnx\.data"
    ):
        rnnexport.verify(copied / "m.onnx")


def test_weights_that_were_altered_are_told(copied):
    data = bytearray((copied / "m.onnx.data").read_bytes())
    data[70_001] ^= 0x10
    (copied / "m.onnx.data").write_bytes(data)
    with pytest.raises(rnnexport.UsageError, match="altered"):
        rnnexport.verify(copied / "m.onnx")


def test_all_in_a_folder_are_given_at_once(copied):
    assert rnnexport.verify(sorted(copied.iterdir())).passed


def test_a_smaller_model_in_its_place_takes_the_weights_away(copied):
    assert rnnexport.export(model_of(30), "onnx", copied / "m.onnx").report.status == "passed"
    assert [path.name for path in copied.iterdir()] == ["m.onnx"]


def test_weights_of_somebody_else_stay(tmp_path, monkeypatch):
    (tmp_path / "m.onnx.data").write_bytes(b"mine")
    monkeypatch.setattr(wire, "LARGEST", 1000)
    with pytest.raises(
        rnnexport.UsageError, match=r"m\.onnx\.data, which rnnexport did not write; .*weights of m\.onnx go into it"
    ):
        rnnexport.export(model_of(WORDS), "onnx", tmp_path / "m.onnx", verify=False)
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx.data"]
    assert (tmp_path / "m.onnx.data").read_bytes() == b"mine"


def test_other_weights_of_an_artifact_take_the_place_of_its_own(copied, monkeypatch):
    monkeypatch.setattr(wire, "LARGEST", 1000)
    before = (copied / "m.onnx.data").read_bytes()
    assert rnnexport.export(model_of(WORDS + 1), "onnx", copied / "m.onnx").report.status == "passed"
    assert (copied / "m.onnx.data").read_bytes() != before
    assert rnnexport.verify(copied / "m.onnx").passed
    feed = {"ids": np.array([[1, 5, 2]], np.int32)}
    assert rnnexport.run(copied / "m.onnx", feed)
