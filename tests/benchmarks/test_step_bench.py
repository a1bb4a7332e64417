"""The benchmark of one step: what it compares with is the model, and what forgets its state gets no time."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from benchmarks.results import Figure
from benchmarks.step_models import MODELS, eager_steps, inputs
from benchmarks.steppers import OURS, STEPPERS, STEPPERS_BY_NAME, Files, Kind, Stepper
from benchmarks.steps import Row, compared, faults, show
from tests.conftest import ROOT

pytestmark = pytest.mark.xdist_group("step_bench")
PEERS = [kind for kind in STEPPERS if kind.name not in OURS]


@pytest.mark.parametrize("spec", MODELS, ids=[spec.name for spec in MODELS])
def test_keras_steps_to_what_the_whole_gives_and_what_forgets_is_wrong(spec, tmp_path):
    model = spec.build()
    xs = inputs(model, 7)
    truth = eager_steps(model, xs)
    for layer in model.layers:  # the sample is stateful: what follows must not go on from here
        if getattr(layer, "stateful", False):
            layer.reset_state()
    files = Files(spec, model, tmp_path)
    assert {array.shape[:2] for array in truth} == {(1, 1)}
    for kind in PEERS:
        figure, stepper = compared(kind, files, xs, truth)
        assert (figure.status, stepper is None) == ("ok", False), figure
        assert figure.error < 1e-5
        # From the initial state anew, whatever was stepped before.
        np.testing.assert_array_equal(stepper.run(xs)[0], stepper.run(xs)[0])

    def forgetful(files):
        right = PEERS[0].make(files)

        def step(x):
            right.reset()
            return right.step(x)

        return Stepper(step, right.reset)

    figure, stepper = compared(Kind("forgets", "", "", forgetful), files, xs, truth)
    assert (figure.status, stepper) == ("wrong", None)


def row(**seconds):
    return Row("m", "model", {kind.name: Figure("ok", seconds.get(kind.name, 1e-3), 0.0) for kind in STEPPERS})


def test_a_ratio_is_the_time_of_the_peer_over_ours():
    one = row(predict=6e-3, function=3e-3, onnx=1.5e-3)
    assert one.ratio("onnx", "predict") == pytest.approx(4.0)
    assert one.ratio("onnx", "function") == pytest.approx(2.0)
    assert one.ratio("tflite", "predict") == pytest.approx(6.0)
    one.figures["predict"] = Figure("wrong", error=0.5, why="differs")
    assert one.ratio("onnx", "predict") is None


def test_what_is_wrong_has_no_time_and_is_a_fault_where_it_is_ours():
    one = row(predict=6e-3, onnx=1.5e-3)
    one.figures["tflite"] = Figure("wrong", error=0.25, why="differs from the eager model by 0.25")
    one.figures["function"] = Figure("failed", why="no such thing")
    assert faults([one]) == ["m in tflite: differs from the eager model by 0.25"]
    console = Console(file=io.StringIO(), width=150, highlight=False)
    show(console, [one])
    text = console.file.getvalue()
    times = next(line for line in text.splitlines() if "model" in line and "6,000" in line)
    assert [cell.strip() for cell in times.strip("│").split("│")] == [
        *("model", "6,000", "failed", "1,000", "wrong (0.2)", "1,500", "1,000"),
    ]
    assert "m, function failed: no such thing" in text
    assert all(kind.what in text for kind in STEPPERS)


@pytest.mark.long
def test_every_way_of_stepping_is_right_and_timed(tmp_path):
    """One model; the others differ in the model alone, and `make bench` runs them."""
    report = tmp_path / "steps.json"
    command = [sys.executable, "-m", "benchmarks.steps", "--model", "causal_conv_gru", "--quick", "--json", str(report)]
    # A process of its own: TensorFlow is held to one thread before it runs its first operation, or never.
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(report.read_text())
    (only,) = told["rows"]
    assert list(only["ways"]) == list(STEPPERS_BY_NAME)
    for way in only["ways"].values():
        assert (way["status"], way["microseconds"] > 0, way["max_abs_error"] < 1e-5) == ("ok", True, True)
    assert told["settings"]["batch"] == 1
