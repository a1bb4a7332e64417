"""NumPy programs that would do more than compute, under a seal of their own: one line, and nothing of them runs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import rnnexport
from rnnexport.api.inspect import inspect_file
from rnnexport.core.errors import UsageError
from rnnexport.core.load_options import LoadOptions
from rnnexport.targets.numpy.allowed import FRAME, check_text
from tests.targets.numpy_programs import TEXT, artifact

CANARY = "canary"
STATEMENTS = {
    "imports": "import os",
    "imports in a function": "from os import system",
    "shell": "__import__('os').system('touch canary')",
    "opens": "open('canary', 'w')",
    "evaluates": "eval('1')",
    "executes": "exec('1')",
    "compiles": "compile('1', 'a', 'eval')",
    "looks up": "getattr(np, 'save')('canary', my_input)",
    "sets": "setattr(self, 'step', None)",
    "reads builtins": "__builtins__",
    "reads globals": "globals()",
    "saves": "np.save('canary', my_input)",
    "saves many": "np.savez('canary', my_input)",
    "loads": "np.load('canary.npy', allow_pickle=True)",
    "maps": "np.memmap('canary', np.uint8, 'w+', shape=(3,))",
    "reads a file": "np.fromfile('/etc/passwd')",
    "reads text": "np.loadtxt('/etc/passwd')",
    "writes a file": "my_input.tofile('canary')",
    "pickles": "my_input.dump('canary')",
    "uses memory by address": "my_input.ctypes.data",
    "strides": "np.lib.stride_tricks.as_strided(my_input, (9,), (9,))",
    "loads a library": "np.ctypeslib.load_library('x', '.')",
    "reaches os": "np.lib.format.os",
    "reads numpy itself": "[np][0].save('canary', my_input)",
    "binds numpy": "np = my_input",
    "binds itself": "self = my_input",
    "binds the weights": "w = my_input",
    "takes a method of an array that hides as weights": "my_input.gru.tofile",
    "goes below a weight": "w.gru.kernel.tofile('canary')",
    "climbs by classes": "().__class__.__base__.__subclasses__()",
    "climbs by a weight": "w.__class__",
    "climbs by a class": "self.__class__",
    "formats": "'{0.__class__}'.format(my_input)",
    "makes objects": "np.ndarray((3,), object)",
    "keeps": "self.weights = my_input",
    "keeps in the class": "Carried.INPUTS = ()",
    "raises another": "raise SystemExit(0)",
    "tries": "try:\n            my_input\n        except Exception:\n            pass",
    "deletes": "del my_input",
    "is global": "global MODEL",
    "defines": "def inner():\n            pass",
    "is lazy": "(lambda: 1)()",
    "assigns inside": "(np := 3)",
    "awaits": "yield 1",
    "asserts": "assert my_input",
    "leaves its file": "WEIGHTS.unlink()",
    "reads its file": "WEIGHTS.copy('canary')",
    "prints": "print(my_input)",
    "reads a module": "sys.exit(0)",
    "loads weights": "load_weights('canary.npz', self.dtype)",
    "is run": "main(self)",
}
MODULE = {
    "another import": ("import sys\n", "import os\n"),
    "another name of numpy": ("import numpy as np\n", "import numpy\n"),
    "another module as numpy": ("import numpy as np\n", "import os as np\n"),
    "from another module": ("from pathlib import Path\n", "from os import system as Path\n"),
    "a name bound twice": ("def sigmoid(x):", "def checked(x):"),
    "a builtin bound": ("def sigmoid(x):", "def range(x):"),
    "another loader": (
        "allow_pickle=False) as archive:\n            return",
        "allow_pickle=True) as archive:\n            return",
    ),
    "another command line": ("    parser = argparse", "    open('canary', 'w')\n    parser = argparse"),
    "another check": ("    array, (dtype, shape) =", "    open('canary', 'w')\n    array, (dtype, shape) ="),
    "another constructor": (
        "        self.states = None\n\n",
        "        self.states = None\n        open('canary', 'w')\n\n",
    ),
    "code in the module": ("MODEL = Carried\n", "MODEL = Carried\nopen('canary', 'w')\n"),
    "code in the class": ('    STATES = ("state_gru_00",)\n', "    STATES = tuple(open('canary', 'w'))\n"),
    "a base": ("class Carried:", "class Carried(dict):"),
    "a keyword": ("class Carried:", "class Carried(metaclass=print):"),
    "a decorator": ("class Carried:", "@print\nclass Carried:"),
    "a decorator of a function": ("def sigmoid(x):", "@print\ndef sigmoid(x):"),
    "a decorator of a method": ("    def step(", "    @print\n    def step("),
    "a method of its own": ("    def step(", "    def __del__(self):\n        return 1\n\n    def step("),
    "a default": ("def sigmoid(x):", "def sigmoid(x=open('canary', 'w')):"),
    "an annotation that runs": ("from __future__ import annotations\n", ""),
    "another place of the weights": ('Path(__file__).with_suffix(".npz")\n', 'Path("/etc/passwd")\n'),
    "another encoding": ('"""carried', '# coding: utf-7\n"""carried'),
    "other line ends": ('O output."""', 'O output.\r#"""'),
    "something else as the model": ("MODEL = Carried\n", "MODEL = print\n"),
}


