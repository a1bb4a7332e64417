"""Chunks and rows of a stream in NumPy that goes wrong in many ways."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rnnexport.core.signature import Signature, StateSpec, TensorSpec
from tests.verification.streams import (
    AFTER,
    BEFORE,
    FIRST,
    RANDOM,
    START,
    failing,
    fresh,
    goldens,
    labels,
    onnx_like,
    problem,
    right,
    signature,
    verified,
    wrong,
)


def test_a_stream_that_is_right_passes_at_every_split_and_row_by_row():
    report = verified(onnx_like())
    assert (report.status, report.problems, failing(report)) == ("passed", (), [])
    derived = labels(report)[len(goldens(signature())) : -1]
    assert derived == [f"every split of {FIRST}", f"every split of {RANDOM}", "rows alone of batch 6, time 4, scale 2"]


def test_every_place_is_cut_and_states_are_carried():
    seen = []

    def watched(feed):
        seen.append((feed["x"].shape[1], feed[BEFORE["rnn_00"]].copy()))
        return right(feed)

    calls = goldens(signature())[:1]
    report = verified(onnx_like(watched), calls)
    assert [steps for steps, _ in seen[1:14]] == [1, 4, 2, 3, 3, 2, 4, 1, 1, 1, 1, 1, 1]
    np.testing.assert_array_equal(seen[1][1], fresh(4)[BEFORE["rnn_00"]])
    after = right({**calls[0].feed, "x": calls[0].feed["x"][:, :3]})[AFTER["rnn_00"]]
    np.testing.assert_array_equal(seen[6][1], after)
    split = report.feeds[1]
    counts = {one.name: one.errors.count for one in split.outputs}
    assert counts["y"] == 5 * calls[0].expected["y"].size
    assert counts["last"] == 5 * calls[0].expected["last"].size


def test_a_chunk_that_looks_ahead_is_caught_by_the_splits_alone():
    """Its source does too, so that the goldens are right: one chunk does not know of the next."""

    def ahead(feed):
        x = feed["x"] + np.float32(0.1) * feed["x"][:, -1:]
        return right(feed | {"x": x})

    report = verified(onnx_like(ahead), goldens(signature(), ahead))
    assert report.status == "mismatch"
    assert failing(report) == [f"every split of {FIRST}", f"every split of {RANDOM}"]
    assert report.problems == ()


def test_the_split_that_is_wrong_is_named():
    def forgets(feed):
        """What went in before a chunk of three is forgotten."""
        return right(feed | ({BEFORE["rnn_00"]: START["rnn_00"] * 0} if feed["x"].shape[1] == 3 else {}))

    calls = goldens(signature())[:1]
    report = verified(onnx_like(forgets), calls)
    label = f"every split of {FIRST}"
    assert failing(report) == [label]
    # Twice: as the first chunk of 3, and as the second; the one that is further off is told.
    assert problem(report, label).endswith(("in chunks of 2 and 3 timesteps", "in chunks of 3 and 2 timesteps"))
    only = verified(
        onnx_like(lambda feed: forgets(feed) if feed["x"][0, 0, 0] != calls[0].feed["x"][0, 0, 0] else right(feed)),
        calls,
    )
    assert problem(only, label).endswith("in chunks of 2 and 3 timesteps")
    assert "from timestep 2 on" in problem(only, label)


def test_of_several_splits_that_are_wrong_the_worst_is_told():
    def off(feed):
        found = right(feed)
        return found | {"y": found["y"] + np.float32({4: 1e-3, 2: 1.0}.get(feed["x"].shape[1], 0.0))}

    report = verified(onnx_like(off), goldens(signature())[:1])
    told = problem(report, f"every split of {FIRST}")
    assert told.endswith(("in chunks of 2 and 3 timesteps", "in chunks of 3 and 2 timesteps"))


def test_a_fault_of_single_steps_is_named_as_such():
    def rounds(feed):
        found = right(feed)
        lossy = {name: found[name].astype("float16").astype("float32") for name in AFTER.values()}
        return found | (lossy if len(feed["x"]) == 4 and feed["x"].shape[1] == 1 else {})

    report = verified(onnx_like(rounds), goldens(signature())[:1])
    (label,) = failing(report)
    assert label == f"every split of {FIRST}"
    assert problem(report, label).endswith(
        ("in 5 chunks of 1 timestep", "in chunks of 1 and 4 timesteps", "in chunks of 4 and 1 timesteps")
    )


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (lambda feed, found: {**found, "y": found["y"][..., 0]}, "has shape (4, 5), not (4, 5, 15), in chunks of"),
        (lambda feed, found: {**found, "y": found["y"][:, : -feed["x"].shape[1] + 1 or None, :]}, "has shape"),
        (lambda feed, found: {name: one for name, one in found.items() if name != "y"}, "do not fit together: 'y'"),
        (lambda feed, found: {**found, "y": np.float32(1)}, "its pieces do not fit together"),
        (lambda feed, found: {**found, "next_state_rnn_00": None}, ""),
    ],
)
def test_chunks_that_can_not_be_joined_are_a_mismatch(broken, told):
    """Short chunks alone are broken, so that the goldens themselves are right."""

    def compute(feed):
        found = right(feed)
        return broken(feed, found) if told and feed["x"].shape[1] < 5 else found

    report = verified(onnx_like(compute), goldens(signature())[:1])
    assert report.status == ("mismatch" if told else "passed")
    if told:
        assert told in problem(report, f"every split of {FIRST}")


def test_a_length_that_the_runtime_refuses_is_named():
    def refuses(feed):
        if feed["x"].shape[1] == 2:
            raise RuntimeError("no kernel")
        return right(feed)

    calls = goldens(signature())[:1]
    report = verified(onnx_like(refuses), calls)
    (label,) = failing(report)
    assert problem(report, label).startswith("the runtime raised RuntimeError: no kernel, in chunks of ")


def test_a_chunk_that_gives_no_state_to_go_on_from_is_a_mismatch():
    def stateless(feed):
        found = right(feed)
        return found if feed["x"].shape[1] == 5 else {name: found[name] for name in ("y", "last")}

    report = verified(onnx_like(stateless), goldens(signature())[:1])
    told = problem(report, f"every split of {FIRST}")
    assert told.startswith("the call before it gave no state to go on from, in chunks of ")


def mixing(feed):
    """A source that is one with what stands beside it in the batch."""
    return right(feed | {"x": feed["x"] + np.float32(0.1) * feed["x"].mean(axis=0, keepdims=True)})


def test_rows_that_are_not_independent_are_caught_row_by_row_alone():
    report = verified(onnx_like(mixing), goldens(signature(), mixing))
    assert failing(report) == ["rows alone of batch 6, time 4, scale 2"]
    assert wrong(report)["rows alone of batch 6, time 4, scale 2"] == {"y", "last", *AFTER.values()}


def neighbours(feed):
    """The state of the row before is taken."""
    return right(feed | {BEFORE["lstm_00"]: np.roll(feed[BEFORE["lstm_00"]], 1, axis=0)})


def by_place(feed):
    """What comes out depends on the place in the batch."""
    return right(feed | {"x": feed["x"] + np.linspace(0, 1, len(feed["x"]), dtype="float32")[:, None, None]})


@pytest.mark.parametrize("fault", [mixing, neighbours, by_place])
@pytest.mark.parametrize("batch", ["batch", 8])
def test_rows_are_independent_whether_the_batch_is_open_or_fixed(batch, fault):
    boundary = signature(batch=batch)
    assert verified(onnx_like(batch=batch), goldens(boundary)).status == "passed"
    report = verified(onnx_like(fault, batch=batch), goldens(boundary, fault))
    names = [label for label in failing(report) if label.startswith("rows ")]
    (label,) = names
    assert label.startswith("rows alone of" if batch == "batch" else "rows each in the whole batch of time ")


def test_a_row_that_the_runtime_refuses_is_named():
    def refuses(feed):
        if len(feed["x"]) == 1:
            raise RuntimeError("a batch of 1")
        return right(feed)

    report = verified(onnx_like(refuses), [one for one in goldens(signature()) if one.recipe.index == 0])
    (label,) = failing(report)
    assert label == f"rows alone of {FIRST}"
    assert problem(report, label) == "row 0 alone: the runtime raised RuntimeError: a batch of 1"


def test_a_row_that_gives_less_than_the_batch_is_a_mismatch():
    def less(feed):
        found = right(feed)
        return found if len(feed["x"]) > 1 else {name: one for name, one in found.items() if name != "last"}

    report = verified(onnx_like(less), [one for one in goldens(signature()) if one.recipe.index == 0])
    assert problem(report, f"rows alone of {FIRST}") == "its pieces do not fit together: 'last'"


def test_outputs_without_rows_are_not_taken_apart():
    boundary = Signature((TensorSpec("x", "float32", ("batch", 5, 13)),), (TensorSpec("y", "float32", (13,)),))
    calls = [
        replace(one, feed={"x": one.feed["x"]}, expected={"y": one.feed["x"].sum(axis=(0, 1))})
        for one in goldens(signature(time=5))[:3]
    ]
    report = verified(replace(onnx_like(lambda feed: {"y": feed["x"].sum(axis=(0, 1))}), boundary=boundary), calls)
    assert (report.status, len(report.feeds)) == ("passed", 4)


def test_of_a_length_that_is_fixed_the_chunks_that_carry_are_the_check():
    boundary = signature(time=1)
    report = verified(onnx_like(time=1), goldens(boundary))
    assert report.status == "passed"
    assert not [label for label in labels(report) if "split" in label]
    assert len([label for label in labels(report) if "going on from the call before" in label]) == 2
    assert len([label for label in labels(report) if label.startswith("rows alone")]) == 1


def test_what_is_no_stream_is_neither_cut_nor_taken_apart():
    report = verified(onnx_like(mixing), goldens(signature(), mixing), stream=False)
    assert report.status == "passed"
    assert len(report.feeds) == len(goldens(signature())) + 1


def test_a_stream_without_states_is_cut_too():
    boundary = Signature(
        (TensorSpec("x", "float32", ("batch", "time", 13)),), (TensorSpec("y", "float32", ("batch", "time", 13)),)
    )
    calls = [
        replace(one, feed={"x": one.feed["x"]}, expected={"y": one.feed["x"] * 2}) for one in goldens(signature())[:6]
    ]

    def claimed(compute):
        artifact = replace(onnx_like(lambda feed: {"y": compute(feed["x"])}), boundary=boundary)
        return verified(artifact, calls)

    assert claimed(lambda x: x * 2).status == "passed"
    assert "every split of " + FIRST in labels(claimed(lambda x: x * 2))
    report = claimed(lambda x: x * 2 if x.shape[1] > 2 else x)
    assert f"every split of {FIRST}" in failing(report)


def two_sequences(feed):
    """Two inputs of their own lengths, each summed for itself."""
    total = feed["s"] + feed["x"].sum(axis=1) + feed["z"].sum(axis=1)
    return {"last": total, "n": total}


def test_sequences_of_other_lengths_are_cut_in_proportion():
    x, z = TensorSpec("x", "float32", ("batch", "time", 13)), TensorSpec("z", "float32", ("batch", "z_time", 13))
    before, after = TensorSpec("s", "float32", ("batch", 13)), TensorSpec("n", "float32", ("batch", 13))
    state = StateSpec("sum", before, after, np.zeros((1, 13), "float32"))
    boundary = Signature((x, z), (TensorSpec("last", "float32", ("batch", 13)),), (state,))
    rng = np.random.default_rng(0)
    feed = {
        "x": rng.random((2, 4, 13), "float32"),
        "z": rng.random((2, 9, 13), "float32"),
        "s": np.zeros((2, 13), "float32"),
    }
    seen = []

    def watched(call):
        seen.append((call["x"].shape[1], call["z"].shape[1]))
        return two_sequences(call)

    golden = replace(goldens(signature())[0], feed=feed, expected=two_sequences(feed), recipe=None)
    report = verified(replace(onnx_like(watched), boundary=boundary), [golden])
    assert report.status == "passed"
    assert seen[1:11] == [(1, 2), (3, 7), (2, 4), (2, 5), (3, 6), (1, 3), (1, 2), (1, 2), (1, 2), (1, 3)]
