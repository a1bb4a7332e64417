"""A source run step by step, and artifacts followed along it: `verify --steps`."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

import rnnexport
from rnnexport.artifact.goldens import Golden
from rnnexport.core.errors import UsageError
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.progress import silent
from rnnexport.core.signature import Boundary, Signature, TensorSpec
from rnnexport.reference.describe import describe_with_truth
from rnnexport.reference.float64 import Float64Run
from rnnexport.reference.rollout import Recorded, require_states, steps_of
from rnnexport.reference.stream_equivalence import streamed
from rnnexport.targets.registry import TARGET_NAMES
from samples.catalog import SAMPLES_BY_NAME
from tests.perturb import perturb

pytestmark = pytest.mark.xdist_group("following")
STEPS = 50


def stateful():
    """Two states that start elsewhere than at 0, batch 2, length open."""
    import keras

    class ShiftedCell(keras.layers.LSTMCell):
        def get_initial_state(self, batch_size=None):
            return [
                state + keras.ops.arange(self.units, dtype="float32") * scale
                for state, scale in zip(super().get_initial_state(batch_size), (0.1, -0.2), strict=True)
            ]

    x = keras.Input(batch_shape=(2, None, 4), name="x")
    model = keras.Model(x, keras.layers.RNN(ShiftedCell(3), stateful=True, return_sequences=True, name="rnn")(x))
    rng = np.random.default_rng(2)
    model.set_weights([rng.uniform(-0.8, 0.8, weight.shape) for weight in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def model():
    return stateful()


@pytest.fixture(scope="module")
def source(model):
    return rnnexport.load(model)


@pytest.fixture(scope="module")
def described(source):
    return describe_with_truth(source, Boundary())


@pytest.fixture(scope="module")
def artifact(model, tmp_path_factory):
    return rnnexport.export(model, "onnx", tmp_path_factory.mktemp("following") / "m.onnx").path


def test_the_source_goes_on_from_its_own_states_and_the_truth_from_its_own(model, source, described):
    told = []
    steps = steps_of(source, described, STEPS, told.append)
    assert (steps.count, steps.chunk, steps.label) == (STEPS, 1, "50 steps from the initial state")
    calls = list(steps.calls())
    assert [call.carries for call in calls] == [False] + [True] * (STEPS - 1)
    assert told == [f"{source.name}: step 0 of 50"]
    x_TBI = [call.feed["x"] for call in calls]
    assert {x.shape for x in x_TBI} == {(2, 1, 4)}
    assert len({x.tobytes() for x in x_TBI}) == STEPS
    for state in described.signature.states:
        np.testing.assert_array_equal(calls[0].feed[state.input.name], state.initial)
        assert np.abs(state.initial).max() > 0.1
    # The live model, whole: it starts from its initial state, too.
    (output,) = (spec.name for spec in described.signature.outputs)
    whole = np.asarray(model(np.concatenate(x_TBI, axis=1)))
    np.testing.assert_allclose(np.concatenate([call.expected[output] for call in calls], 1), whole, atol=1e-6)
    distance = [np.abs(call.expected[output] - call.truth[output]).max() for call in calls]
    assert all(call.truth[output].dtype == np.float64 for call in calls)
    assert 0 < max(distance) < 2e-6
    # Were the truth started from the states of the source at each step, it would be this:
    states = {state.input.name: calls[-2].expected[state.output.name] for state in described.signature.states}
    restarted = Float64Run(described.traced).run({**calls[-1].feed, **states}, calls[-1].expected)
    assert np.abs(restarted[output] - calls[-1].truth[output]).max() > 1e-9


def test_a_float64_run_that_is_no_truth_is_not_taken_for_one(source, described):
    steps = steps_of(source, replace(described, no_truth="it is far off"), 2)
    assert [call.truth for call in steps.calls()] == [{}, {}]


def test_calls_of_a_fixed_length_have_that_many_timesteps(source):
    described = describe_with_truth(source, Boundary(timesteps=5))
    steps = steps_of(source, described, 20)
    assert (steps.chunk, steps.label) == (5, "20 steps, 5 a call, from the initial state")
    assert [call.feed["x"].shape for call in steps.calls()] == [(2, 5, 4)] * 4
    with pytest.raises(UsageError, match=r"--steps 52 .* takes 5 timesteps a call; expected a multiple of 5"):
        steps_of(source, described, 52)


@pytest.mark.long
def test_a_stream_of_open_batch_has_three_rows_and_gives_what_the_whole_gives():
    import keras

    x = keras.Input((None, 4), name="x")
    y = keras.layers.Conv1D(5, 3, padding="causal", name="conv")(x)
    whole = keras.Model(x, keras.layers.GRU(6, return_sequences=True, name="gru")(y))
    rng = np.random.default_rng(3)
    whole.set_weights([rng.uniform(-0.8, 0.8, weight.shape) for weight in whole.get_weights()])
    stream = streamed(rnnexport.load(whole), None, silent)
    described = describe_with_truth(stream, Boundary())
    calls = list(steps_of(stream, described, 12).calls())
    assert {call.feed["x"].shape for call in calls} == {(3, 1, 4)}
    assert {array.shape[0] for array in calls[0].feed.values()} == {3}
    (output,) = (spec.name for spec in described.signature.outputs)
    wanted = np.asarray(whole(np.concatenate([call.feed["x"] for call in calls], axis=1)))
    found = np.concatenate([call.expected[output] for call in calls], axis=1)
    np.testing.assert_allclose(found, wanted, atol=2e-6)
    assert all(call.truth for call in calls)


def test_what_is_recorded_is_read_again_bit_by_bit():
    made = []

    def make():
        made.append(0)
        rng = np.random.default_rng(0)
        for call in range(5):
            feed = {"x": rng.standard_normal((2, 3)).astype("float32"), "n": np.array(call)}
            truth = {"y": rng.standard_normal(4)} if call % 2 else {}
            text = np.array([b"a", b"bc"], dtype=object)
            yield Golden("c", feed, {"y": np.float32([np.nan, call]), "t": text}, truth, carries=call > 0)

    recorded = Recorded(make)
    for _, golden in zip(range(3), recorded(), strict=False):
        assert golden.expected["t"].dtype == object
    first, second, third = list(recorded()), list(recorded()), list(recorded())
    assert len(made) == 2  # once until it was left, and once more
    for again in (second, third):
        for one, two in zip(first, again, strict=True):
            assert one.carries == two.carries
            for part in ("feed", "expected", "truth"):
                arrays, others = getattr(one, part), getattr(two, part)
                assert list(arrays) == list(others)
                for name, array in arrays.items():
                    np.testing.assert_array_equal(others[name], array)
                    assert others[name].dtype == array.dtype or name == "t"


def test_an_artifact_is_followed_over_steps_and_a_wrong_one_is_caught_with_its_first_bad_step(
    model, artifact, tmp_path
):
    wrong = perturb(artifact, tmp_path, 1e-2)
    told = []
    report = rnnexport.verify([artifact, wrong], source=model, steps=STEPS, progress=told.append)
    right, bad = report.artifacts
    assert (right.status, bad.status) == ("passed", "mismatch")
    assert sum("step 0 of 50" in line for line in told) == 1  # the source ran once for both
    feed = right.feeds[-1]
    assert (feed.steps, feed.label) == (STEPS, "50 steps from the initial state")
    assert [one.name for one in feed.outputs] == ["rnn", "next_state_rnn_00", "next_state_rnn_01"]
    for one in feed.outputs:
        assert one.errors.count == STEPS * 2 * 3
        for errors in (one.errors, one.artifact_error, one.source_error):
            assert len(errors.by_timestep) == STEPS
            assert max(errors.by_timestep) == errors.max_abs < 2e-6
    off = bad.feeds[-1].outputs[0]
    curve = off.errors.by_timestep
    assert off.errors.max_abs > 1e-4
    first = next(at for at, error in enumerate(curve) if error > 2e-6 + 1e-5)
    assert off.first_timestep <= first
    assert re.match(rf"\d+ of 300 values off, from step {off.first_timestep} on, first at \[", off.problem)


def test_steps_are_a_number_above_0(artifact, model):
    with pytest.raises(UsageError, match="steps=0; expected a number above 0"):
        rnnexport.verify(artifact, source=model, steps=0)


def test_what_has_no_states_is_refused():
    stateless = Signature((TensorSpec("x", "float32", ("batch", "time", 3)),), ())
    with pytest.raises(UsageError, match=r"m\.onnx has no states to carry .* export it with --stream, or leave out"):
        require_states(stateless, "m.onnx")


@pytest.mark.long
def test_the_stack_of_the_sample_is_within_tolerance_of_keras_at_each_of_10000_steps(
    saved, rnnexport_command, tmp_path
):
    """Every target; the source runs once. Takes some minutes: eager Keras needs tens of milliseconds a step."""
    sample = SAMPLES_BY_NAME["stateful_gru"]
    loading = LoadOptions([str(sample.path)])
    paths = [one.path for one in rnnexport.export_all(saved("stateful_gru"), TARGET_NAMES, tmp_path, loading=loading)]
    report = rnnexport.verify(paths, source=saved("stateful_gru"), loading=loading, steps=10_000)
    assert report.passed
    for item in report.artifacts:
        feed = item.feeds[-1]
        assert (feed.steps, len(feed.outputs)) == (10_000, 4)
        for one in feed.outputs:
            curve = one.errors.by_timestep
            assert (len(curve), one.errors.span, one.errors.bad) == (200, 50, 0)
            assert one.errors.count == 10_000 * (2 if one.name == "output_node" else 64)
            # It forgets, so it does not drift: the last tenth is no further off than the rest.
            assert max(curve[180:]) <= 2 * max(curve[:180])
            assert one.artifact_error.max_abs < 4 * one.source_error.max_abs
            # As close as a single step has to be, though 10,000 may be further off.
            assert one.errors.max_abs < 2e-6
