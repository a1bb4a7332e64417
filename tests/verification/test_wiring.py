"""Which wrong wiring is named, on a recurrence in NumPy, and of which nothing may be said."""

from __future__ import annotations

import json
from importlib.resources import files
from xml.etree import ElementTree as ET

import jsonschema
import numpy as np
import pytest

from rnnexport.artifact.goldens import slim
from rnnexport.report.html import to_html
from rnnexport.report.json_view import to_json
from rnnexport.report.junit import to_junit
from rnnexport.verification.diagnosis.state_wiring import Observed, Wiring
from rnnexport.verification.entry_point import Entry
from rnnexport.verification.report import Report
from rnnexport.verification.tolerance import Tolerances
from tests.verification.streams import AFTER, BEFORE, START, WEIGHTS, goldens, onnx_like, right, signature, verified

RNN, H_LSTM, C_LSTM = "rnn_00", "lstm_00", "lstm_01"


def said(compute, source=right, keep=None, boundary=None):
    """What is said of an artifact that computes `compute` and should compute `source`."""
    boundary = boundary or signature()
    calls = [golden for golden in goldens(boundary, source) if not golden.carries]
    entry = Entry(onnx_like(compute), boundary, Tolerances())
    keep = keep or (lambda golden: golden)
    seen = [Observed(one.feed, entry.run(one.feed), entry.wanted(keep(one))) for one in calls]
    return Wiring(boundary, seen, entry.run, Tolerances().of).problem()


def out(changes):
    """What comes out under another name: `changes` gives the state that each of some holds."""

    def compute(feed):
        found = right(feed)
        return found | {AFTER[name]: found[AFTER[other]] for name, other in changes.items()}

    return compute


def into(changes):
    """The same for what goes in."""
    return lambda feed: right(feed | {BEFORE[name]: feed[BEFORE[other]] for name, other in changes.items()})


def baked(name, value):
    return lambda feed: right(feed | {BEFORE[name]: np.broadcast_to(value, feed[BEFORE[name]].shape)})


def late(name):
    """One state is that of a step earlier."""

    def compute(feed):
        before = right(feed | {"x": feed["x"][:, :-1]}) if feed["x"].shape[1] > 1 else None
        earlier = feed[BEFORE[name]] if before is None else before[AFTER[name]]
        return right(feed) | {AFTER[name]: earlier}

    return compute


def test_of_what_is_right_nothing_is_said():
    assert said(right) == ""


def test_states_that_come_out_crosswise_are_both_named():
    crossed = {RNN: H_LSTM, H_LSTM: RNN}
    assert said(out(crossed)) == (
        "next_state_rnn_00 holds what next_state_lstm_00 should; "
        "next_state_lstm_00 holds what next_state_rnn_00 should: the states are wired crosswise"
    )


def test_three_states_in_a_ring_are_all_named():
    told = said(out({RNN: H_LSTM, H_LSTM: C_LSTM, C_LSTM: RNN}))
    assert told.count(" holds what ") == 3
    assert told.endswith("next_state_lstm_01 holds what next_state_rnn_00 should: the states are wired crosswise")


def test_one_state_that_comes_out_twice_is_named_once():
    assert said(out({C_LSTM: H_LSTM})) == "next_state_lstm_01 holds what next_state_lstm_00 should"


def test_a_state_that_is_not_updated_is_named():
    told = said(lambda feed: right(feed) | {AFTER[C_LSTM]: feed[BEFORE[C_LSTM]]})
    assert told == "next_state_lstm_01 is state_lstm_01 as it went in: the state is not updated"


def test_a_state_that_is_always_the_initial_one_is_named():
    told = said(lambda feed: right(feed) | {AFTER[RNN]: np.repeat(START[RNN], len(feed["x"]), axis=0)})
    assert told == "next_state_rnn_00 is the initial value of the state, whatever goes in"


@pytest.mark.parametrize("name", [RNN, H_LSTM, C_LSTM])
def test_a_state_that_is_one_step_late_is_named(name):
    assert said(late(name)) == f"{AFTER[name]} is what it should be one timestep earlier"


