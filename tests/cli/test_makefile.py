"""The rules of `rnnexport.mk`, run by make: what is made, what is not made again, what is left after a failure.

What make does is tested, with a stand-in for the command; `test_release_job.py` has the command itself.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RULES = ROOT / "rnnexport" / "rnnexport.mk"

# Notes each call, and writes what the command would. `--exit N` and `--sleep S` among the flags say how it goes.
STAND_IN = """#!/bin/sh
echo "$@" >>calls
previous= out= code=0
for word; do
  case $previous in
    -o | --json) out=$word ;;
    --exit) code=$word ;;
    --sleep) sleep "$word" ;;
  esac
  previous=$word
done
# A report is written of a mismatch too, an artifact only when all is well.
case "$1 $code" in
  "saved-model 0") mkdir -p "$out" && echo "$*" >"$out/saved_model.pb" ;;
  "numpy 0") echo "$*" >"$out" && cp "$out" "${out%.py}.npz" ;;
  "verify 0" | "verify 1" | *" 0") echo "$*" >"$out" ;;
esac
exit "$code"
"""

Done = subprocess.CompletedProcess[str]


def environment(**variables: str) -> dict[str, str]:
    """Without what a make that runs the tests tells its children, which is not meant for these."""
    inherited = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    return inherited | {"LC_ALL": "C"} | variables


def run(command: Sequence[str], folder: Path, **variables: str) -> Done:
    return subprocess.run(
        command, cwd=folder, env=environment(**variables), capture_output=True, text=True, timeout=300, check=False
    )


def older(path: Path, by: float = 1000) -> None:
    """Make a file `by` seconds older than now."""
    then = time.time() - by
    os.utime(path, (then, then))


class Job:
    """A folder with a Makefile that includes the rules, and with the stand-in for the command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("rnnexport", STAND_IN).chmod(0o755)
        self.makefile("")

    def write(self, name: str, text: str = "") -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        older(path)
        return path

    def makefile(self, text: str) -> None:
        """The rules come first, as they do on the page."""
        self.write("Makefile", f"include {RULES}\n{text}")

    def make(self, *arguments: str, **variables: str) -> Done:
        return run(["make", *arguments], self.folder, **({"RNNEXPORT": "./rnnexport"} | variables))

    def made(self, *arguments: str, **variables: str) -> list[str]:
        """Make something, which must go well; the calls it took, sorted, for they may be parallel."""
        before = len(self.calls)
        done = self.make(*arguments, **variables)
        assert done.returncode == 0, done.stderr
        return sorted(self.calls[before:])

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def onnx_of(name: str, model: str | None = None, flags: str = "") -> str:
    return f"onnx {flags}-o {name}.onnx {model or name + '.keras'}"


def verify_of(artifact: str, flags: str = "") -> str:
    return f"verify {flags}--json {artifact}.failed {artifact}"


def test_every_rule_calls_the_command_with_the_model_and_its_output(job):
    for name in ("a.keras", "b.h5", "c/saved_model.pb", "sub/d.keras"):
        job.write(name)
    assert job.made("a.onnx", "b.onnx", "c.onnx", "sub/d.onnx") == [
        onnx_of("a"),
        onnx_of("b", "b.h5"),
        onnx_of("c", "c"),
        onnx_of("sub/d"),
    ]
    assert job.made("a.tflite", "b.tflite", "c.tflite") == [
        "tflite -o a.tflite a.keras",
        "tflite -o b.tflite b.h5",
        "tflite -o c.tflite c",
    ]
    assert job.made("a_saved_model/saved_model.pb", "sub/d_saved_model/saved_model.pb") == [
        "saved-model -o a_saved_model a.keras",
        "saved-model -o sub/d_saved_model sub/d.keras",
    ]
    assert job.made("a_numpy.py", "a_numpy.npz", "b_numpy.npz", "c_numpy.py", "sub/d_numpy.py") == [
        "numpy -o a_numpy.py a.keras",
        "numpy -o b_numpy.py b.h5",
        "numpy -o c_numpy.py c",
        "numpy -o sub/d_numpy.py sub/d.keras",
    ]
    stamps = [
        "a.onnx.verified",
        "a_numpy.py.verified",
        "a_saved_model.verified",
        "sub/d.onnx.verified",
        "sub/d_saved_model.verified",
    ]
    assert job.made(*stamps) == [verify_of(stamp.removesuffix(".verified")) for stamp in stamps]
    assert all(job.has(stamp) for stamp in stamps)
    assert not list(job.folder.rglob("*.failed"))
    assert job.made(*stamps, "a.onnx", "a.tflite", "a_saved_model/saved_model.pb") == []


