"""Build what is released, and try it as a user would: from the wheel, in an environment of its own.

    python -m tools.release FOLDER [SAMPLE ...]

1. Build the source distribution, and the wheel from it.
2. Check that their metadata can be shown, and that the source distribution holds what it must.
3. Install the wheel, with its extras, into a new environment.
4. Run the demo there: every sample to every target, each artifact verified from the file alone.
5. Walk a new user's first hour there, and with each other Python that is supported and found on this host: see
   `tools.first_hour`.

Exit code 1 if one of them fails. Nothing is uploaded.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
OTHER_PYTHONS = ("python3.13",)
NEEDED = ("CHANGELOG.md", "LICENSE", "docs/verification.md", "samples/cgru_cell.py", "tests/test_matrix.py")


def main(arguments: Sequence[str]) -> int:
    """Make the release in the folder; 0 if all of it worked."""
    folder = Path(arguments[0]).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    _run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    wheel, source = next(folder.glob("*.whl")), next(folder.glob("*.tar.gz"))
    _run(sys.executable, "-m", "twine", "check", "--strict", wheel, source)
    with tempfile.TemporaryDirectory() as place:
        unpacked = _unpacked(source, Path(place))
        if lacking := [name for name in NEEDED if not (unpacked / name).is_file()]:
            print(f"{source.name} lacks {', '.join(lacking)}", file=sys.stderr)
            return 1
        python = _installed(wheel, Path(place) / "environment")
        # Away from the package's own folder, so that what runs is what was installed.
        shutil.copytree(unpacked / "samples", Path(place) / "tried" / "samples")
        _run(python, "-m", "samples.demo", "demo", *arguments[1:], cwd=Path(place) / "tried")
        _first_hours(wheel, Path(place), python)
    print(f"{wheel.name} and {source.name} are in {folder}")
    return 0


def _first_hours(wheel: Path, place: Path, python: Path) -> None:
    """Walk the first hour in the environment that has the wheel, and in one of each other Python."""
    environments = [python.parents[1]]
    for name in OTHER_PYTHONS:
        interpreter = _interpreter(name)
        if interpreter is None:
            print(f"{name} is not on this host: not tried")
        else:
            environments.append(_installed(wheel, place / name, interpreter).parents[1])
    for at, environment in enumerate(environments):
        _run(sys.executable, "-m", "tools.first_hour", environment, place / f"hour_{at}")


def _interpreter(name: str) -> str | None:
    """A Python of that name that starts, which one of a version manager need not."""
    found = shutil.which(name)
    works = found is not None and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0
    return found if works else None


def _unpacked(source: Path, place: Path) -> Path:
    with tarfile.open(source) as archive:
        archive.extractall(place / "source", filter="data")
    return next((place / "source").iterdir())


def _installed(wheel: Path, place: Path, interpreter: str = sys.executable) -> Path:
    """The interpreter of a new environment that has the wheel."""
    _run(interpreter, "-m", "venv", place)
    python = place / "bin" / "python"
    _run(python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", f"{wheel}[convert,cpu]")
    return python


def _run(*command: object, cwd: Path = ROOT) -> None:
    words = [str(word) for word in command]
    print("$", " ".join(words), flush=True)
    subprocess.run(words, check=True, cwd=cwd)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as error:
        sys.exit(f"{Path(error.cmd[0]).name} ended with exit code {error.returncode}")
