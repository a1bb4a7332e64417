"""The project's own files: every dependency is pinned, and no file names a host to fetch from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PINNED = {
    re.split("==", line)[0].lower().replace("_", "-")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
}


def test_every_dependency_of_every_extra_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert set(extras) == {
        "convert",
        "bench",
        "c",
        "cpu",
        "cuda",
        "data",
        "portable",
        "ray",
        "sign",
        "tflm",
        "triton",
        "docs",
        "release",
        "dev",
    }
    wanted = [*project["dependencies"], *(name for extra in extras.values() for name in extra)]
    names = {re.split(r"[\[<>=]", requirement)[0].lower().replace("_", "-") for requirement in wanted}
    assert names <= PINNED
    assert any(name.startswith("nvidia-") for name in PINNED)


def test_constraints_are_exact_and_name_no_host():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)


def test_continuous_integration_runs_the_commands_of_the_readme():
    assert "make lint test" in (ROOT / ".ci" / "run").read_text()


def test_the_version_is_in_the_changelog():
    from rnnexport import __version__

    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_site_has_every_page_and_the_reference_every_name():
    import rnnexport

    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    site = (ROOT / "mkdocs.yml").read_text()
    nav = re.findall(r"([\w/-]+\.md)$", site.partition("nav:")[2].partition("markdown_extensions:")[0], re.MULTILINE)
    assert sorted(nav) == sorted([*pages, "index.md"])  # the README
    told = {
        line.rpartition(".")[2] for line in (ROOT / "docs" / "api.md").read_text().splitlines() if line[:3] == ":::"
    }
    errors = {name for name in rnnexport.__all__ if name.endswith("Error")}  # in one module, which is shown whole
    assert set(rnnexport.__all__) - errors - {"__version__"} <= told
    assert "errors" in told
