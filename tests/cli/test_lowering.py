"""What the commands say of recurrences: a line each behind an export, a table in inspect, a warning for a fault."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Run

GROUP = pytest.mark.xdist_group("lstm")
# The lowering itself is replaced: what it finds is the matter of other tests.
FOUND = """
import sys
import rnnexport.lowering.lower as module
from rnnexport.core.lowering import LoweringDecision

def lower(model, request, feeds, run, measure):
    asked = f"{request.form} for {request.provider} at {request.tune}"
    return (
        LoweringDecision(
            "rnn/lstm", "LSTM of 5 [units]", "native", asked, ("native", "loop"), {"unroll": "its length is open"}
        ),
        LoweringDecision("rnn/odd", "a cell", "loop", "the last", ("loop",), {"native": "no"}, FAULT),
    )

module.lower = lower
from rnnexport.cli import main
main(sys.argv[1:])
"""


@pytest.fixture
def told(python_process: Run) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command on a lowering that found two recurrences, the second with this fault."""

    def run(arguments: list[object], folder: Path, fault: str = "") -> subprocess.CompletedProcess[str]:
        return python_process("-c", FOUND.replace("FAULT", repr(fault)), *arguments, cwd=folder)

    return run


@GROUP
def test_an_export_tells_each_recurrence_and_the_artifact_keeps_it(saved, told, rnnexport_command, tmp_path):
    done = told(["onnx", saved("lstm"), "--lowering", "scan", "--for", "cuda", "--tune", "32x100"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "  recurrence rnn/lstm: LSTM of 5 [units], as native\n" in done.stdout
    assert "  recurrence rnn/odd: a cell, as loop\n" in done.stdout
    shown = rnnexport_command("inspect", "lstm.onnx", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "for cuda, lowering scan, opset 17, tune 32x100" in shown.stdout
    rows = [line.split() for line in shown.stdout.splitlines()]
    for row in (
        "rnn/lstm LSTM of 5 [units]",
        "native chosen scan for cuda at (32, 100)",
        "unroll refused its length is open",
        "loop proven",
        "rnn/odd a cell",
        "native refused no",
        "loop chosen the last",
    ):
        assert row.split() in rows
    done = rnnexport_command("verify", "lstm.onnx", "--json", "r.json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    (artifact,) = json.loads((tmp_path / "r.json").read_text())["artifacts"]
    assert [(item["name"], item["chosen"], item["fault"]) for item in artifact["lowering"]] == [
        ("rnn/lstm", "native", ""),
        ("rnn/odd", "loop", ""),
    ]


@GROUP
def test_a_fault_is_told_wherever_the_artifact_is_shown(saved, told, rnnexport_command, tmp_path):
    fault = "as scan it gave\n0.5 for 0.25"
    done = told(["export", saved("lstm"), "--to", "onnx", "-o", "."], tmp_path, fault)
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("rnnexport: warning: a fault of rnnexport, rnn/odd: as scan it gave 0.5 for 0.25; ")
    assert "please report it" in line
    shown = rnnexport_command("inspect", "lstm.onnx", cwd=tmp_path)
    assert "FAULT" in shown.stdout
    assert "rnnexport: warning: a fault of rnnexport, rnn/odd" in shown.stderr
    assert "fault of rnnexport in rnn/odd" in rnnexport_command("verify", "lstm.onnx", cwd=tmp_path).stdout


@GROUP
def test_inspect_tells_what_a_model_would_become_and_writes_nothing(saved, told, tmp_path):
    done = told(["inspect", saved("lstm"), "--lowering", "--for", "cuda"], tmp_path, "of old")
    assert done.returncode == 0
    assert "Keras model (.keras)" in done.stdout
    assert "auto for cuda at None" in done.stdout
    assert "FAULT" in done.stdout
    (line,) = done.stderr.splitlines()
    assert "rnnexport: warning: " in line
    assert list(tmp_path.iterdir()) == []


@GROUP
def test_inspect_says_where_there_is_no_recurrence(rnnexport_command, tmp_path):
    import keras

    x = keras.Input((3,), name="x")
    keras.Model(x, keras.layers.Dense(2)(x)).save(tmp_path / "flat.keras")
    done = rnnexport_command("inspect", "flat.keras", "--lowering", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no recurrences" in done.stdout


@GROUP
def test_a_loop_needs_no_runtime_and_another_form_says_that_it_does(saved, python_process, tmp_path):
    code = "import sys; sys.modules['onnxruntime'] = None; from rnnexport.cli import main; main(sys.argv[1:])"
    command = ("-c", code, "onnx", saved("lstm"), "--no-verify")
    done = python_process(*command, cwd=tmp_path)
    assert (done.returncode, list(tmp_path.iterdir())) == (4, [])
    assert "onnxruntime is not installed" in done.stderr
    assert "--lowering loop" in done.stderr
    done = python_process(*command, "--lowering", "loop", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "lstm.onnx").is_file()
