"""A warm process does what a process does that starts from nothing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.warm import Warm

pytestmark = pytest.mark.xdist_group("lstm")  # that of the commands, which use the same server
SHOWN = "import os, sys; print(__name__, sys.argv, sys.path[:2], os.getcwd(), sorted(os.environ), sys.stdin.read())"
COMMANDS = {
    "code": ["-c", SHOWN, "a", "b c"],
    "file": ["shown.py", "a"],
    "module": ["-m", "shown", "--a"],
    "error text": ["-c", "import sys; print('out'); sys.exit('no such luck')"],
    "error code": ["-c", "import sys; sys.exit(300)"],
    "no code": ["-c", "raise SystemExit"],
    "signal": ["-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"],
    "at the end": ["-c", "import atexit; atexit.register(print, 'last'); print('first')"],
    "descriptors": ["-c", "import os; os.write(1, b'out'); os.write(2, b'err'); os.system('echo below')"],
}


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_it_is_told_sees_and_leaves_the_same(arguments, warm, tmp_path, monkeypatch):
    (tmp_path / "shown.py").write_text(SHOWN)
    monkeypatch.setenv("ONLY_HERE", "1")
    command, environment = [sys.executable, *arguments], os.environ | {"PYTHONPATH": "elsewhere"}
    wanted = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    found = warm.run(command, tmp_path, environment)
    assert (found.returncode, found.stdout, found.stderr) == (wanted.returncode, wanted.stdout, wanted.stderr)


def test_an_exception_is_told_and_ends_it(warm, tmp_path):
    done = warm.run([sys.executable, "-c", "1 / 0"], tmp_path, os.environ)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "ZeroDivisionError: division by zero")


def test_one_leaves_nothing_to_the_next(warm, tmp_path):
    change = "import keras, os; keras.left = os.environ['LEFT'] = 'something'"
    assert warm.run([sys.executable, "-c", change], tmp_path, os.environ).returncode == 0
    look = "import keras, os; print(hasattr(keras, 'left'), 'LEFT' in os.environ)"
    assert warm.run([sys.executable, "-c", look], tmp_path, os.environ).stdout == "False False\n"


def test_it_has_tensorflow_which_ran_nothing_and_nothing_of_ours(warm, tmp_path):
    code = (
        "import sys; from tensorflow.python.eager import context\n"
        "print(context._context, 'tf_keras' in sys.modules, 'rnnexport' in sys.modules, 'onnxruntime' in sys.modules)"
    )
    done = warm.run([sys.executable, "-c", code], tmp_path, os.environ)
    assert (done.stdout, done.stderr) == ("None True False False\n", "")


def test_one_that_takes_too_long_is_killed(warm, tmp_path):
    assert warm.run([sys.executable, "-c", ""], tmp_path, os.environ).returncode == 0
    code = "import os, time; open('id', 'w').write(str(os.getpid())); time.sleep(60)"
    with pytest.raises(subprocess.TimeoutExpired):
        warm.run([sys.executable, "-c", code], tmp_path, os.environ, timeout=3)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "id").read_text()), 0)


def test_a_script_ends_as_the_process_does(warm, tmp_path):
    (tmp_path / "shown.py").write_text("import sys; print(sys.argv[1:], sys.stdin.read()); sys.exit(7)")
    script = warm.script(tmp_path / "command", "shown")
    done = subprocess.run(
        [script, "a", "b c"], cwd=tmp_path, input="given", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "['a', 'b c'] given\n", "")


def test_a_server_that_can_not_start_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "no number")
    with Warm.serving() as broken, pytest.raises(RuntimeError, match="PYTHONHASHSEED"):
        broken.run([sys.executable, "-c", ""], tmp_path, os.environ)
