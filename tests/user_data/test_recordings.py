"""Recordings longer than a call: cut, the states carried, compared as a whole."""

from __future__ import annotations

import numpy as np
import pytest

import rnnexport
from rnnexport.artifact.goldens import Golden
from rnnexport.core.errors import UsageError
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.signature import Signature, StateSpec, TensorSpec
from rnnexport.targets.registry import target
from rnnexport.user_data.recordings import CHUNK, chunk_of, cut, joined, recorded_golden
from rnnexport.verification.chunks import in_turn
from rnnexport.verification.entry_point import Entry
from rnnexport.verification.tolerance import Tolerances
from samples.catalog import SAMPLES_BY_NAME

UNITS, LENGTH = 2, 3
RNG = np.random.default_rng(3)


def signature(length):
    state = StateSpec(
        "rnn",
        TensorSpec("s", "float32", ("batch", UNITS)),
        TensorSpec("n", "float32", ("batch", UNITS)),
        np.full((1, UNITS), 0.25, "float32"),
    )
    inputs = (TensorSpec("x", "float32", ("batch", length, UNITS)), TensorSpec("gain", "float32", ("batch", UNITS)))
    outputs = (TensorSpec("y", "float32", ("batch", length, UNITS)), TensorSpec("last", "float32", ("batch", UNITS)))
    return Signature(inputs, outputs, (state,))


class Leaky:
    """h' = h / 2 + gain * x: what it is told of is how long each call was."""

    def __init__(self):
        self.lengths = []

    def run(self, feed):
        h, y = feed["s"], []
        self.lengths.append(feed["x"].shape[1])
        for x in np.moveaxis(feed["x"], 1, 0):
            h = h / 2 + feed["gain"] * x
            y.append(h)
        return {"y": np.stack(y, 1), "last": h, "n": h}


def recording(steps, rows=4):
    return {
        "x": RNG.standard_normal((rows, steps, UNITS)).astype("float32"),
        "gain": RNG.standard_normal((rows, UNITS)).astype("float32"),
        "s": RNG.standard_normal((rows, UNITS)).astype("float32"),
    }


@pytest.mark.parametrize(("length", "steps"), [(LENGTH, 4 * LENGTH), ("time", 2 * CHUNK + 7)])
def test_chunks_of_an_artifact_give_what_the_whole_gives(length, steps):
    feed = recording(steps)
    wanted = Leaky().run(feed)
    chunk = chunk_of(feed, signature(length), stream=True)
    assert chunk == (LENGTH if length == LENGTH else CHUNK)
    runner = Leaky()
    entry = Entry(runner, signature(length), Tolerances())
    golden = recorded_golden(feed, wanted, signature(length), chunk)
    (report,) = entry.reports([golden])
    assert [one.passed for one in report.outputs] == [True] * 3
    assert {one.name: one.errors.count for one in report.outputs} == {"y": 8 * steps, "last": 8, "n": 8}
    assert runner.lengths == ([LENGTH] * 4 if length == LENGTH else [CHUNK, CHUNK, 7])
    wrong = {**wanted, "y": wanted["y"] + np.float32(1e-3) * (np.arange(steps) == steps - 1)[:, None]}
    (report,) = entry.reports([Golden("data", feed, wrong, chunk=chunk)])
    first = report.outputs[0]
    assert (first.name, first.passed, first.first_timestep) == ("y", False, steps - 1)


def test_a_recording_of_the_length_of_a_call_or_of_no_stream_is_not_cut():
    assert chunk_of(recording(LENGTH), signature(LENGTH), stream=False) == 0
    assert chunk_of(recording(CHUNK + 1), signature("time"), stream=False) == 0
    assert chunk_of(recording(CHUNK), signature("time"), stream=True) == 0


def test_the_end_is_filled_with_the_last_timestep():
    feed = recording(LENGTH + 1)
    first, second = cut(feed, signature(LENGTH), LENGTH)
    np.testing.assert_array_equal(first["x"], feed["x"][:, :LENGTH])
    np.testing.assert_array_equal(second["x"], np.repeat(feed["x"][:, -1:], LENGTH, axis=1))
    np.testing.assert_array_equal(second["gain"], feed["gain"])
    with pytest.raises(UsageError, match="4 timesteps with outputs of its own; expected a multiple of 3"):
        recorded_golden(feed, {}, signature(LENGTH), LENGTH)


def test_inputs_of_different_lengths_are_refused():
    two = Signature(
        (*signature(LENGTH).inputs, TensorSpec("z", "float32", ("batch", LENGTH, 1))), (), signature(LENGTH).states
    )
    feed = recording(2 * LENGTH) | {"z": np.zeros((4, LENGTH, 1), "float32")}
    with pytest.raises(UsageError, match="a recording of the lengths x 6, z 3"):
        chunk_of(feed, two, stream=True)


@pytest.mark.xdist_group("stateful_gru")
def test_recordings_verify_a_model_of_one_step_a_call_beside_its_source_and_by_themselves(exported, saved, tmp_path):
    path, loading = exported("stateful_gru")["onnx"].path, LoadOptions([str(SAMPLES_BY_NAME["stateful_gru"].path)])
    x = RNG.standard_normal((3, 10, 4)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    report = rnnexport.verify(path, source=saved("stateful_gru"), loading=loading, data=tmp_path / "x.npy")
    assert report.passed, report.artifacts[0].first_problem()
    feed = report.artifacts[0].feeds[-1]
    assert feed.label == "data of x.npy, 3 rows"
    assert {one.errors.count for one in feed.outputs if one.name == "output_node"} == {3 * 10 * 2}
    assert all(one.artifact_error is not None for one in feed.outputs)
    found = []
    with target("onnx").runner(path, "cpu") as runner:
        signature = target("onnx").read_proof(path).provenance.signature
        for row in x[:, np.newaxis]:
            calls = list(in_turn(runner.run, signature, cut({"input_node": row}, signature, 1), 1))
            found.append(joined([outputs for _, outputs in calls], {"output_node": np.zeros((1, 10, 2))}))
    outputs = {name: np.concatenate([one[name] for one in found]) for name in found[0]}
    assert outputs["output_node"].shape == (3, 10, 2)
    np.savez(tmp_path / "right.npz", input_node=x, **outputs)
    outputs["output_node"][2, 9, 1] += np.float32(1e-3)
    np.savez(tmp_path / "wrong.npz", input_node=x, **outputs)
    assert rnnexport.verify(path, data=tmp_path / "right.npz").passed
    wrong = rnnexport.verify(path, data=tmp_path / "wrong.npz").artifacts[0]
    assert "output_node: 1 of 20 values off, from timestep 9 on, first at [0, 9, 1]" in wrong.first_problem()
