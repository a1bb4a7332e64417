"""Damaged artifacts: one clear error, whatever bit is wrong."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import rnnexport
from rnnexport.targets.registry import target
from tests.perturb import seal_folder

GROUP = pytest.mark.xdist_group("lstm")


@GROUP
@pytest.mark.parametrize("to", ["onnx", "tflite", "saved-model"])
def test_flipped_bits_end_in_a_proof_or_one_clear_error(to, exported, tmp_path):
    source = exported("lstm")[to].path
    copy = tmp_path / source.name
    (shutil.copytree if source.is_dir() else shutil.copy)(source, copy)
    files = [copy] if copy.is_file() else sorted((copy / "assets.extra").iterdir())
    rng = np.random.default_rng(1)
    for round_number in range(300):
        file = files[round_number % len(files)]
        whole = file.read_bytes()
        data = bytearray(whole)
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        file.write_bytes(bytes(data))
        try:
            target(to).read_proof(copy)
            if to != "saved-model":  # whose protobuf was not touched
                target(to).operators(copy)
        except rnnexport.RnnExportError as error:
            assert "\n" not in str(error)  # noqa: PT017
        file.write_bytes(whole)


@GROUP
def test_a_cut_saved_model_is_told(exported, tmp_path):
    copy = tmp_path / "m"
    shutil.copytree(exported("lstm")["saved-model"].path, copy)
    whole = (copy / "saved_model.pb").read_bytes()
    (copy / "saved_model.pb").write_bytes(whole[:-100])
    with pytest.raises(rnnexport.UsageError, match="damaged"):
        target("saved-model").operators(copy)
    with pytest.raises(rnnexport.UsageError, match="was altered"):
        rnnexport.verify(copy)
    seal_folder(copy)
    with pytest.raises(rnnexport.UsageError, match="TensorFlow refuses"):
        rnnexport.verify(copy)