def refused(path):
    for run in (rnnexport.verify, rnnexport.runtime.open):
        with pytest.raises(UsageError, match=r"carried\.py is no program as rnnexport writes one: ") as told:
            run(path)
        assert "\n" not in str(told.value)
        assert "give LoadOptions(allow_unsafe=True) if you trust" in str(told.value)


def test_the_program_without_a_change_is_let_run(tmp_path):
    assert rnnexport.verify(artifact(tmp_path)).passed


@pytest.mark.parametrize("kind", STATEMENTS)
def test_a_statement_that_may_do_more_is_refused(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old = "        w = self.weights\n"
    assert old in TEXT
    path = artifact(tmp_path, text=TEXT.replace(old, f"{old}        {STATEMENTS[kind]}\n", 1))
    refused(path)
    assert inspect_file(path).facts["seal"] == "whole"  # it looks, and runs nothing
    assert not list(tmp_path.glob(f"{CANARY}*"))


@pytest.mark.parametrize("kind", MODULE)
def test_a_module_that_is_put_together_otherwise_is_refused(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old, new = MODULE[kind]
    assert old in TEXT
    refused(artifact(tmp_path, text=TEXT.replace(old, new, 1)))
    assert not list(tmp_path.glob(f"{CANARY}*"))


def test_lines_that_are_counted_otherwise_hide_no_text(tmp_path):
    """A carriage return is a line to Python: what stands at a function's lines must be the function."""
    whole = TEXT.replace("def load_weights(", "def of_old(", 1)
    with pytest.raises(Exception, match="line ends"):
        check_text(whole.replace("\n", "\r", 3).encode())


def altered(folder):
    path = artifact(folder)
    path.write_text(path.read_text().replace("import sys\n", "import sys\nopen('canary', 'w')\n", 1))
    return path


def test_an_altered_program_is_not_run_beside_its_source_either(tmp_path, monkeypatch):
    """The source itself is not looked at: the program is refused first."""
    monkeypatch.chdir(tmp_path)
    path = altered(tmp_path)
    command = [sys.executable, "-m", "rnnexport", "verify", str(path), "--source", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert not (tmp_path / CANARY).exists()


def test_a_program_without_a_seal_is_not_run(tmp_path):
    from rnnexport.artifact import archive

    path = artifact(tmp_path)
    beside = archive.archive_of(path)
    bare = {name: data for name, data in archive.read(beside).items() if "provenance" not in name}
    beside.write_bytes(archive.to_bytes(bare))
    with pytest.raises(UsageError, match=r"carries no goldens and no seal, and is a program"):
        rnnexport.verify(path)


def test_the_users_word_lets_it_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hostile = TEXT.replace("MODEL = Carried\n", f"MODEL = Carried\nopen('{CANARY}', 'w')\n", 1)
    path = artifact(tmp_path, text=hostile)
    assert rnnexport.verify(path, loading=LoadOptions(allow_unsafe=True)).passed
    assert (tmp_path / CANARY).exists()
    (tmp_path / CANARY).unlink()
    with rnnexport.runtime.open(path, allow_unsafe=True) as stream:
        assert np.isfinite(stream.step(np.ones((1, 2, 3), "float32"))).all()
    assert (tmp_path / CANARY).exists()


def test_deep_nesting_is_told(tmp_path):
    path = artifact(tmp_path, text=TEXT.replace("return 1 / (1", f"return {'-' * 3000}1 / (1", 1))
    with pytest.raises(UsageError, match=r"RecursionError|is no Python|is no program"):
        rnnexport.verify(path)


def test_the_frame_that_is_written_today_is_known():
    """A change of `emit.numpy.skeleton` needs the digest of the new text here, beside that of every earlier one."""
    assert all(FRAME[name] for name in ("load_weights", "checked", "main", "__init__"))
    check_text(TEXT.encode())
