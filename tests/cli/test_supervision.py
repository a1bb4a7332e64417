"""What ends the process of a command ends as one line, and as a code of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

CODE = """
import os, signal, sys, time
from rnnexport.cli.supervision import supervised
def run():
    {}
    return 7
sys.exit(supervised(run))
"""


def started(statement):
    command = [sys.executable, "-c", CODE.format(statement)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("statement", "code", "line"),
    [
        ("pass", 7, ""),
        ("sys.exit(4)", 4, ""),
        ("os.kill(os.getpid(), 11)", 3, "ended the process with signal 11 (SIGSEGV); nothing was written"),
        ("os.abort()", 3, "ended the process with signal 6 (SIGABRT)"),
        ("os.kill(os.getpid(), 9)", 3, "ended the process with signal 9 (SIGKILL)"),
    ],
)
def test_a_crash_is_one_line(statement, code, line, tmp_path):
    process = started(statement)
    _, told = process.communicate()
    assert process.returncode == code
    assert line in told
    assert told.count("\n") == bool(line)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_are_handed_on(number):
    waiting = "signal.signal({0}, lambda *_: os._exit(42)); print('ready', flush=True); time.sleep(60)"
    process = started(waiting.format(int(number)))
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.wait(30) == 42


def test_a_child_does_not_outlive_its_parent():
    process = started("print(os.getpid(), flush=True); time.sleep(60)")
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    for _ in range(600):
        try:
            with open(f"/proc/{child}/status") as status:  # noqa: PTH123
                if "\nState:\tZ" in status.read():
                    return
        except OSError:
            return
        time.sleep(0.05)
    pytest.fail("the child goes on")


def test_more_memory_than_the_host_has_is_told():
    code = CODE.format("x = bytearray(60 * 10**6); time.sleep(30)")
    code = code.replace(
        "def run", "import rnnexport.cli.supervision as s; s._host_memory = lambda: 50 * 10**6\ndef run"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "the command takes more memory than this host has (0.0475 GB)" in done.stderr


def test_less_memory_is_allowed_once_the_model_is_known_and_never_more():
    """The child says so itself, before it loads the model."""
    take = "from rnnexport.isolation.limits import Allowance as A; A.lower(50 * 10**6); A.lower(10**12); "
    done = started(take + "x = bytearray(60 * 10**6); time.sleep(30)")
    _, told = done.communicate()
    assert done.returncode == 3
    assert "takes more memory than a SavedModel of that size is given without --allow-unsafe (0.05 GB)" in told


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_library_that_computes_for_ever_is_ended_when_asked(number, code):
    """Python runs no handler while C++ has its thread: TensorFlow in a loop without an end, say."""
    waiting = f"signal.signal({int(number)}, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    text = CODE.format(waiting).replace("def run", "import rnnexport.cli.supervision as s; s._PATIENCE = 0.5\ndef run")
    process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, told = process.communicate(timeout=30)
    assert process.returncode == code
    assert told.startswith("rnnexport: error: interrupted while a library computed; nothing was written")
    assert told.count("\n") == 1
