"""How long `rnnexport verify` takes as a whole process, beside importing what it can't do without.

    python -m benchmarks.startup [ARTIFACT.onnx] [--rounds N] [--imports]
    python -m benchmarks.startup --errors

The aim is a ratio of at most 1.5. Without an artifact, the sample `lstm` is exported first. `--imports` lists the
modules that verifying imports and the floor does not, with the milliseconds each costs by itself. `--errors` prints the
processor time of each kind of usage error instead; the aim is half a second.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.timing import Budget, interleaved_medians

FLOOR = "import numpy, onnx, onnxruntime"
AIM = 1.5
_SAMPLE = "lstm"
_SHOWN = 40
ROOT = Path(__file__).parent.parent
ERRORS = (
    "onxx lstm.keras",
    "lstm.keras",
    "onnx lstm.kers",
    "onnx lstm.onnx",
    "verify lstm.keras",
    "onnx lstm.keras -o lstm.tflite",
    "onnx lstm.keras -o no/lstm.onnx",
    "onnx lstm.keras --custom-objects my_cell.py",
    "tflite lstm.keras",
    "export lstm.keras --to saved_model",
)
# `import time:   self [us] | cumulative | name`
_IMPORT = re.compile(r"^import time: +(\d+) \| +\d+ \| +(\S+)$", re.MULTILINE)


def verify_command(artifact: Path, *flags: str) -> list[str]:
    """The command of one process that verifies `artifact`."""
    return [sys.executable, *flags, "-m", "rnnexport", "verify", str(artifact)]


def floor_command(*flags: str) -> list[str]:
    """The command of one process that imports what verifying an ONNX file needs, and does nothing."""
    return [sys.executable, *flags, "-c", FLOOR]


def medians(artifact: Path, rounds: int) -> tuple[float, float]:
    """The median seconds of verifying and of the floor, in turns, a process each."""
    candidates = {
        "verify": partial(_run, verify_command(artifact)),
        "floor": partial(_run, floor_command()),
    }
    found = interleaved_medians(candidates, Budget(seconds=0, turn_calls=1, rounds=rounds))
    return found["verify"], found["floor"]


def extra_imports(artifact: Path) -> list[tuple[str, float]]:
    """What verifying imports and the floor does not, with the milliseconds of each by itself, dearest first."""
    floor = set(_imports(floor_command("-X", "importtime")))
    # Without --debug, descriptor 2 leads into a file that nobody reads, and the list with it.
    ours = _imports([*verify_command(artifact, "-X", "importtime"), "--debug"])
    return sorted(((name, ms) for name, ms in ours.items() if name not in floor), key=lambda item: -item[1])


def _imports(command: Sequence[str]) -> dict[str, float]:
    return {name: int(microseconds) / 1000 for microseconds, name in _IMPORT.findall(_run(command))}


def _run(command: Sequence[str]) -> str:
    """Run a process to its end; what it wrote to stderr."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stderr


def _sample(folder: Path) -> Path:
    """The artifact of a small sample; TensorFlow stays in the process that makes it."""
    artifact = folder / f"{_SAMPLE}.onnx"
    code = (
        "import sys, rnnexport; from samples.catalog import SAMPLES_BY_NAME; "
        f"rnnexport.export(SAMPLES_BY_NAME[{_SAMPLE!r}].build(), 'onnx', sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, str(artifact)], check=True, capture_output=True, cwd=ROOT)
    return artifact


def _show(artifact: Path, rounds: int, imports: bool) -> None:
    ours, floor = medians(artifact, rounds)
    print(f"{rounds} runs each, in turns; medians")
    print(f"  rnnexport verify {artifact.name:<12} {1000 * ours:6.0f} ms")
    print(f"  {FLOOR:<29} {1000 * floor:6.0f} ms")
    print(f"  ratio {ours / floor:.2f} (aim: at most {AIM})")
    if imports:
        extra = extra_imports(artifact)
        print(f"{len(extra)} modules more than the floor, {sum(ms for _, ms in extra):.0f} ms; the dearest:")
        for name, ms in extra[:_SHOWN]:
            print(f"  {ms:6.1f} ms  {name}")


def error_cost(arguments: str, folder: Path, rounds: int = 3) -> tuple[float, str]:
    """The least processor seconds of a command that is refused, over some runs, and what it says."""
    costs, said = [], ""
    for _ in range(rounds + 1):  # the first writes bytecode
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "rnnexport", *arguments.split()],
            cwd=folder,
            env=os.environ
            | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": f"{folder}.cache"},
            capture_output=True,
            text=True,
            check=False,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode in (2, 3), done.stderr
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        said = done.stderr.strip()
    return min(costs), said


def _show_errors() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "typed")
        folder.mkdir()
        artifact = _sample(folder)
        (folder / "my_cells.py").touch()
        code = "import sys; from samples.catalog import SAMPLES_BY_NAME as s; s[sys.argv[1]].build().save(sys.argv[2])"
        command = [sys.executable, "-c", code, _SAMPLE, str(folder / f"{_SAMPLE}.keras")]
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
        assert artifact.name == "lstm.onnx", "the commands below name it"
        for arguments in ERRORS:
            seconds, said = error_cost(arguments, folder)
            print(f"{1000 * seconds:5.0f} ms  rnnexport {arguments}\n          {said[:110]}")


def main(given: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser("python -m benchmarks.startup", description="Time the start of verify.")
    parser.add_argument("artifact", type=Path, nargs="?", help="an ONNX file of rnnexport")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="runs of each (default: 15)")
    parser.add_argument("--imports", action="store_true", help="list the modules that make the difference")
    parser.add_argument("--errors", action="store_true", help="time usage errors instead")
    arguments = parser.parse_args(given)
    if arguments.errors:
        _show_errors()
        return
    with tempfile.TemporaryDirectory() as folder:
        _show(arguments.artifact or _sample(Path(folder)), arguments.rounds, arguments.imports)


if __name__ == "__main__":
    main()
