"""Following an artifact over a long sequence, on a runner made for the test."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from rnnexport.artifact.goldens import Golden
from rnnexport.core.errors import UsageError
from rnnexport.core.signature import Signature, StateSpec, TensorSpec
from rnnexport.targets.base import Kernels, RuntimeTensor
from rnnexport.verification.entry_point import Entry
from rnnexport.verification.rollout import POINTS, Steps, follow
from rnnexport.verification.run_artifact import Expectation, verify_artifact
from rnnexport.verification.tolerance import Override, Tolerance, Tolerances

ROWS, UNITS = 2, 4
SPECS = {
    "x": ("float32", (ROWS, "time", UNITS)),
    "s": ("float32", (ROWS, UNITS)),
    "y": ("float32", (ROWS, "time", UNITS)),
    "mean": ("float32", (ROWS,)),
    "n": ("float32", (ROWS, UNITS)),
}
X, S, Y, MEAN, N = (TensorSpec(name, *spec) for name, spec in SPECS.items())
SIGNATURE = Signature((X,), (Y, MEAN), (StateSpec("rnn", S, N, np.full((ROWS, UNITS), 0.25, "float32")),))


def leaky(feed, dtype="float32", keep=0.5):
    """h' = keep h + x, from the state on."""
    h, y = feed["s"].astype(dtype), []
    for x in np.moveaxis(feed["x"].astype(dtype), 1, 0):
        h = h * np.asarray(keep, dtype) + x
        y.append(h)
    return {"y": np.stack(y, 1), "mean": h.mean(1, dtype=dtype), "n": h}