@pytest.mark.parametrize("name", [RNN, C_LSTM])
@pytest.mark.parametrize("value", ["initial", "zero"])
def test_a_state_that_is_baked_in_is_named(name, value):
    told = said(baked(name, START[name] if value == "initial" else np.float32(0)))
    assert told == f"nothing that comes out depends on {BEFORE[name]}: the state is baked in"


def test_a_state_that_is_baked_in_for_itself_alone_is_named():
    """The outputs take notice of it."""
    wrong = baked(H_LSTM, START[H_LSTM])
    told = said(lambda feed: right(feed) | {AFTER[H_LSTM]: wrong(feed)[AFTER[H_LSTM]]})
    assert told == "next_state_lstm_00 does not depend on state_lstm_00: its initial value is baked in"


def test_states_that_go_in_crosswise_are_named():
    told = said(into({RNN: C_LSTM, C_LSTM: RNN}))
    assert told == (
        "what comes out is right when state_rnn_00 and state_lstm_01 change places: these inputs are wired crosswise"
    )


def test_states_that_bear_each_others_names_on_both_sides_are_named():
    crossed = {RNN: H_LSTM, H_LSTM: RNN}

    def compute(feed):
        found = into(crossed)(feed)
        return found | {AFTER[name]: found[AFTER[other]] for name, other in crossed.items()}

    assert said(compute) == ("state_rnn_00 and state_lstm_00 are wired crosswise, and so are the states that come out")


def test_of_two_faults_both_are_named():
    told = said(
        lambda feed: right(feed) | {AFTER[RNN]: feed[BEFORE[RNN]], AFTER[C_LSTM]: late(C_LSTM)(feed)[AFTER[C_LSTM]]}
    )
    assert told == (
        "next_state_rnn_00 is state_rnn_00 as it went in: the state is not updated; "
        "next_state_lstm_01 is what it should be one timestep earlier"
    )


def test_what_is_wrong_otherwise_has_no_name():
    assert said(lambda feed: right(feed | {"x": feed["x"] * np.float32(1.001)})) == ""
    assert said(lambda feed: right(feed) | {AFTER[RNN]: right(feed)[AFTER[RNN]] * np.float32(0.5)}) == ""
    assert said(lambda feed: right(feed) | {"y": right(feed)["y"][:, ::-1]}) == ""


def twins(feed):
    """A source with two states that are always the same."""
    found = right(feed)
    return found | {AFTER[H_LSTM]: found[AFTER[RNN]]}


def test_states_that_are_equal_are_not_told_apart():
    """The second one is off: that it is no longer the first is no crossing, nor is what equals both."""
    assert said(lambda feed: twins(feed) | {"y": twins(feed)["y"] + 1}, twins) == ""
    assert said(lambda feed: twins(feed) | {AFTER[C_LSTM]: twins(feed)[AFTER[C_LSTM]] + 1}, twins) == ""


def test_a_state_that_is_meant_to_stay_as_it_is_is_no_fault():
    def still(feed):
        return right(feed) | {AFTER[RNN]: feed[BEFORE[RNN]]}

    assert said(lambda feed: still(feed) | {"y": still(feed)["y"] + 1}, still) == ""


def test_a_state_that_forgets_all_in_a_call_is_no_fault():
    """Its source does not look at it either: that it is wrong has another reason."""

    def forgets(feed):
        return right(feed) | {AFTER[RNN]: np.tanh(feed["x"][:, -1] @ WEIGHTS["W"])}

    assert said(lambda feed: forgets(feed) | {AFTER[RNN]: forgets(feed)[AFTER[RNN]] * np.float32(0.9)}, forgets) == ""


def test_a_state_that_nothing_looks_at_is_no_fault():
    """Not in its source either, and it is right."""

    def blind(feed):
        return right(feed | {BEFORE[C_LSTM]: feed[BEFORE[C_LSTM]] * 0})

    assert said(lambda feed: blind(feed) | {"y": blind(feed)["y"] + 1}, blind) == ""


