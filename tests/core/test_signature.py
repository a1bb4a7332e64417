from __future__ import annotations

import json

import numpy as np
import pytest

from rnnexport.core.errors import UsageError
from rnnexport.core.signature import Boundary, Signature, StateSpec, TensorSpec, argument_name, unique_names


def signature() -> Signature:
    before = TensorSpec("state_gru_00", "float32", (2, 3))
    after = TensorSpec("next_state_gru_00", "float32", (2, 3))
    return Signature(
        (TensorSpec("ids", "int32", ("batch", "time"), high=9, mask=0.0), TensorSpec("x", "float64", ("batch", 4))),
        (TensorSpec("y", "float32", ("batch", "time", 5)),),
        (StateSpec("gru", before, after, np.arange(6, dtype="float32").reshape(2, 3)),),
    )


def test_json_round_trip_keeps_everything():
    first = signature()
    second = Signature.from_json(json.loads(json.dumps(first.to_json())))
    assert second.inputs == first.inputs
    assert second.outputs == first.outputs
    (state,) = second.states
    assert (state.layer, state.input, state.output) == ("gru", first.states[0].input, first.states[0].output)
    assert state.initial.dtype == np.float32
    np.testing.assert_array_equal(state.initial, first.states[0].initial)


def test_a_constant_initial_state_is_one_number_in_json():
    spec = TensorSpec("s", "float32", (2, 3))
    state = StateSpec("gru", spec, TensorSpec("n", "float32", (2, 3)), np.ones((2, 3), "float32"))
    assert state.to_json()["initial"] == 1.0
    np.testing.assert_array_equal(StateSpec.from_json(state.to_json()).initial, np.ones((2, 3)))


def test_states_come_last_on_both_sides():
    assert [spec.name for spec in signature().all_inputs] == ["ids", "x", "state_gru_00"]
    assert [spec.name for spec in signature().all_outputs] == ["y", "next_state_gru_00"]
    assert signature().dynamic_dims == ("batch", "time")


@pytest.mark.parametrize(
    ("wanted", "taken", "expected"),
    [
        (["a", "b"], [], ["a", "b"]),
        (["a", "a", "a"], [], ["a", "a_1", "a_2"]),
        (["a", "a_1", "a"], [], ["a", "a_1", "a_2"]),
        (["x"], ["x"], ["x_1"]),
    ],
)
def test_unique_names(wanted, taken, expected):
    assert unique_names(wanted, taken) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x", "x"),
        ("feat.x-1", "feat_x_1"),
        ("1st", "input_1st"),
        ("_x", "input_x"),
        ("é", "input_"),
        ("class", "class_"),
        ("self", "self_"),
    ],
)
def test_argument_name(name, expected):
    assert argument_name(name) == expected


@pytest.mark.parametrize("value", [0, -3, "many", 2.5])
def test_a_length_must_be_a_number_above_0_or_dynamic(value):
    with pytest.raises(UsageError, match="--timesteps"):
        Boundary(timesteps=value)
    with pytest.raises(UsageError, match="--batch"):
        Boundary(batch=value)