def test_a_stamp_alone_makes_its_artifact_and_keeps_it(job):
    for name in ("a.keras", "b.h5"):
        job.write(name)
    assert job.made("a.onnx.verified") == [onnx_of("a"), verify_of("a.onnx")]
    assert job.made("b_saved_model.verified") == [
        "saved-model -o b_saved_model b.h5",
        verify_of("b_saved_model"),
    ]
    assert job.has("a.onnx")
    assert job.has("b_saved_model/saved_model.pb")
    # Into the past with what was made: a model of the future would be newer than whatever is made of it, too.
    for path in job.folder.rglob("b_saved_model*"):
        older(path)
    for path in (job.folder / "b_saved_model").rglob("*"):
        older(path)
    older(job.folder / "b.h5", by=500)
    assert len(job.made("b_saved_model.verified")) == 2


def test_a_parallel_release_makes_each_file_once_and_then_nothing(job):
    for name in ("a.keras", "b.keras"):
        job.write(name)
    job.makefile(
        "FILES := a.onnx a.tflite b.onnx b.tflite\n"
        "one: a.onnx.verified a.onnx\ntwo: b.onnx $(FILES:=.verified)\nthree: $(FILES)\n"
        "RNNEXPORT_FLAGS = --sleep 0.2\nRNNEXPORT_VERIFY_FLAGS = --sleep 0.2\n"
    )
    expected = [f"{kind} --sleep 0.2 -o {n}.{kind} {n}.keras" for kind in ("onnx", "tflite") for n in "ab"]
    expected += [verify_of(f"{n}.{kind}", "--sleep 0.2 ") for kind in ("onnx", "tflite") for n in "ab"]
    assert job.made("-j4", "one", "two", "three") == sorted(expected)
    assert job.made("-j4", "one", "two", "three") == []


def test_what_changed_is_made_again_with_what_depends_on_it_alone(job):
    for name in ("a.keras", "b.keras", "cells.py"):
        job.write(name)
    job.makefile("release: a.onnx a.onnx.verified b.onnx b.onnx.verified\nb.onnx: cells.py\n")
    assert len(job.made("-j4")) == 4
    for path in sorted(job.folder.glob("*.onnx*")):  # the artifact, then its stamp
        older(path, 500)
    (job.folder / "a.keras").touch()
    assert job.made("-j4") == [onnx_of("a"), verify_of("a.onnx")]
    (job.folder / "cells.py").touch()
    assert job.made("-j4") == [onnx_of("b"), verify_of("b.onnx")]
    (job.folder / "b.onnx").unlink()
    assert job.made("-j4") == [onnx_of("b"), verify_of("b.onnx")]


def test_flags_reach_the_commands_they_are_for(job):
    for name in ("a.keras", "b.keras"):
        job.write(name)
    job.makefile(
        "RNNEXPORT_FLAGS = --every\nRNNEXPORT_ONNX_FLAGS = --onnx\nRNNEXPORT_TFLITE_FLAGS = --tflite\n"
        "RNNEXPORT_SAVED_MODEL_FLAGS = --saved\nRNNEXPORT_NUMPY_FLAGS = --numpy\n"
        "RNNEXPORT_VERIFY_FLAGS = --junit $(basename $@).junit.xml\n"
        "b.onnx: RNNEXPORT_ONNX_FLAGS = --mine\nb.onnx.verified: RNNEXPORT_VERIFY_FLAGS = --loose\n"
    )
    goals = ("a.onnx.verified", "b.onnx.verified", "a.tflite", "a_saved_model/saved_model.pb", "a_numpy.py")
    assert job.made(*goals) == [
        "numpy --every --numpy -o a_numpy.py a.keras",
        onnx_of("b", flags="--every --mine "),
        onnx_of("a", flags="--every --onnx "),
        "saved-model --every --saved -o a_saved_model a.keras",
        "tflite --every --tflite -o a.tflite a.keras",
        verify_of("a.onnx", "--junit a.onnx.junit.xml "),
        verify_of("b.onnx", "--loose "),
    ]


def test_an_export_that_fails_stops_the_job_and_leaves_what_there_was(job):
    job.write("a.keras")
    job.write("b.keras")
    job.write("b.onnx", "of an earlier run")
    (job.folder / "b.keras").touch()
    for name in "ab":
        done = job.make(f"{name}.onnx.verified", RNNEXPORT_FLAGS="--exit 3")
        assert done.returncode == 2
        assert re.search(rf"\*\*\* \[.*: {name}\.onnx\] Error 3\n", done.stderr)
    assert [call.split()[0] for call in job.calls] == ["onnx", "onnx"]
    assert not job.has("a.onnx")
    assert (job.folder / "b.onnx").read_text() == "of an earlier run"
    assert not list(job.folder.glob("*.verified"))