def steps(count, chunk=1, scale=0.1, keep=0.5, truth=True):
    """The source: the same, its own states carried, in float32 and in float64."""

    def calls():
        rng = np.random.default_rng(5)
        state = exact = {"s": SIGNATURE.states[0].start(ROWS)}
        for call in range(count // chunk):
            x = {"x": (rng.standard_normal((ROWS, chunk, UNITS)) * scale).astype("float32")}
            expected, ideal = leaky(x | state, keep=keep), leaky(x | exact, "float64", keep)
            yield Golden(f"call {call}", x if call else x | state, expected, ideal if truth else {}, carries=call > 0)
            state, exact = {"s": expected["n"]}, {"s": ideal["n"]}

    return Steps(count, chunk, calls)


@dataclass
class Artifact:
    """A target and its runner in one: `change` is told the step that a call starts at, and its outputs."""

    change: object = None
    keep: float = 0.5
    at: int = 0
    name: str = "made-up"
    providers: tuple = ("cpu",)
    input_name: object = str
    ordered: bool = True
    settings: dict = field(default_factory=dict)
    entries: tuple = ()
    inputs: tuple = tuple(RuntimeTensor(name, *SPECS[name]) for name in ("x", "s"))
    outputs: tuple = tuple(RuntimeTensor(name, *SPECS[name]) for name in ("y", "mean", "n"))

    def kernels(self, path):
        return Kernels()

    @contextmanager
    def runner(self, path, provider, *, tf32=False):
        yield self

    def placement(self):
        return None

    def run(self, feed):
        step, self.at = self.at, self.at + feed["x"].shape[1]
        found = leaky(feed, keep=self.keep)
        return self.change(step, found) or found if self.change else found


def followed(artifact, run, tolerances=None):
    report = follow(Entry(artifact, SIGNATURE, tolerances or Tolerances()), run)
    assert report.steps == run.count
    return {one.name: one for one in report.outputs}


def noise(step):
    return np.float32(1e-7 * ((step * 7919) % 13))


def noisy(step, found):
    """An error of its own at every step, which no state carries on."""
    y = found["y"] + np.array([noise(step + t) for t in range(found["y"].shape[1])], "float32")[:, None]
    return found | {"y": y}


def errors_by_hand(run):
    """The largest error of y at each step, with no help of what is tested."""
    told = []
    for call, golden in enumerate(run.calls()):
        y = golden.expected["y"]
        given = noisy(call * run.chunk, {"y": y})["y"]
        told += [float(np.abs(given[:, t].astype("float64") - y[:, t]).max()) for t in range(run.chunk)]
    return told


@pytest.mark.parametrize(("count", "chunk", "span"), [(50, 1, 1), (450, 1, 3), (999, 3, 6), (13, 13, 13)])
def test_every_step_is_compared_and_the_curve_has_the_largest_error_of_each_span(count, chunk, span):
    run = steps(count, chunk)
    found = followed(Artifact(noisy), run)
    wanted = errors_by_hand(run)
    y = found["y"].errors
    assert len(wanted) == count
    assert run.span == y.span == span
    assert y.by_timestep == tuple(max(wanted[at : at + span]) for at in range(0, count, span))
    assert len(y.by_timestep) <= POINTS
    assert (y.count, found["n"].errors.count) == (count * ROWS * UNITS, count // chunk * ROWS * UNITS)
    assert found["mean"].errors.count == count // chunk * ROWS
    assert all(one.passed for one in found.values())
    assert found["n"].errors.max_abs == 0


def test_source_and_artifact_are_measured_against_float64_with_the_states_of_each():
    run = steps(60)
    found = followed(Artifact(noisy), run)["y"]
    goldens = list(run.calls())
    source = [float(np.abs(one.expected["y"] - one.truth["y"]).max()) for one in goldens]
    artifact = [
        float(np.abs(noisy(at, {"y": one.expected["y"]})["y"] - one.truth["y"]).max()) for at, one in enumerate(goldens)
    ]
    assert found.source_error.by_timestep == tuple(source)
    assert found.artifact_error.by_timestep == tuple(artifact)
    assert max(source) > 0
    none = followed(Artifact(noisy), steps(60, truth=False))["y"]
    assert (none.source_error, none.artifact_error) == (None, None)


@pytest.mark.parametrize(("chunk", "start"), [(1, 137), (3, 138), (3, 139)])
def test_the_first_bad_step_is_told(chunk, start):
    def late(step, found):
        y = found["y"].copy()
        y[1, [t for t in range(chunk) if step + t >= start], 2] += np.float32(1e-3)
        return found | {"y": y}

    run = steps(300, chunk)
    found = followed(Artifact(late), run)
    y = found["y"]
    goldens = [t for golden in run.calls() for t in np.moveaxis(golden.expected["y"], 1, 0)]
    value = goldens[start][1, 2]
    assert (y.passed, y.first_timestep, y.first_bad, y.errors.bad) == (False, start, (1, 2), 300 - start)
    off = f"{300 - start} of 2,400 values off, from step {start} on, first at [1, 2]: "
    assert y.problem == f"{off}{value + np.float32(1e-3)} not {value}"
    assert found["n"].passed


def test_an_output_without_timesteps_is_that_of_the_last_step_of_its_call():
    found = followed(Artifact(lambda step, found: found | {"mean": found["mean"] + (step >= 30)}), steps(90, 3))
    assert (found["mean"].passed, found["mean"].first_timestep, found["mean"].first_bad) == (False, 32, (0,))


def test_the_artifact_goes_on_from_its_own_states():
    """What is within tolerance at each step alone adds up."""
    run, keep = steps(400, keep=1.0, scale=1.0), 1.0000005
    found = followed(Artifact(keep=keep), run)["n"]
    assert not found.passed
    assert found.first_timestep > 2
    before = {"s": SIGNATURE.states[0].start(ROWS)}
    for golden in run.calls():
        step = leaky({**golden.feed, **before}, keep=keep)
        np.testing.assert_allclose(step["n"], golden.expected["n"], rtol=1e-5, atol=2e-6)
        before = {"s": golden.expected["n"]}


def off_from(start, amount):
    return lambda step, found: found | {"y": found["y"] + np.float32(amount)} if step >= start else found


def test_the_tolerance_of_a_step_is_that_of_so_many_timesteps():
    small = steps(200, scale=1e-4, truth=False)  # from step 20 on nothing is left of the initial state
    assert followed(Artifact(off_from(100, 3e-6)), small)["y"].passed
    early = followed(Artifact(off_from(30, 3e-6)), small)["y"]
    assert (early.passed, early.first_timestep) == (False, 30)
    asked = Tolerances(Tolerance(), Override(atol=2e-6))
    assert followed(Artifact(off_from(100, 3e-6)), small, asked)["y"].first_timestep == 100


def test_nan_never_passes():
    found = followed(Artifact(off_from(70, np.nan)), steps(200))["y"]
    assert (found.passed, found.first_timestep) == (False, 70)
    assert np.isnan(found.errors.by_timestep[70])
    assert not np.isnan(found.errors.by_timestep[69])


def test_an_artifact_that_raises_ends_there_and_what_came_before_is_kept():
    def breaks(step, found):
        if step == 20:
            raise RuntimeError("no kernel")
        return noisy(step, found)

    found = followed(Artifact(breaks), steps(450))  # three steps a point: it breaks within one
    assert {one.problem for one in found.values()} == {"the runtime raised RuntimeError: no kernel, at step 20"}
    assert not any(one.passed for one in found.values())
    wanted = errors_by_hand(steps(20))
    assert found["y"].errors.by_timestep == tuple(max(wanted[at : at + 3]) for at in range(0, 20, 3))
    assert found["y"].errors.count == 20 * ROWS * UNITS


def test_another_shape_and_a_missing_state_are_told_with_their_step():
    def shorter(step, found):
        return found | {"y": found["y"][:, :, 1:]} if step == 9 else found

    def lost(step, found):
        return {"y": found["y"], "mean": found["mean"]} if step == 6 else found

    found = followed(Artifact(shorter), steps(30))
    assert found["y"].problem == "has shape (2, 1, 3), not (2, 1, 4), at step 9"
    found = followed(Artifact(lost), steps(30))
    assert found["n"].problem == "is missing, at step 6"
    assert found["y"].problem == "the call before it gave no state to go on from, at step 7"


def test_other_steps_than_were_asked_for_are_no_pass():
    with pytest.raises(UsageError, match="30 steps; expected 40"):
        followed(Artifact(), replace(steps(30), count=40))
    with pytest.raises(UsageError, match="0 steps; expected 5"):
        followed(Artifact(), Steps(5, 1, lambda: iter(())))


def test_the_judge_tells_the_steps_as_one_feed_that_has_no_part_in_the_precision():
    def too_far(step, found, start):
        return found | {"y": found["y"] + np.float32(8e-7)} if step >= start else found

    first = next(iter(steps(5, 5).calls()))
    expectation = Expectation(SIGNATURE, [first], steps=steps(60))
    report = verify_artifact(Artifact(), Path("m"), expectation)
    assert report.status == "passed"
    assert [feed.steps for feed in report.feeds] == [0, 0, 60]
    assert report.feeds[-1].label == "60 steps from the initial state"
    # The golden is run twice before the steps are.
    along_the_steps = verify_artifact(Artifact(partial(too_far, start=10)), Path("m"), expectation)
    assert (along_the_steps.status, along_the_steps.problems) == ("passed", ())
    throughout = verify_artifact(Artifact(partial(too_far, start=0)), Path("m"), expectation)
    assert throughout.status == "mismatch"
    assert "times as far from the float64 truth" in throughout.problems[0].text
