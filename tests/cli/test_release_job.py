"""The release job of the docs page, run as it stands there: its Makefile, its commands, its other host."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.test_makefile import ROOT, Done, run
from tests.perturb import perturb
from tests.warm import Warm

PAGE = (ROOT / "docs" / "release-job.md").read_text()
SAMPLE = "cgru_no_bias"
ARTIFACTS = [f"{SAMPLE}.onnx", f"{SAMPLE}.tflite"]
REAL = pytest.mark.xdist_group(SAMPLE)


def of_page(*languages: str) -> list[str]:
    """The blocks of the page in these languages, in their order."""
    return re.findall(rf"^```(?:{'|'.join(languages)})\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def on_path(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which `rnnexport` is the working tree's, in warm processes."""
    folder = tmp_path_factory.mktemp("bin")
    warm.script(folder / "rnnexport", "rnnexport")
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def released(
    saved: Callable[[str], Path], on_path: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Done]:
    """A folder in which the job of the page ran, and how it went."""
    folder = tmp_path_factory.mktemp("release")
    (folder / "samples").symlink_to(ROOT / "samples")
    shutil.copy(saved(SAMPLE), folder)
    (makefile,) = of_page("make")
    (folder / "Makefile").write_text(makefile)
    return folder, run(["make", "-j4", "release"], folder, **on_path)


@REAL
def test_the_job_of_the_page_releases_verified_artifacts(released):
    folder, done = released
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.glob(f"{SAMPLE}.*")) == sorted(
        [f"{SAMPLE}.keras", *(f"{name}{end}" for name in ARTIFACTS for end in ("", ".verified", ".junit.xml"))]
    )
    for name in ARTIFACTS:
        report = json.loads((folder / f"{name}.verified").read_text())
        assert (report["passed"], report["exit_code"], len(report["artifacts"])) == (True, 0, 1)
        assert report["artifacts"][0]["artifact"] == name
        suites = ElementTree.parse(folder / f"{name}.junit.xml")
        assert suites.findall(".//testcase")
        assert not suites.findall(".//failure")
    assert done.stdout.count("rnnexport onnx") == done.stdout.count("rnnexport tflite") == 1
    assert "--timesteps 20" in done.stdout


@REAL
def test_the_second_job_makes_nothing_and_old_sources_are_what_the_page_says(released, on_path):
    folder, _ = released
    assert run(["make", "-j4", "release"], folder, **on_path).stdout == "make: Nothing to be done for 'release'.\n"
    # The models of a new checkout: make would start again, but for the command of the page.
    later = time.time() + 1000
    os.utime(folder / f"{SAMPLE}.keras", (later, later))
    assert run(["make", "-q", f"{SAMPLE}.onnx"], folder, **on_path).returncode == 1
    (touch,) = re.findall(r"^    (touch -t \d+) ", PAGE, re.MULTILINE)
    run([*touch.split(), f"{SAMPLE}.keras", "Makefile"], folder)
    assert run(["make", "-q", f"{SAMPLE}.onnx"], folder, **on_path).returncode == 0


@REAL
def test_the_other_host_of_the_page_needs_no_tensorflow(released, on_path, tmp_path):
    folder, _ = released
    for name in ARTIFACTS:
        shutil.copy(folder / name, tmp_path)
    (command,) = of_page("bash")
    program, *arguments = command.split()
    assert program == "rnnexport"
    without = "import sys; sys.modules.update(dict.fromkeys(['tensorflow', 'keras', 'tf_keras', 'tf2onnx'])); "
    code = without + f"from rnnexport.cli import main; main({arguments})"
    done = run([sys.executable, "-c", code], tmp_path, **on_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "report.json").read_text())["passed"]


@REAL
def test_what_is_wrong_fails_the_job_and_leaves_no_stamp(released, on_path, tmp_path):
    """A mismatch by tolerance, a changed weight, and no model at all, in one job that keeps going."""
    folder, _ = released
    good = folder / ARTIFACTS[0]
    changed = perturb(good, tmp_path, 1e-3)
    shutil.copy(good, tmp_path / "strict.onnx")
    (tmp_path / "broken.keras").write_text("no model")
    (tmp_path / "Makefile").write_text(
        "include $(shell rnnexport makefile)\n"
        f"all: {changed.name}.verified strict.onnx.verified broken.onnx\n"
        "strict.onnx.verified: RNNEXPORT_VERIFY_FLAGS = --rtol 0 --atol 0\n"
    )
    done = run(["make", "-k", "-j4"], tmp_path, **on_path)
    assert done.returncode == 2
    errors = dict(re.findall(r"\[.*: (\S+)\] Error (\d+)", done.stderr))
    assert errors == {
        # A mismatch, or refused as altered.
        f"{changed.name}.verified": errors[f"{changed.name}.verified"],
        "strict.onnx.verified": "1",
        "broken.onnx": "3",
    }
    assert errors[f"{changed.name}.verified"] in "12"
    assert "broken.keras is not a Keras file" in done.stderr
    assert not list(tmp_path.glob("*.verified"))
    assert not (tmp_path / "broken.onnx").exists()
    report = json.loads((tmp_path / "strict.onnx.failed").read_text())
    assert (report["passed"], report["exit_code"]) == (False, 1)


def test_the_commands_of_the_page_are_those_that_were_run():
    """Each is run here, or by the test of all pages; the runners' files have the same."""
    commands = [line for block in of_page("sh") for line in block.splitlines()]
    assert commands == [
        "python samples/cgru_cell.py .",
        "rnnexport makefile",
        "make -j2 release",
        "pip install -c constraints.txt '.[cpu]'",
    ]
    runners = of_page("yaml")
    assert len(runners) == 2
    assert all("make -j2 release\n" in text and "*.failed" in text and "*.junit.xml" in text for text in runners)
