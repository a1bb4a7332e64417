"""Folders that killed processes leave: removed by the next one, and never while their process works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rnnexport.artifact.atomic_write import held_folder, remove_leftovers, staged

ROOT = Path(__file__).parents[2]
CODE = """
import sys, time
from pathlib import Path
from rnnexport.artifact.atomic_write import staged
with staged(Path(sys.argv[1])) as path:
    path.write_text("half")
    (path.parent / "variables").mkdir()
    (path.parent / "variables" / "variables.tempstate123").write_text("TensorFlow's")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def working(tmp_path):
    """A process that builds an artifact in the folder."""
    process = subprocess.Popen([sys.executable, "-c", CODE, str(tmp_path / "m")], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    yield process
    process.kill()
    process.wait()


def parts(folder):
    return sorted(path.name for path in folder.glob(".*"))


def test_what_a_killed_export_left_is_removed_by_the_next_one(working, tmp_path):
    working.send_signal(signal.SIGKILL)
    working.wait()
    assert len(parts(tmp_path)) == 1
    with staged(tmp_path / "other") as path:
        path.write_text("whole")
        assert len(parts(tmp_path)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_what_another_export_builds_stays(working, tmp_path):
    (left,) = parts(tmp_path)
    with staged(tmp_path / "other") as path:
        path.write_text("whole")
    assert parts(tmp_path) == [left]
    assert (tmp_path / left / "m").read_text() == "half"


def test_folders_of_others_stay(tmp_path):
    for name in (".m.abcdefgh.part", ".rnnexport.m.new", ".rnnexport.file.part", "rnnexport.m.part"):
        (tmp_path / name).mkdir() if "file" not in name else (tmp_path / name).write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".rnnexport.link.part").symlink_to(tmp_path / "elsewhere")
    before = sorted(path.name for path in tmp_path.iterdir())
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    remove_leftovers(tmp_path / "none")


def test_two_in_one_process_do_not_meet(tmp_path):
    with held_folder(tmp_path, "a") as one, held_folder(tmp_path, "a") as other:
        assert one.is_dir()
        assert one != other
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("killed", ["child", "both"])
def test_temporary_files_of_a_killed_command_are_removed(killed, tmp_path):
    """Those of its libraries, in C++ and in Python: by its parent, or by the next command."""
    code = (
        "import os, sys, tempfile, time; from rnnexport.cli.supervision import supervised\n"
        "sys.exit(supervised(lambda: (tempfile.mkdtemp(), print(os.getpid(), flush=True), time.sleep(60))))"
    )
    start = [sys.executable, "-c", code]
    environment = {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(start, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    (left,) = tmp_path.iterdir()
    assert len(list(left.iterdir())) == 1
    if killed == "child":
        os.kill(child, signal.SIGKILL)
        assert process.wait(30) == 3
    else:
        process.kill()
        process.wait()
        assert left.is_dir()
        while Path(f"/proc/{child}").exists():
            time.sleep(0.01)
        command = [sys.executable, "-m", "rnnexport", "inspect", "nothing"]
        subprocess.run(command, env=environment, capture_output=True, check=False)
    assert not list(tmp_path.iterdir())
