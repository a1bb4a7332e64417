"""What a user says of the inputs at export: data of their own, and ranges. Both are recorded and used again."""

from __future__ import annotations

import keras
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import rnnexport
from rnnexport.api.expectations import extent_of
from rnnexport.artifact.checksum import sealed
from rnnexport.core.errors import UsageError
from rnnexport.reference.describe import describe_with_truth
from rnnexport.targets.registry import target

RNG = np.random.default_rng(3)


def model(ids=False):
    keras.utils.set_random_seed(8)
    x = keras.Input((None,) if ids else (None, 3), name="x", dtype="int32" if ids else "float32")
    inner = keras.layers.Embedding(20, 3)(x) if ids else keras.ops.sqrt(x) + keras.ops.minimum(x, 0.75)
    return keras.Model(x, keras.layers.Dense(2, bias_initializer="normal")(inner))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "m.keras"
    model().save(path)
    return path


def proof_of(path):
    return target("onnx").read_proof(path)


def test_a_range_holds_in_all_feeds_now_and_later_and_no_other_domain_is_tried(tmp_path):
    source = rnnexport.load(model())
    report = rnnexport.export(source, "onnx", tmp_path / "m.onnx", ranges={"x": (0.25, 4.0)}).report
    assert report.status == "passed"
    assert report.coverage.notes == ()
    assert report.coverage.share == 1
    proof = proof_of(tmp_path / "m.onnx")
    assert proof.provenance.options["ranges"] == [["x", 0.25, 4.0]]
    later = describe_with_truth(source, extent_of(proof).called, seed=1)
    for golden in (*proof.goldens, *later.goldens):
        assert 0.25 <= golden.feed["x"].min() < golden.feed["x"].max() <= 4
    assert max(golden.feed["x"].max() for golden in proof.goldens) > 3.9
    assert rnnexport.verify(tmp_path / "m.onnx", source=source).passed


@pytest.mark.long
def test_states_of_a_stream_have_ranges_too(tmp_path):
    """A folder of a stream has whole sequences as well, which have no states."""
    path, ranges = tmp_path / "folder", {"x": (0.0, 1.0), "state_gru_00": (-0.5, 0.75)}
    x = keras.Input((None, 3), name="x")
    y = keras.layers.GRU(4, return_sequences=True, bias_initializer="normal", name="gru")(keras.ops.sqrt(x))
    source = rnnexport.load(keras.Model(x, y))
    done = rnnexport.export(source, "saved-model", path, stream="dynamic", ranges=ranges)
    assert done.report.status == "passed"
    proof = target("saved-model").read_proof(path)
    states = [golden.feed["state_gru_00"] for golden in proof.goldens if "state_gru_00" in golden.feed]
    assert len(states) > 5
    assert -0.5 <= min(map(np.min, states)) < -0.4
    assert 0.65 < max(map(np.max, states)) <= 0.75
    assert rnnexport.verify(path, source=source).passed
    with pytest.raises(UsageError, match="expected an input or a state: x, state_gru_00"):
        rnnexport.export(source, "saved-model", path, stream="dynamic", ranges={"state_gru_01": (0, 1)})


def test_a_range_of_ids_takes_all_of_them(tmp_path):
    rnnexport.export(model(ids=True), "onnx", tmp_path / "m.onnx", ranges={"x": (3, 11)})
    ids = {int(one) for golden in proof_of(tmp_path / "m.onnx").goldens for one in golden.feed["x"].ravel()}
    assert ids == set(range(3, 12))


@pytest.mark.parametrize(
    ("ids", "ranges", "why"),
    [
        (False, {"y": (0, 1)}, "ranges='y:0:1' .*expected an input: x"),
        (False, {"x": (1, 0)}, "ranges='x:1:0'; expected NAME:LOW:HIGH"),
        (False, {"x": (0, float("inf"))}, "ranges='x:0:inf'"),
        (True, {"x": (0, 20)}, "ids from 0 to 19"),
        (True, {"x": (0.2, 0.8)}, "ids from 0 to 19"),
    ],
)
def test_a_range_that_the_model_has_not_is_refused(ids, ranges, why, tmp_path):
    with pytest.raises(UsageError, match=why):
        rnnexport.export(model(ids=ids), "onnx", tmp_path / "m.onnx", ranges=ranges)
    assert list(tmp_path.iterdir()) == []


