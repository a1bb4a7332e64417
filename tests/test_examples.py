"""The examples run, end to end."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
NOTEBOOKS = sorted((path.name for path in EXAMPLES.glob("*.ipynb")), reverse=True)
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))


# One of them each time, all in the long tests.
@pytest.mark.parametrize(
    "name", [name if name == "text_tagger.py" else pytest.param(name, marks=pytest.mark.long) for name in SCRIPTS]
)
def test_an_example_runs_and_verifies(name, python_process, tmp_path):
    done = python_process(EXAMPLES / name, tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert ": " in done.stdout


@pytest.mark.parametrize(
    "name", [NOTEBOOKS[0], *(pytest.param(name, marks=pytest.mark.long) for name in NOTEBOOKS[1:])]
)
def test_a_notebook_runs_and_shows_what_it_made(name, python_process, tmp_path):
    done = python_process(EXAMPLES.parent / "tests" / "notebooks.py", EXAMPLES / name, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout.splitlines()[-1])
    assert any(text.startswith("<table><tr><th>artifact") and "verified" in text for text in shown)
    assert any(text.startswith("<iframe") and "passed" in text for text in shown)
    assert max(len(text) for text in shown if not text.startswith("<")) < 300


def test_notebooks_are_kept_without_outputs():
    assert len(NOTEBOOKS) == 2
    for name in NOTEBOOKS:
        cells = json.loads((EXAMPLES / name).read_text())["cells"]
        assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


def test_the_page_names_every_file():
    page = (EXAMPLES / "README.md").read_text()
    assert all(f"[{path.name}]({path.name})" in page for path in EXAMPLES.iterdir() if path.name != "README.md")


def test_the_extras_that_the_files_install_exist():
    project = tomllib.loads((EXAMPLES.parent / "pyproject.toml").read_text())["project"]
    assert "[cpu]" in (EXAMPLES / "verify.yml").read_text()
    assert "[cpu]" in (EXAMPLES / "Containerfile").read_text()
    assert "cpu" in project["optional-dependencies"]
