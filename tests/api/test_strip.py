"""Lean artifacts: their goldens beside them or nowhere, guarded by the same checksums."""

from __future__ import annotations

import shutil

import keras
import numpy as np
import pytest

import rnnexport
from rnnexport.artifact.beside import proof_file
from rnnexport.core.errors import ConversionError, UsageError
from rnnexport.targets.registry import TARGET_NAMES, companions_of, target_of
from tests.perturb import copied, perturb

GROUP = pytest.mark.xdist_group("lstm")


def contents(path):
    """The bytes of all files of an artifact."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path, *companions_of(path)]
    return {file.name: file.read_bytes() for file in files if file.is_file()}


@pytest.fixture(scope="module")
def lean(exported, tmp_path_factory):
    """The artifacts of the sample, their goldens beside them, by target."""
    folder = tmp_path_factory.mktemp("lean")
    paths = {to: copied(exported("lstm")[to].path, folder) for to in TARGET_NAMES}
    return {to: (path, rnnexport.strip(path)) for to, path in paths.items()}


@GROUP
def test_verify_finds_the_goldens_beside_every_artifact(lean, exported):
    paths = [path for path, _ in lean.values()]
    everything = sorted(paths[0].parent.iterdir())  # as `artifacts/*` has them
    report = rnnexport.verify(everything)
    assert report.passed
    assert len(report.artifacts) == len(TARGET_NAMES)
    for to, (path, done) in lean.items():
        before = exported("lstm")[to]
        assert (done.path, done.proof) == (path, proof_file(path))
        assert done.before == before.size
        assert done.after <= done.before - done.proof.stat().st_size
        goldens = target_of(path).read_proof(path).goldens
        assert len(goldens) == len(target_of(before.path).read_proof(before.path).goldens) > 3


@GROUP
def test_put_back_it_is_what_it_was(lean, exported, tmp_path):
    for to, (path, _) in lean.items():
        copy = tmp_path / path.name
        rnnexport.strip(path, proof="inside", output=copy)
        assert not proof_file(copy).exists()
        if to not in ("tflite", "saved-model"):  # a flatbuffer is laid out anew
            assert contents(copy) == contents(exported("lstm")[to].path)
        assert rnnexport.verify(copy).passed


@GROUP
@pytest.mark.parametrize("to", TARGET_NAMES)
def test_a_fault_is_caught_and_an_altered_file_refused_beside_the_goldens(to, lean, tmp_path):
    path, _ = lean[to]
    wrong = perturb(path, tmp_path, 0.1)
    shutil.copy(proof_file(path), proof_file(wrong))
    report = rnnexport.verify(wrong)
    assert not report.passed
    assert report.artifacts[0].status == "mismatch"
    changed = copied(path, tmp_path, "changed")
    shutil.copy(proof_file(path), proof_file(changed))
    held = next(file for file in (changed / "saved_model.pb", *companions_of(changed), changed) if file.is_file())
    blob = bytearray(held.read_bytes())
    blob[len(blob) // 3] ^= 1
    held.write_bytes(blob)
    with pytest.raises(UsageError):
        rnnexport.verify(changed)


@GROUP
def test_goldens_of_another_artifact_or_damaged_ones_are_refused(lean, exported, tmp_path):
    path = copied(lean["onnx"][0], tmp_path)
    good = proof_file(lean["onnx"][0]).read_bytes()
    cut, other = good[:-100], proof_file(lean["tflite"][0]).read_bytes()
    for blob in (other, cut, bytes([good[0] ^ 1]) + good[1:]):
        proof_file(path).write_bytes(blob)
        with pytest.raises(UsageError, match=r"beside lstm\.onnx, in lstm\.onnx\.proof, are not its own"):
            rnnexport.verify(path)
    proof_file(path).write_bytes(good)
    assert rnnexport.verify(path).passed
    # Those inside go before those beside it, whose name says nothing.
    whole = copied(exported("lstm")["onnx"].path, tmp_path, "whole")
    proof_file(whole).write_bytes(other)
    assert rnnexport.verify(whole).passed


@GROUP
def test_without_its_goldens_it_says_what_to_do_and_is_verified_by_its_source(lean, exported, saved, tmp_path):
    path = copied(lean["onnx"][0], tmp_path)
    wanted = r"carries no goldens, and no lstm\.onnx\.proof is beside it; .*put lstm\.onnx\.proof there, or verify it"
    with pytest.raises(UsageError, match=wanted):
        rnnexport.verify(path)
    with pytest.raises(UsageError, match="carries no goldens"):
        rnnexport.strip(path, proof="inside")
    assert rnnexport.verify(path, source=saved("lstm")).passed
    x_BTI = np.random.default_rng(2).standard_normal((2, 3, 1)).astype("float32")
    given = [rnnexport.run(one, {"x": x_BTI}).outputs for one in (path, exported("lstm")["onnx"].path)]
    for name, values in given[1].items():  # which knows its inputs all the same
        np.testing.assert_array_equal(given[0][name], values)


@GROUP
def test_what_can_not_be_stripped_is_refused(lean, exported, tmp_path):
    path = copied(exported("lstm")["onnx"].path, tmp_path)
    mine = proof_file(path)
    mine.write_text("proof of a theorem")
    with pytest.raises(UsageError, match=r"lstm\.onnx\.proof, which rnnexport did not write"):
        rnnexport.strip(path)
    assert mine.read_text() == "proof of a theorem"
    mine.unlink()
    with pytest.raises(UsageError, match="no folder"):
        rnnexport.strip(path, output=tmp_path / "no" / "m.onnx")
    with pytest.raises(UsageError, match=r"holds the goldens of lstm\.onnx alone"):
        rnnexport.verify(proof_file(lean["onnx"][0]))
    path = shutil.copy(perturb(path, tmp_path, 0.1), path)
    blob = bytearray(path.read_bytes())
    blob[blob.index(b'"seal": "') + 12] ^= 1
    path.write_bytes(blob)
    with pytest.raises(UsageError, match="was altered"):
        rnnexport.strip(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["lstm.onnx", "perturbed_lstm.onnx"]


def model():
    """A small live model of its own weights."""
    keras.utils.set_random_seed(7)
    return keras.Sequential([keras.Input((None, 5), name="x"), keras.layers.GRU(3, bias_initializer="uniform")])


@pytest.fixture(scope="module")
def verified(tmp_path_factory):
    """A model, and its artifact of an export with the goldens beside it."""
    path = tmp_path_factory.mktemp("verified") / "m.onnx"
    live = model()
    return live, rnnexport.export(live, path, proof="beside")


def test_an_export_with_goldens_beside_it_is_what_strip_makes(verified, tmp_path):
    _, done = verified
    assert done.companions == (proof_file(done.path),)
    inside = rnnexport.strip(done.path, proof="inside", output=tmp_path / "m.onnx").path
    again = rnnexport.strip(inside).path
    assert again.read_bytes() == done.path.read_bytes()
    assert proof_file(again).read_bytes() == proof_file(done.path).read_bytes()
    assert rnnexport.verify(done.path).passed


def test_an_unverified_export_carries_no_goldens_and_computes_the_same(verified, tmp_path):
    live, done = verified
    path = shutil.copy(done.path, tmp_path / "m.onnx")
    shutil.copy(proof_file(done.path), proof_file(path))
    bare = rnnexport.export(live, path, verify=False)
    assert (bare.report, bare.companions) == (None, ())
    assert not proof_file(path).exists()  # that of the artifact before is not of this one
    assert target_of(path).read_proof(path).place == "none"
    x_BTI = np.random.default_rng(1).standard_normal((2, 7, 5)).astype("float32")
    given = {file: rnnexport.run(file, {"x": x_BTI}).outputs for file in (path, done.path)}
    for name, values in given[done.path].items():
        np.testing.assert_array_equal(given[path][name], values)
    with pytest.raises(UsageError, match="data= without a verification"):
        rnnexport.export(live, path, verify=False, data="x.npz")
    with pytest.raises(UsageError, match="proof='outside'"):
        rnnexport.export(live, path, proof="outside")


def test_an_unverified_export_still_refuses_what_can_not_be_run(tmp_path):
    class Broken(keras.layers.Layer):
        def call(self, x):
            return x * float("nan")

    broken = keras.Sequential([keras.Input((None, 5), name="x"), Broken()])
    with pytest.raises(ConversionError):
        rnnexport.export(broken, tmp_path / "m.onnx", verify=False)
    assert not list(tmp_path.iterdir())
