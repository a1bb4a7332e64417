"""The examples run, end to end."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))


# One of them each time, all in the long tests.
@pytest.mark.parametrize(
    "name", [name if name == "text_tagger.py" else pytest.param(name, marks=pytest.mark.long) for name in SCRIPTS]
)
def test_an_example_runs_and_verifies(name, python_process, tmp_path):
    done = python_process(EXAMPLES / name, tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert ": " in done.stdout


def test_the_page_names_every_file():
    page = (EXAMPLES / "README.md").read_text()
    assert all(f"[{path.name}]({path.name})" in page for path in EXAMPLES.iterdir() if path.name != "README.md")


def test_the_extras_that_the_files_install_exist():
    project = tomllib.loads((EXAMPLES.parent / "pyproject.toml").read_text())["project"]
    assert "[cpu]" in (EXAMPLES / "verify.yml").read_text()
    assert "[cpu]" in (EXAMPLES / "Containerfile").read_text()
    assert "cpu" in project["optional-dependencies"]
