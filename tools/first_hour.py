"""A new user's first hour with the rnnexport of one environment: quickstart as typed, a notebook, completion, typos.

    python -m tools.first_hour ENVIRONMENT FOLDER

ENVIRONMENT is the folder of a virtual environment that has rnnexport with the extras `convert` and `cpu`. Prints what
each step took, and ends with exit code 1 where one does other than it should.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
# What is typed wrong, in the folder that the quickstart leaves; the exit code, and what the line has to say.
TYPOS = (
    ("onxx first.keras", 2, "did you mean onnx?"),
    ("first.keras", 2, "did you mean rnnexport onnx first.keras"),
    ("onnx frist.keras", 2, "did you mean first.keras?"),
    ("onnx first.onnx", 3, "rnnexport verify first.onnx"),
    ("verify first.keras", 2, "rnnexport onnx first.keras"),
    ("verify inputs.npz", 2, "inputs.npz is no artifact"),
    ("onnx first.keras -o model.tflite", 2, "ends in .onnx"),
    ("onnx first.keras -o nowhere/model.onnx", 2, "no folder "),
    ("export first.keras --to saved_model", 2, "did you mean saved-model?"),
    ("tflite first.keras", 2, "give --timesteps N"),
    ("onnx first.keras --opset 9", 2, "13 to 26"),
    ("onnx first.keras --input-names 1x", 2, "a letter in front"),
    ("verify first.onnx --columns x=y", 2, "give --data"),
    ("run first.onnx", 2, "Missing argument 'INPUTS'"),
    ("strip inputs.npz", 2, "inputs.npz is no artifact"),
)
CPU = 1.0  # seconds that a wrong command may take: half of it where nothing else runs


@dataclass(frozen=True)
class Step:
    """One thing that a user does.

    Attributes:
        name: what is typed.
        cpu: seconds of all its processes.
        problem: what it did that it should not; empty where it was right.
    """

    name: str
    cpu: float
    problem: str


def quickstart() -> list[str]:
    """The commands of the first block of the README."""
    found = re.search(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None, "the README begins with a quickstart"
    return found[1].splitlines()


def walk(environment: Path, folder: Path) -> Iterator[Step]:
    """All steps, in an empty folder."""
    for line in quickstart():
        yield _step(environment, folder, line, 0)
    for typo, code, fragment in TYPOS:
        step, told = _ran(environment, folder, f"rnnexport {typo}")
        problem = ""
        if step != code or fragment not in told or len(told.splitlines()) != 1:
            problem = f"exit code {step}, not {code}, and {told!r}, without {fragment!r}"
        cpu = _cpu()
        yield Step(f"rnnexport {typo}", cpu, problem or (f"{cpu:.2f} s of CPU" if cpu > CPU else ""))
    asked = {"_RNNEXPORT_COMPLETE": "bash_complete", "COMP_WORDS": "rnnexport ver", "COMP_CWORD": "1"}
    code, told = _ran(environment, folder, "rnnexport", asked, out=True)
    yield Step("rnnexport ver<Tab>", _cpu(), "" if (code, told) == (0, "plain,verify\n") else f"{code}, {told!r}")
    yield _step(environment, folder, "rnnexport completion bash", 0)
    notebook = ROOT / "examples" / "first_artifact.ipynb"
    yield _step(environment, folder, f"python {ROOT / 'tests' / 'notebooks.py'} {notebook}", 0)


def _step(environment: Path, folder: Path, line: str, code: int) -> Step:
    found, told = _ran(environment, folder, line)
    return Step(line, _cpu(), "" if found == code else f"exit code {found}: {told}")


def _ran(
    environment: Path, folder: Path, line: str, more: dict[str, str] | None = None, *, out: bool = False
) -> tuple[int, str]:
    """The exit code of a command line, and what it printed on stderr, or on both for `out`."""
    path = f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    _Clock.before = _children()
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=variables | {"PATH": path} | (more or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, (done.stdout if out else "") + done.stderr


class _Clock:
    """The CPU of children before the last command."""

    before = 0.0


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _cpu() -> float:
    return _children() - _Clock.before


def main(arguments: Sequence[str]) -> int:
    """Walk, print, and say whether all was right."""
    environment, folder = (Path(argument).resolve() for argument in arguments)
    folder.mkdir(parents=True, exist_ok=True)
    wrong = 0
    for step in walk(environment, folder):
        wrong += bool(step.problem)
        print(f"{step.cpu:6.2f} s  {step.name}" + (f"\n          {step.problem}" if step.problem else ""), flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
