"""What the documents say is run: their commands, their Python, their tables."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from benchmarks.mutation.faults import FAULTS
from rnnexport.targets.registry import TARGET_NAMES
from samples.catalog import SAMPLES
from samples.support import markdown
from tests.conftest import Run

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
GROUP = pytest.mark.xdist_group("docs")
# The page for developers and that of the Python reference have no commands.
PAGES = sorted(path for path in (ROOT / "docs").glob("*.md") if path.stem not in ("architecture", "api"))
# Their commands are run by `make test-long`.
TAKE_LONG = ("cost", "lowering", "numpy", "origins", "quantization", "streaming", "tflite", "verification")


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(text: str = README) -> list[str]:
    return [line for block in blocks("sh", text) for line in block.splitlines()]


def run_in_order(lines: list[str], folder: Path, python: Run) -> int:
    """Run commands of a document, but those that set up; how many ran."""
    ran = 0
    for command in lines:
        program, *arguments = shlex.split(command)
        if program in ("make", "pip"):
            continue
        prefix = {"python": [], "rnnexport": ["-m", "rnnexport"]}[program]
        done = python(*prefix, *arguments, cwd=folder)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        ran += 1
    return ran


@pytest.fixture(scope="session")
def workplace(tmp_path_factory):
    """An empty folder that sees the samples, as the root of a clone does."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("samples", "docs", "examples"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@GROUP
def test_the_commands_of_the_readme_run_in_their_order(workplace, python_process):
    assert run_in_order(commands(), workplace, python_process) == 21
    (python,) = blocks("python")
    done = python_process("-c", python, cwd=workplace)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=page.stem, marks=pytest.mark.long if page.stem in TAKE_LONG else []) for page in PAGES],
)
def test_the_commands_of_a_page_run_in_their_order(page, workplace, python_process):
    assert run_in_order(commands(page.read_text()), workplace, python_process) > 0


def test_the_make_targets_of_the_readme_exist():
    wanted = {command.split()[1] for command in commands() if command.startswith("make ")}
    wanted |= set(re.findall(r"`make ([a-z-]+)`", README))
    makefile = (ROOT / "Makefile").read_text()
    assert wanted == {"demo", "test", "support", "samples-table", "lint", "mutation"}
    assert all(f"\n{name}:" in makefile for name in wanted)


def test_the_support_table_is_what_the_demo_verifies():
    """`test_matrix` proves each cell that says verified; the table must say no more and no less.

    What is a variant of another sample it proves by `make test-long`.
    """
    verdicts = {(sample.name, to): "passed" for sample in SAMPLES for to in TARGET_NAMES}
    found = README.partition("<!-- support table -->\n")[2].partition("<!-- end of support table -->")[0]
    assert found == markdown(verdicts)


def test_the_support_table_shows_what_is_not_verified():
    verdicts = {(sample.name, to): "passed" for sample in SAMPLES for to in TARGET_NAMES}
    verdicts[SAMPLES[0].name, "onnx"] = "mismatch"
    del verdicts[SAMPLES[1].name, "tflite"]
    assert markdown(verdicts).count("**no**") == 2


@GROUP
def test_the_demo_prints_one_table_and_writes_its_report(tmp_path, python_process):
    done = python_process("-m", "samples.demo", tmp_path / "demo", "my_layer", "simple_rnn")
    assert done.returncode == 0, done.stderr
    row = rf"^ (?:my_layer|simple_rnn) {'.*verified' * len(TARGET_NAMES)}"
    assert len(re.findall(row, done.stdout, re.MULTILINE)) == 2
    done = python_process("-m", "samples.support", tmp_path / "demo" / "report.json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("verified") == 2 * len(TARGET_NAMES)


def test_the_table_of_runtimes_has_a_row_for_each_model_and_form():
    """Its cells are what `python -m benchmarks.runtimes` printed."""
    from benchmarks.runtimes import FORMS, MODELS

    page = (ROOT / "docs" / "runtimes.md").read_text()
    rows = _rows(page.partition("<!-- runtimes -->\n")[2].partition("<!-- end of runtimes -->")[0])
    assert [(row[0], row[1].partition(":")[0]) for row in rows] == [(name, form) for name in MODELS for form in FORMS]


def test_the_architecture_page_names_what_there_is():
    page = (ROOT / "docs" / "architecture.md").read_text()
    packages = {path.parent.name for path in (ROOT / "rnnexport").glob("*/__init__.py")}
    assert set(re.findall(r"\| `(\w+)/` \|", page)) == packages
    modules = {path.stem for path in (ROOT / "rnnexport").rglob("*.py")}
    rooms = page.partition("## Rooms")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(\w+)`", rooms)) - {"keras", "tf_keras"} <= modules


def test_the_tables_of_the_mutation_bench_have_a_line_for_each_fault():
    """Their figures are what `make mutation` and `benchmarks.mutation.markdown` printed; no fault may be left out."""
    page = (ROOT / "docs" / "verification.md").read_text()
    faults = []
    for name in ("mutation", "domain"):
        table = page.partition(f"<!-- {name} table -->\n")[2].partition(f"<!-- end of {name} table -->")[0]
        rows = {row[0]: [int(figure.replace(",", "")) for figure in row[1:]] for row in _rows(table)}
        assert all(mutants == caught + equal + missed for _, mutants, caught, equal, missed in rows.values())
        for column in range(1, 5):
            assert rows["all"][column] == sum(row[column] for name, row in rows.items() if name != "all")
        faults += [fault for fault in rows if fault != "all"]
    assert sorted(faults) == sorted(FAULTS)


def _rows(table):
    lines = [line for line in table.splitlines() if line.startswith("| ")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
