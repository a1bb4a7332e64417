"""What `rnnexport verify` gives besides a verdict: reports in files, the place of a fault, data, tolerances, speed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from rnnexport.targets.registry import target
from tests.conftest import ROOT
from tests.perturb import perturb

ABSENT = ("tensorflow", "keras", "tf_keras", "tf2onnx", "onnx_ir", "onnxscript", "h5py", "jinja2")
GROUP = pytest.mark.xdist_group("lstm")


@GROUP
def test_all_reports_of_one_run_agree(exported, rnnexport_command, tmp_path):
    artifacts = exported("lstm")
    bad = perturb(artifacts["onnx"].path, tmp_path, 1e-2)
    done = rnnexport_command(
        *("verify", artifacts["onnx"].path, bad, "--provider", "cpu", "--provider", "azure"),
        *("--json", "r.json", "--junit", "r.xml", "--html", "r.html"),
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (1, "")
    report = json.loads((tmp_path / "r.json").read_text())
    assert [one["status"] for one in report["artifacts"]] == ["passed", "not run", "mismatch", "mismatch"]
    suites = ET.parse(tmp_path / "r.xml").getroot()
    assert (int(suites.get("failures")) > 0, int(suites.get("skipped")) > 0) == (True, True)
    page = (tmp_path / "r.html").read_text()
    assert "The first to depart is" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


@GROUP
def test_a_fault_is_located_from_the_file_alone(exported, rnnexport_command, tmp_path):
    bad = perturb(exported("lstm")["onnx"].path, tmp_path, 1e-2)
    done = rnnexport_command("verify", bad)
    assert done.returncode == 1
    told = " ".join(done.stdout.split())
    assert "The first to depart is" in told
    # Keras counts the cells that were made before, in other tests.
    assert re.search(r"partial_sum/lstm_cell(_\d+)? \(LSTMCell\), computed by", told)
    assert "at timestep 1, unit 0 of row" in told


@GROUP
def test_a_report_never_overwrites_an_input_or_another_report(exported, rnnexport_command, tmp_path):
    path = exported("lstm")["onnx"].path
    for options in (("--junit", path), ("--json", "a", "--html", "a")):
        done = rnnexport_command("verify", path, *options, cwd=tmp_path)
        assert done.returncode == 2
        assert "which is an input or another report" in done.stderr
    assert not (tmp_path / "a").exists()
    folder = exported("lstm")["saved-model"].path
    done = rnnexport_command("verify", folder, "--json", folder / "saved_model.pb")
    assert (done.returncode, "which is an input" in done.stderr) == (2, True)
    done = rnnexport_command("verify", path, "--require-placement", "nan")
    assert (done.returncode, "found nan" in done.stderr) == (2, True)


@GROUP
def test_the_users_data_with_outputs_in_them_and_without(exported, saved, rnnexport_command, tmp_path):
    path = exported("lstm")["onnx"].path
    x = np.random.default_rng(0).standard_normal((70, 9, 1)).astype("float32")
    with target("onnx").runner(path, "cpu") as runner:
        y = runner.run({"x": x})
    np.savez(tmp_path / "with.npz", x=x, **y)
    np.savez(tmp_path / "without.npz", x=x)
    (name,) = y
    np.savez(tmp_path / "wrong.npz", x=x, **{name: y[name] + np.float32(1e-3)})
    for options, code in (
        (("--data", "with.npz"), 0),
        (("--data", "without.npz", "--source", saved("lstm")), 0),
        (("--data", "wrong.npz"), 1),
        (("--data", "without.npz"), 2),
    ):
        done = rnnexport_command("verify", path, *options, "--json", "r.json", cwd=tmp_path)
        assert done.returncode == code, done.stderr
        if code < 2:
            feed = json.loads((tmp_path / "r.json").read_text())["artifacts"][0]["feeds"][-1]
            assert feed["label"].startswith("data of ")
            assert feed["label"].endswith("npz, 70 rows")
            assert feed["outputs"][0]["passed"] is (code == 0)


@GROUP
def test_steps_need_a_source_and_states(exported, saved, rnnexport_command):
    path = exported("lstm")["onnx"].path
    for options, told in (
        (("--steps", "50"), "--steps without --source; expected the model"),
        (("--steps", "0", "--source", saved("lstm")), "'--steps': 0 is not in the range"),
        (("--steps", "50", "--source", saved("lstm")), f"{path.name} has no states to carry from step to step"),
    ):
        done = rnnexport_command("verify", path, *options)
        assert (done.returncode, told in done.stderr) == (2, True), done.stderr


@pytest.mark.xdist_group("multi_output_gru")
def test_a_tolerance_of_one_output(exported, rnnexport_command, tmp_path):
    """Every state is off by far: that is asked of one output alone."""
    path = exported("multi_output_gru")["onnx"].path
    bad = perturb(path, tmp_path, 1.0)
    bounds = ("--atol", "1e3", "--atol", "multistep:0", "--rtol", "multistep:0")
    done = rnnexport_command("verify", bad, *bounds, "--json", tmp_path / "r")
    assert done.returncode == 1, done.stderr
    feeds = json.loads((tmp_path / "r").read_text())["artifacts"][0]["feeds"]
    wrong = {output["output"] for feed in feeds for output in feed["outputs"] if not output["passed"]}
    assert wrong == {"multistep"}
    done = rnnexport_command("verify", path, "--atol", "nothing:1e-4")
    assert (done.returncode, "a tolerance for nothing, no output of" in done.stderr) == (2, True)
    done = rnnexport_command("verify", path, "--rtol", "multistep_1:x")
    assert (done.returncode, "expected a number, or OUTPUT:number" in done.stderr) == (2, True)


@GROUP
def test_it_runs_with_numpy_and_onnx_runtime_alone(exported, tmp_path):
    """No TensorFlow, no Keras, no onnx_ir, not even the package of onnx around its messages."""
    code = f"""
import sys
from importlib.abc import MetaPathFinder
class Blocked(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT}:
            raise ImportError(name + " is not here")
sys.meta_path.insert(0, Blocked())
from rnnexport.cli import main
try:
    main(["verify", {str(exported("lstm")["onnx"].path)!r}])
except SystemExit as end:
    assert "onnx" not in sys.modules, "the package onnx was imported"
    sys.exit(end.code)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "verified" in done.stdout


@GROUP
def test_the_messages_of_onnx_are_those_of_its_package():
    code = """
from rnnexport.targets.onnx.metadata import messages
alone = messages()
import onnx
assert onnx.ModelProto is alone.ModelProto
assert messages().ModelProto is onnx.ModelProto
onnx.checker.check_model(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [])))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@GROUP
def test_a_closed_stdout_keeps_the_verdict(exported):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = f"{sys.executable} -m rnnexport verify {exported('lstm')['onnx'].path} >&-"
    done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
