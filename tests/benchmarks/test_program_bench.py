"""The benchmark of NumPy programs: what it compares with is the model, and what is wrong gets no time."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from benchmarks.callers import KINDS, Caller, Exported, Kind
from benchmarks.cells import Size, feed
from benchmarks.programs import Row, aim, compared, faults, length, show, takes
from benchmarks.results import Figure
from samples.catalog import SAMPLES, SAMPLES_BY_NAME
from tests.conftest import ROOT

pytestmark = pytest.mark.xdist_group("program_bench")
# One with states, one with several inputs and outputs.
CHOSEN = {"stateful_gru": 1, "my_layers": 3}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    made = {}

    def make(name):
        if name not in made:
            made[name] = Exported(name, SAMPLES_BY_NAME[name].build(), tmp_path_factory.mktemp(name))
        return made[name]

    return make


def feeds(model, batch):
    return [feed(model, Size(batch, 7, 0), seed) for seed in (2, 3)]


@pytest.mark.long
@pytest.mark.parametrize("name", CHOSEN)
def test_every_way_gives_what_the_eager_model_gives(name, exported):
    subject = exported(name)
    given = feeds(subject.model, CHOSEN[name])
    truth = subject.eager(given)
    assert len(truth) == 2 * len(subject.model.outputs)
    for kind in KINDS:
        figure, caller = compared(kind, subject, given, truth)
        assert (figure.status, caller is None) == ("ok", False), figure
        assert figure.error < 1e-5
        # From the initial states anew, whatever was called before.
        np.testing.assert_array_equal(caller.run(given)[0], caller.run(given)[0])


def test_what_forgets_its_states_or_swaps_its_outputs_is_wrong(exported):
    def forgets(subject):
        right = KINDS[0].make(subject)

        def run(arrays):
            right.reset()
            return right.call(arrays)

        return Caller(run, right.reset)

    def swaps(subject):
        right = KINDS[0].make(subject)
        return Caller(lambda arrays: right.call(arrays)[::-1], right.reset)

    for name, make in (("stateful_gru", forgets), ("my_layers", swaps)):
        subject = exported(name)
        given = feeds(subject.model, CHOSEN[name])
        figure, caller = compared(Kind("wrong", "", "", make), subject, given, subject.eager(given))
        assert (figure.status, caller) == ("wrong", None)


def test_a_model_is_called_with_the_sizes_it_takes(exported):
    stateful, plain = exported("stateful_gru").model, exported("my_layers").model
    assert (takes(stateful, 1), takes(stateful, 32), takes(plain, 32)) == (True, False, True)
    assert (length(stateful, 100), length(plain, 100)) == (1, None)
    assert length(SAMPLES_BY_NAME["lstm"].build(), 100) == 100


def row(sample="m", batch=1, **seconds):
    return Row(sample, batch, 100, {kind.name: Figure("ok", seconds.get(kind.name, 1e-3), 2e-7) for kind in KINDS})


def test_a_ratio_is_the_time_of_the_peer_over_that_of_the_program():
    one = row(numpy=2e-3, predict=9e-3)
    assert one.ratio("predict") == pytest.approx(4.5)
    assert one.ratio("onnx") == pytest.approx(0.5)
    one.figures["predict"] = Figure("wrong", error=0.5, why="differs")
    assert one.ratio("predict") is None


def test_the_aim_is_met_where_every_sample_is_faster_than_predict_at_batch_1():
    rows = [row(sample.name, numpy=1e-3, predict=3e-3) for sample in SAMPLES]
    slow = row(SAMPLES[0].name, batch=32, numpy=1e-3, predict=5e-4)
    assert (aim([*rows, slow]).met, aim(rows[1:]).met) == (True, None)
    rows[3] = row(SAMPLES[3].name, numpy=1e-3, predict=9e-4)
    told = aim(rows)
    assert (told.met, told.found) == (False, f"lowest 0.90x, {SAMPLES[3].name}")
    rows[3].figures["numpy"] = Figure("wrong", error=0.5, why="differs")
    assert (aim(rows).met, aim(rows).found) == (None, "not measured for 1")


def test_what_is_wrong_has_no_time_and_is_a_fault_where_it_is_ours():
    one = row(predict=6e-3, numpy=2e-3)
    one.figures["onnx"] = Figure("wrong", error=0.25, why="differs from the eager model by 0.25")
    one.figures["function"] = Figure("failed", why="no such thing")
    assert faults([one]) == ["m at batch 1, onnx: differs from the eager model by 0.25"]
    console = Console(file=io.StringIO(), width=150, highlight=False)
    show(console, [one])
    text = console.file.getvalue()
    line = next(line for line in text.splitlines() if "2,000" in line)
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    assert cells == ["m", "100", "2,000", "2.0e-07", "3.00", "0.50", "failed", "wrong (0.2)"]
    assert "m at batch 1, function failed: no such thing" in text
    assert all(kind.what in text for kind in KINDS)
    assert "not measured" in text.splitlines()[-1]


@pytest.mark.long
def test_every_way_is_right_and_timed_on_one_thread(tmp_path):
    """One model; the others differ in the model alone, and `make bench` runs them."""
    report = tmp_path / "programs.json"
    command = [sys.executable, "-m", "benchmarks.programs", "--sample", "lstm", "--quick", "--json", str(report)]
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(report.read_text())
    assert [(row["batch"], row["timesteps"]) for row in told["rows"]] == [(1, 100), (32, 100)]
    for row in told["rows"]:
        assert list(row["ways"]) == [kind.name for kind in KINDS]
        for way in row["ways"].values():
            assert (way["status"], way["microseconds"] > 0, way["max_abs_error"] < 1e-4) == ("ok", True, True)
    assert told["aim"]["met"] is None
