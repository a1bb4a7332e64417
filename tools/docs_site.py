"""Hooks of MkDocs: the README is the first page, and links that lead out of docs/ are left as names of files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)#\s]+)(#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README as the page `index.md`."""
    text = (ROOT / "README.md").read_text()
    files.append(File.generated(config, "index.md", content=_LINK.sub(_from_root, text)))
    return files


def on_page_markdown(markdown: str, page: Page, **others: Any) -> str:
    """Take away links to what is no page: samples, tests, files of the repository."""
    del others
    folder = (ROOT / "docs" / page.file.src_uri).parent
    return _LINK.sub(lambda found: _within(found, folder), markdown)


def _from_root(found: re.Match[str]) -> str:
    """A link of the README, as a page in docs/ has it."""
    text, target, anchor = found[1], found[2], found[3] or ""
    return f"[{text}]({target.removeprefix('docs/') if target.startswith('docs/') else f'../{target}'}{anchor})"


def _within(found: re.Match[str], folder: Path) -> str:
    target = (folder / found[2]).resolve()
    if target.is_relative_to(ROOT / "docs") and target.is_file() and target.suffix != ".py":
        return found[0]
    if target.is_dir() and (target / "README.md").is_file() and target.is_relative_to(ROOT / "docs"):
        return f"[{found[1]}]({found[2].rstrip('/')}/README.md)"
    return found[1] if found[1].startswith("`") else f"`{found[1]}`"
