"""What a file is, told before any Keras sees it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from rnnexport.core.errors import ConversionError, UsageError
from rnnexport.core.load_options import LoadOptions
from rnnexport.source.configs import choose_api
from rnnexport.source.files import identify
from rnnexport.source.load import load_source

LAMBDA = {"class_name": "Lambda", "config": {"function": "..."}}


def keras_zip(path, config, version="3.15.1"):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("config.json", json.dumps(config))
    return path


def hdf5(path, config, version="2.15.0"):
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version
        file.attrs["model_config"] = json.dumps(config)
    return path


@pytest.mark.parametrize("write", [keras_zip, hdf5])
@pytest.mark.parametrize(
    "config",
    [
        {"class_name": "Sequential", "config": {"layers": [LAMBDA]}},
        {"class_name": "Sequential", "config": {"layers": [{**LAMBDA, "config": {"name": "l"}}]}},
        {"class_name": "Sequential", "config": {"layers": [{**LAMBDA, "class_name": "Custom>Lambda"}]}},
        {"class_name": "F", "config": {"a": {"deep": [[{"layer": LAMBDA}]]}}},
    ],
)
def test_a_lambda_is_refused_wherever_it_hides(write, config, tmp_path):
    with pytest.raises(ConversionError, match="layer Lambda"):
        identify(write(tmp_path / "m", config))


@pytest.mark.parametrize(
    ("version", "api"), [("3.0.0", "keras"), ("3.15.1", "keras"), ("2.2.4-tf", "tf_keras"), ("1.2.2", "tf_keras")]
)
def test_the_version_decides_the_keras(version, api, tmp_path):
    for file in (hdf5(tmp_path / "m.h5", {}, version), keras_zip(tmp_path / "m.keras", {}, version)):
        assert choose_api(identify(file).origin, "auto", "m")[0] == api


@pytest.mark.parametrize("version", ["", "x.1", None, 3, [1]])
def test_what_is_no_version_is_damage(version, tmp_path):
    with pytest.raises(ConversionError, match="damaged"):
        identify(keras_zip(tmp_path / "m.keras", {}, version))


@pytest.mark.parametrize("config", [[], "text", None, 3])
def test_what_is_no_configuration_is_damage(config, tmp_path):
    with pytest.raises(ConversionError, match="damaged"):
        identify(keras_zip(tmp_path / "m.keras", config))
    with pytest.raises(ConversionError, match="damaged"):
        identify(hdf5(tmp_path / "m.h5", config))


def test_layers_and_cells_are_listed_named_or_not(tmp_path):
    cell = {"class_name": "MyCell", "config": {"units": 3}}
    rnn = {"class_name": "RNN", "config": {"name": "rnn", "cell": cell, "init": {"class_name": "Zeros", "config": {}}}}
    bare = {"class_name": "Pool", "config": {}, "name": "pool"}  # of a class that saves no name of its own
    config = {"class_name": "Sequential", "config": {"name": "m", "layers": [rnn, bare]}}
    wanted = [("Sequential", "m"), ("RNN", "rnn"), ("MyCell", ""), ("Pool", "pool")]
    assert identify(keras_zip(tmp_path / "m", config)).layers() == wanted


def test_flipped_bits_end_in_a_source_or_one_clear_error(saved, tmp_path):
    whole = saved("lstm").read_bytes()
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(300):
        data = bytearray(whole)
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        path = tmp_path / "m.keras"
        path.write_bytes(bytes(data[: rng.integers(1, len(data))] if rng.random() < 0.3 else data))
        try:
            identify(path)
            outcomes.add("read")
        except ConversionError as error:
            assert "\n" not in str(error)  # noqa: PT017
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_a_zip_that_is_no_model_is_no_hostile_one(tmp_path):
    np.savez(tmp_path / "m.keras.npz", a=np.ones(3))
    with pytest.raises(ConversionError, match=r"is not a Keras file but an archive of NumPy arrays"):
        identify(tmp_path / "m.keras.npz")


@pytest.mark.parametrize("name", ["a\0b", "n" * 300])
def test_a_path_that_can_be_none_is_told(name):
    with pytest.raises(UsageError, match=r"can't look at|no file"):
        identify(Path(name))


@pytest.mark.parametrize("mask", ["Masking", "Embedding"])
def test_an_h5_of_keras_3_with_a_mask_is_read_back(mask, tmp_path):
    """Keras 3 names the operations of the mask in the file, and does not find them again itself."""
    import keras

    x = keras.Input((None, 5) if mask == "Masking" else (None,))
    y = keras.layers.Masking()(x) if mask == "Masking" else keras.layers.Embedding(7, 3, mask_zero=True)(x)
    model = keras.Model(x, keras.layers.GRU(4)(y))
    model.save(tmp_path / "m.h5")
    feed = np.random.default_rng(1).standard_normal((2, 6, 5)) if mask == "Masking" else np.arange(12).reshape(2, 6) % 7
    feed = feed.astype("float32")
    feed[0, 3:] = 0
    np.testing.assert_array_equal(np.asarray(load_source(tmp_path / "m.h5").model(feed)), np.asarray(model(feed)))


def test_a_functional_keras_file_of_tf_keras_is_read_by_keras_3_where_it_is_asked_to(tmp_path):
    import tf_keras

    x = tf_keras.Input((None, 5))
    model = tf_keras.Model(x, tf_keras.layers.LSTM(4)(x))
    model.save(tmp_path / "m.keras")
    feed = np.random.default_rng(1).standard_normal((2, 6, 5)).astype("float32")
    found = load_source(tmp_path / "m.keras", LoadOptions(keras_api="keras")).model(feed)
    np.testing.assert_allclose(np.asarray(found), np.asarray(model(feed)), rtol=1e-5, atol=2e-6)