def test_what_is_off_by_little_is_not_said_to_be_late():
    """One step more makes it right, but it is no other state before that."""

    def little(feed):
        if feed["x"].shape[1] in {5, 1, 9, 12, 3, 7, 4}:  # the lengths of the goldens
            return right(feed) | {AFTER[RNN]: right(feed)[AFTER[RNN]] + np.float32(3e-5)}
        return right(feed | {"x": feed["x"][:, :-1]})

    assert said(little) == ""


def test_one_call_that_is_right_by_a_swap_is_not_enough():
    def compute(feed):
        if feed["x"].shape[1] == 9:
            return right(feed) | {"y": right(feed)["y"] + 1}
        return into({RNN: C_LSTM, C_LSTM: RNN})(feed) if feed["x"].shape[1] == 1 else right(feed)

    assert said(compute) == ""


def test_values_that_are_not_all_kept_tell_as_much(monkeypatch):
    monkeypatch.setattr("rnnexport.artifact.goldens.LIMIT", 40)
    crossed = {RNN: H_LSTM, H_LSTM: RNN}
    kept = [slim(golden) for golden in goldens(signature())]
    assert {AFTER[RNN], AFTER[H_LSTM]} <= set(kept[0].kept)
    assert said(out(crossed), keep=slim) == said(out(crossed))
    assert "not updated" in said(lambda feed: right(feed) | {AFTER[RNN]: feed[BEFORE[RNN]]}, keep=slim)
    assert said(late(RNN), keep=slim) == said(late(RNN))
    assert said(right, keep=slim) == ""


def test_where_a_length_is_fixed_a_step_more_can_not_be_tried():
    boundary = signature(time=5)
    assert said(late(RNN), boundary=boundary) == ""


def test_a_wrong_wiring_is_named_before_the_values():
    report = verified(onnx_like(out({RNN: H_LSTM, H_LSTM: RNN})))
    assert report.status == "mismatch"
    assert report.problems[0].kind == "states"
    assert report.problems[0].text == report.first_problem()
    assert report.first_problem().endswith(
        "next_state_lstm_00 holds what next_state_rnn_00 should: the states are wired crosswise"
    )


def test_states_without_a_stream_are_named_too_and_what_passes_has_no_wiring():
    def still(feed):
        return right(feed) | {AFTER["rnn_00"]: feed[BEFORE["rnn_00"]]}

    report = verified(onnx_like(still), stream=False)
    assert report.first_problem() == "next_state_rnn_00 is state_rnn_00 as it went in: the state is not updated"
    assert verified(onnx_like(), stream=False).problems == ()


def test_a_runtime_that_refuses_another_length_leaves_the_wiring_unnamed():
    known = {golden.feed["x"].shape for golden in goldens(signature()) if not golden.carries}

    def refuses(feed):
        if feed["x"].shape not in known:
            raise RuntimeError("no kernel")
        earlier = right(feed | {"x": feed["x"][:, :-1]}) if feed["x"].shape[1] > 1 else None
        late = feed[BEFORE["rnn_00"]] if earlier is None else earlier[AFTER["rnn_00"]]
        return right(feed) | {AFTER["rnn_00"]: late}

    report = verified(onnx_like(refuses), stream=False)
    assert report.status == "mismatch"
    assert all(problem.kind != "states" for problem in report.problems)


def test_every_view_of_a_report_tells_the_wiring_and_the_split():
    report = Report((verified(onnx_like(out({C_LSTM: H_LSTM}))),))
    told = "next_state_lstm_01 holds what next_state_lstm_00 should"
    value = json.loads(to_json(report))
    jsonschema.validate(value, json.loads(files("rnnexport.report").joinpath("schema_2.json").read_text()))
    (item,) = value["artifacts"]
    assert item["problem"] == told
    assert told in item["problems"]
    assert "every split of batch 4, time 5, scale 1 from the initial state" in [feed["label"] for feed in item["feeds"]]
    suite = ET.fromstring(to_junit(report)).find("testsuite")
    failures = {
        case.get("name"): case.find("failure").get("message") for case in suite if case.find("failure") is not None
    }
    assert failures["states"] == told
    assert told in to_html(report)