def test_some_data_are_kept_in_the_file_and_all_are_run(tmp_path):
    x = RNG.uniform(0, 1, (150, 5, 3)).astype("float32")
    x[140] = 30000.0  # which the middle, the first and the last rows do not show
    np.savez(tmp_path / "data.npz", x=x)
    exported = rnnexport.export(model(), "onnx", tmp_path / "m.onnx", data=tmp_path / "data.npz")
    assert exported.report.feeds[-1].label == "data of data.npz, 150 rows"
    assert exported.report.feeds[-1].outputs[0].errors.count == 150 * 5 * 2
    proof = proof_of(tmp_path / "m.onnx")
    assert proof.provenance.options["data"] == "data.npz"
    kept = [golden for golden in proof.goldens if golden.label.startswith("data of data.npz")]
    for golden, start in zip(kept, (0, 64, 128), strict=True):
        rows = golden.feed["x"]
        np.testing.assert_array_equal(rows, x[start : start + len(rows)])
        assert golden.truth.keys() == golden.expected.keys()
    assert rnnexport.verify(tmp_path / "m.onnx").passed


def test_data_show_a_fault_that_nothing_else_shows(tmp_path):
    """A constant of 0.75 that is 0.7500001 acts on values above it alone, which are in the data alone."""
    np.savez(tmp_path / "data.npz", x=np.full((4, 2, 3), 0.875, "float32"))
    rnnexport.export(model(), "onnx", tmp_path / "m.onnx", ranges={"x": (0.0, 0.5)}, data=tmp_path / "data.npz")
    changed = onnx.load(tmp_path / "m.onnx")
    tensors = [*changed.graph.initializer, *(one.t for node in changed.graph.node for one in node.attribute)]
    (bound,) = [one for one in tensors if one.data_type == 1 and np.all(numpy_helper.to_array(one) == 0.75)]
    bound.CopyFrom(numpy_helper.from_array(np.float32(0.8), bound.name))
    (tmp_path / "m.onnx").write_bytes(sealed(changed.SerializeToString(deterministic=True)))
    (report,) = rnnexport.verify(tmp_path / "m.onnx").artifacts
    assert report.status == "mismatch"
    assert {feed.label for feed in report.feeds if not all(one.passed for one in feed.outputs)} == {
        "data of data.npz, 1"
    }


def test_data_that_do_not_fit_are_refused_and_nothing_is_written(tmp_path):
    np.savez(tmp_path / "data.npz", x=np.zeros((4, 2, 5), "float32"))
    with pytest.raises(UsageError, match=r"data.npz has x of the shape \(4, 2, 5\)"):
        rnnexport.export(model(), "onnx", tmp_path / "m.onnx", data=tmp_path / "data.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["data.npz"]


def test_commands_take_both(rnnexport_command, saved, tmp_path):
    np.savez(tmp_path / "data.npz", x=RNG.uniform(0, 1, (8, 2, 3)).astype("float32"))
    given = ("--data", "data.npz", "--range", "x:0:1")
    done = rnnexport_command("onnx", saved, "-o", "one.onnx", *given, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    done = rnnexport_command("export", saved, "--to", "numpy", *given, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for bad, why in (("x:1", "expected NAME:LOW:HIGH"), ("z:0:1", "expected an input: x")):
        done = rnnexport_command("onnx", saved, "-o", "two.onnx", "--range", bad, cwd=tmp_path)
        assert done.returncode == 2
        assert why in done.stderr
    assert not (tmp_path / "two.onnx").exists()
