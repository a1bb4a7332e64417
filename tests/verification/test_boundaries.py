"""The signatures of an artifact with states: which there must be, and what each gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rnnexport.artifact.goldens import Recipe, slim
from rnnexport.core.signature import Signature
from rnnexport.targets.base import BATCH_ARGUMENT, INITIAL_STATE, SIGNATURE, STEP
from rnnexport.verification.report import Problem
from tests.verification.streams import (
    BEFORE,
    FIRST,
    failing,
    fresh,
    goldens,
    initial,
    labels,
    onnx_like,
    problem,
    right,
    saved_model_like,
    sequence_goldens,
    sequences,
    signature,
    verified,
    whole,
    wrong,
)


def test_an_artifact_with_all_its_signatures_passes():
    calls = goldens(signature())
    report = verified(saved_model_like(), calls + sequence_goldens(signature()))
    assert (report.status, failing(report)) == ("passed", [])
    others = labels(report)[len(calls) :]
    assert [label.partition(":")[0] for label in others[:4]] == [SIGNATURE] * 3 + [INITIAL_STATE]
    assert labels(report)[-1] == f"{labels(report)[0]}, again after all others"


def test_states_without_a_stream_have_one_function_by_two_names():
    report = verified(saved_model_like(stream=False), stream=False)
    assert report.status == "passed"
    assert labels(report)[-3:] == [INITIAL_STATE, f"{SIGNATURE}: {FIRST}", f"{FIRST}, again after all others"]
    other = saved_model_like(
        stream=False, **{SIGNATURE: lambda feed: right(feed | fresh(len(feed["x"])) | {"x": feed["x"] * 2})}
    )
    report = verified(other, stream=False)
    assert failing(report) == [f"{SIGNATURE}: {FIRST}"]


@pytest.mark.parametrize(
    ("entry", "stream", "told"),
    [
        (STEP, True, f"no signature {STEP}, only {SIGNATURE}, {INITIAL_STATE}"),
        (INITIAL_STATE, True, f"no signature {INITIAL_STATE}, only {STEP}, {SIGNATURE}"),
        (SIGNATURE, False, f"no signature {SIGNATURE}, only {STEP}, {INITIAL_STATE}"),
        (INITIAL_STATE, False, f"no signature {INITIAL_STATE}, only {STEP}, {SIGNATURE}"),
    ],
)
def test_a_signature_that_is_missing_is_named_and_nothing_runs(entry, stream, told):
    report = verified(saved_model_like(stream, **{entry: None}), stream=stream)
    assert (report.status, report.problems, report.feeds) == ("mismatch", (Problem("boundary", told),), ())


def test_a_stream_may_do_without_the_function_on_whole_sequences():
    report = verified(saved_model_like(**{SIGNATURE: None}))
    assert report.status == "passed"
    report = verified(saved_model_like(**{SIGNATURE: None}), goldens(signature()) + sequence_goldens(signature()))
    assert report.problems == (Problem("boundary", f"no signature {SIGNATURE}, which goldens call"),)


def test_a_stream_that_calls_its_steps_by_the_name_of_whole_sequences_is_a_mismatch():
    artifact = saved_model_like(**{SIGNATURE: right})
    artifact.boundaries[SIGNATURE] = signature()
    report = verified(artifact)
    assert report.feeds == ()
    assert [told.text[-27:] for told in report.problems] == [f"(signature {SIGNATURE})"] * 2
    assert report.problems[0].text.startswith(
        "inputs are ['x', 'state_rnn_00', 'state_lstm_00', 'state_lstm_01'], not ['x']"
    )


def test_a_golden_of_a_signature_in_a_format_without_any_is_a_problem():
    report = verified(onnx_like(), goldens(signature()) + sequence_goldens(signature()))
    assert (report.status, [told.text for told in report.problems]) == (
        "mismatch",
        [f"no signature {SIGNATURE}, which goldens call"],
    )


def test_another_boundary_of_a_signature_is_a_problem_that_names_it():
    artifact = saved_model_like()
    artifact.boundaries[SIGNATURE] = Signature(signature().inputs, signature().outputs[:1])
    artifact.boundaries[INITIAL_STATE] = Signature((), artifact.boundaries[INITIAL_STATE].outputs)
    report = verified(artifact)
    assert report.problems == (
        Problem("boundary", f"outputs are ['y'], not ['y', 'last'] (signature {SIGNATURE})"),
        Problem("boundary", f"inputs are [], not ['{BATCH_ARGUMENT}'] (signature {INITIAL_STATE})"),
    )
    assert report.feeds == ()


def zeros(feed):
    return {name: array * 0 for name, array in initial(feed).items()}


def crossed(feed):
    found = initial(feed)
    return found | {BEFORE["rnn_00"]: found[BEFORE["lstm_00"]]}


def baked(feed):
    return initial(feed | {BATCH_ARGUMENT: np.array(2)})


def last_bit(feed):
    return {name: np.nextafter(array, np.float32(9)) for name, array in initial(feed).items()}


@pytest.mark.parametrize(
    ("fault", "names", "told"),
    [
        (zeros, set(BEFORE.values()), "30 of 30 values off"),
        (crossed, {BEFORE["rnn_00"]}, "30 of 30 values off"),
        (last_bit, set(BEFORE.values()), "30 of 30 values off"),
        (baked, set(BEFORE.values()), "has shape (2, 15), not (5, 15)"),
    ],
)
def test_other_initial_states_than_the_recorded_ones_are_a_mismatch(fault, names, told):
    report = verified(saved_model_like(**{INITIAL_STATE: fault}))
    assert wrong(report)[INITIAL_STATE] == names
    assert failing(report) == [INITIAL_STATE]
    assert problem(report, INITIAL_STATE).startswith(told)


def test_initial_states_that_can_not_be_asked_for_are_a_mismatch():
    def raises(feed):
        raise RuntimeError("no rows")

    report = verified(saved_model_like(**{INITIAL_STATE: raises}))
    assert problem(report, INITIAL_STATE) == "the runtime raised RuntimeError: no rows"


def test_of_a_fixed_batch_the_initial_states_take_no_argument():
    boundary = signature(batch=8)
    start = Signature((), tuple(state.input for state in boundary.states))
    artifact = saved_model_like()
    artifact.boundary = boundary
    artifact.boundaries |= {STEP: boundary, SIGNATURE: whole(boundary), INITIAL_STATE: start}
    asked = []

    def fixed(feed):
        asked.append(dict(feed))
        return fresh(8)

    artifact.computes[INITIAL_STATE] = fixed
    report = verified(artifact, goldens(boundary))
    assert (report.status, asked) == ("passed", [{}])
    artifact.computes[INITIAL_STATE] = lambda feed: fresh(7)
    assert failing(verified(artifact, goldens(boundary))) == [INITIAL_STATE]


def test_a_wrong_function_on_whole_sequences_is_a_mismatch_of_it_alone():
    def backwards(feed):
        return sequences({"x": feed["x"][:, ::-1]})

    calls = goldens(signature()) + sequence_goldens(signature())
    report = verified(saved_model_like(**{SIGNATURE: backwards}), calls)
    assert report.status == "mismatch"
    assert failing(report) == [f"{SIGNATURE}: {one.label}" for one in calls[-3:] if one.feed["x"].shape[1] > 1]
    assert all(problem.kind != "states" for problem in report.problems)


def test_what_is_not_kept_of_a_whole_sequence_is_made_by_its_own_signature(monkeypatch):
    """The steps have a length of 1, the sequences one of 5 or more."""
    monkeypatch.setattr("rnnexport.artifact.goldens.LIMIT", 40)
    boundary = signature(time=1)
    artifact = saved_model_like()
    artifact.boundary = artifact.boundaries[STEP] = boundary
    long = replace(sequence_goldens(signature())[2], recipe=Recipe(0, 2))
    kept = slim(long)
    assert "x" not in kept.feed
    report = verified(artifact, [*goldens(boundary), kept], sequence=whole(signature()))
    assert (report.status, failing(report)) == ("passed", [])


def test_each_signature_has_a_precision_of_its_own():
    """What is slightly off in one passes by value, and shows against the float64 truth; the other is not blamed."""

    def exact(golden):
        return replace(golden, truth={name: array.astype("float64") for name, array in golden.expected.items()})

    def slightly(feed):
        return {name: array + np.float32(1.5e-6) for name, array in sequences(feed).items()}

    calls = [exact(one) for one in goldens(signature()) + sequence_goldens(signature())]
    assert verified(saved_model_like(), calls).status == "passed"
    report = verified(saved_model_like(**{SIGNATURE: slightly}), calls)
    assert failing(report) == []
    assert [problem.text[-27:] for problem in report.problems] == [f"(signature {SIGNATURE})"] * 2
    assert all(one.kind == "precision" and one.text.startswith("output ") for one in report.problems)
