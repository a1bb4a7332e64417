"""Copies of artifacts, which may be of several files, to be changed before they go in place."""

from __future__ import annotations

import filecmp
import shutil
from pathlib import Path

from rnnexport.core.errors import UsageError
from rnnexport.targets.base import Target


def outside_of(kind: Target, path: Path, destination: Path) -> dict[Path, Path]:
    """The files beside an artifact that hold its weights, and where they go; nothing for one that stays in its folder.

    Raises:
        UsageError: something else is there.
    """
    if path.parent.resolve() == destination.parent.resolve():
        return {}
    found = {file: destination.parent / file.relative_to(path.parent) for file in kind.external_files(path)}
    for file, place in found.items():
        if place.exists() and not (place.is_file() and filecmp.cmp(file, place, shallow=False)):
            raise UsageError(f"{place}, where the weights of {path.name} would go", "nothing there", "change -o")
    return found


def copy_artifact(kind: Target, path: Path, built: Path) -> None:
    """The artifact at another place, and what holds its weights beside it."""
    if path.is_dir():
        shutil.copytree(path, built)
        return
    beside = {file: built.parent / file.relative_to(path.parent) for file in kind.external_files(path)}
    for file, copy in (*zip(kind.files(path), kind.files(built), strict=True), *beside.items()):
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