@pytest.mark.parametrize("extra", ["", ".ONESHELL:\n", ".DELETE_ON_ERROR:\n"])
def test_a_mismatch_takes_the_stamp_away_and_keeps_the_report(job, extra):
    job.write("a.keras")
    job.makefile(extra)
    job.made("a.onnx.verified")
    older(job.folder / "a.onnx.verified", 500)
    (job.folder / "a.onnx").touch()
    done = job.make("a.onnx.verified", RNNEXPORT_VERIFY_FLAGS="--exit 1")
    assert done.returncode == 2
    assert re.search(r"\[.*: a\.onnx\.verified\] Error 1\n", done.stderr)
    assert job.has("a.onnx")
    assert not job.has("a.onnx.verified")
    assert "--exit 1" in (job.folder / "a.onnx.failed").read_text()
    assert job.made("a.onnx.verified") == [verify_of("a.onnx")]
    assert job.has("a.onnx.verified")
    assert not job.has("a.onnx.failed")


def test_a_verification_that_ends_without_a_report_leaves_none_of_an_earlier_run(job):
    job.write("a.onnx")
    job.write("a.onnx.failed", "of an earlier run")
    done = job.make("a.onnx.verified", RNNEXPORT_VERIFY_FLAGS="--exit 2")
    assert "Error 2\n" in done.stderr
    assert not list(job.folder.glob("a.onnx.*"))


def test_a_terminated_job_leaves_no_stamp(job):
    job.write("a.onnx")
    job.write("a.onnx.verified")
    (job.folder / "a.onnx").touch()
    variables = environment(RNNEXPORT="./rnnexport", RNNEXPORT_VERIFY_FLAGS="--sleep 1")
    process = subprocess.Popen(
        ["make", "a.onnx.verified"], cwd=job.folder, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 30
    while not job.calls and time.monotonic() < deadline:
        time.sleep(0.02)
    process.terminate()
    assert process.wait(30) != 0
    assert not job.has("a.onnx.verified")


def test_keep_going_tells_of_all_failures_and_fails(job):
    for name in ("a.keras", "b.keras", "c.keras"):
        job.write(name)
    job.makefile("all: a.onnx b.onnx c.onnx\na.onnx b.onnx: RNNEXPORT_ONNX_FLAGS = --exit 3\n")
    done = job.make("-k", "-j4")
    assert done.returncode == 2
    assert done.stderr.count("Error 3") == 2
    assert job.has("c.onnx")


def test_including_the_rules_changes_nothing_for_others(job):
    """The default goal is the first of the user; files between are still removed, half a file still stays."""
    job.write("m.a")
    rules = "mine: ; @echo mine\n%.b: %.a ; @cp $< $@\n%.c: %.b ; @cp $< $@\nhalf: ; @echo half >half; false\n"
    job.makefile(rules)
    assert job.make().stdout == "mine\n"
    assert job.make("m.c").stdout == "rm m.b\n"
    assert job.make("half").returncode == 2
    assert job.has("half")
    job.makefile("")
    assert "No targets" in job.make().stderr  # none of the rules is a goal


def test_no_rule_makes_a_program_of_the_name_of_a_model(job):
    """It may be the user's own: the one that trains the model, say."""
    job.write("a.keras")
    assert "No rule to make target 'a.py'" in job.make("a.py").stderr
    assert job.calls == []


def test_rules_of_ones_own_use_the_recipes(job):
    job.write("models/a.keras")
    job.makefile(
        "build/%.onnx: models/%.keras | build ; $(RNNEXPORT_TO_ONNX)\n"
        "build/%.py: models/%.keras | build ; $(RNNEXPORT_TO_NUMPY)\n"
        "stamps/%: build/% | stamps ; $(RNNEXPORT_TO_VERIFIED)\nbuild stamps: ; mkdir $@\n"
    )
    assert job.made("stamps/a.onnx") == [
        "onnx -o build/a.onnx models/a.keras",
        "verify --json stamps/a.failed build/a.onnx",
    ]
    assert job.has("stamps/a.onnx")
    assert job.made("build/a.py") == ["numpy -o build/a.py models/a.keras"]


def test_the_command_prints_the_path_and_imports_neither_tensorflow_nor_onnx(tmp_path):
    heavy = "import sys; sys.modules.update(dict.fromkeys(['tensorflow', 'keras', 'onnx', 'onnxruntime'])); "
    code = heavy + "from rnnexport.cli import main; main(['makefile'])"
    done = run([sys.executable, "-c", code], tmp_path, PYTHONPATH=str(ROOT))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{RULES}\n", "")
    done = run(["sh", "-c", 'exec "$0" -c "$1" >/dev/full', sys.executable, code], tmp_path, PYTHONPATH=str(ROOT))
    assert done.returncode == 2
    assert "can't write" in done.stderr


def test_the_rules_are_part_of_the_package():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert RULES.name in settings["package-data"]["rnnexport"]
