"""The host's C compiler: found, asked who it is, and called."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rnnexport.core.errors import ProviderError

# A program is standard C, and nothing in it is worth a warning: one is an error, where tests look at programs.
STRICT = "-Werror"
FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", STRICT, "-pedantic", "-ffp-contract=off")
_SHARED = ("-shared", "-fPIC")
_NAMES = ("cc", "gcc", "clang")
_TIMEOUT_S = 600
_FOLDER = re.compile(r"^\S*/(?=[^/\s]+:\d+:)")  # before `model.c:925:19: error`


@dataclass(frozen=True)
class Compiler:
    """A compiler of this host.

    Attributes:
        command: what calls it.
        version: the first line that it tells of itself.
    """

    command: tuple[str, ...]
    version: str

    def shared(self, program: Path, to: Path, flags: Sequence[str] = FLAGS) -> None:
        """Compile a program to a shared object.

        Raises:
            ProviderError: the compiler fails; the first line of what it says.
        """
        self.run([*flags, *_SHARED, str(program), "-o", str(to), "-lm"])

    def run(self, arguments: Sequence[str]) -> None:
        """Call it. ProviderError where it fails."""
        _called((*self.command, *arguments), self.command, "set CC to another compiler")


def find() -> Compiler:
    """The compiler that `$CC` names, else the first of cc, gcc and clang, else that of the ziglang wheel.

    Raises:
        ProviderError: there is none, or `$CC` can't be run.
    """
    named = os.environ.get("CC", "")
    if named.strip():
        return _asked(tuple(shlex.split(named)))
    for name in _NAMES:
        path = shutil.which(name)
        if path:
            return _asked((path,))
    if find_spec("ziglang") is not None:
        return _asked((sys.executable, "-m", "ziglang", "cc"))
    raise ProviderError("no C compiler", "cc, gcc or clang, or what CC names", "install one, or the ziglang package")


def _asked(command: tuple[str, ...]) -> Compiler:
    version = _called((*command, "--version"), command, "set CC to one, install one, or unset it")
    return Compiler(command, _first_line(version))


def _called(line: Sequence[str], command: Sequence[str], todo: str) -> bytes:
    """What a compiler prints.

    Raises:
        ProviderError: it can't be run, or fails; the first line of what it says.
    """
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(line, capture_output=True, timeout=_TIMEOUT_S, check=False, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProviderError(f"{shlex.join(command)} can't be run: {error}", "a C compiler", todo) from error
    if done.returncode != 0:
        why = f"ended by {signal.Signals(-done.returncode).name}" if done.returncode < 0 else _first_line(done.stderr)
        found = f"{shlex.join(command)} failed: {why}"
        raise ProviderError(found, "a C compiler that takes C99", todo)
    return done.stdout


def _first_line(text: bytes) -> str:
    """What a compiler says first, without the path of the file."""
    lines = text.decode(errors="replace").splitlines()
    wrong = [line for line in lines if "error" in line] or lines or ["no word"]
    return _FOLDER.sub("", wrong[0]).strip()
