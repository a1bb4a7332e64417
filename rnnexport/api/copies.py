"""Copies of artifacts, which may be of several files, to be changed before they go in place."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rnnexport.artifact.atomic_write import staged, writing
from rnnexport.artifact.provenance import Proof
from rnnexport.core.errors import UsageError
from rnnexport.targets.base import Target


@contextmanager
def copy_with(proof: Proof, kind: Target, path: Path, destination: Path) -> Iterator[Path]:
    """A copy of an artifact with another proof, which is put at `destination` when the block ends without an error.

    Raises:
        UsageError: something else is where its weights would go, or the place can't be written.
    """
    with ExitStack() as stack:
        outside = _outside_of(kind, path, destination)
        copies = {file: stack.enter_context(staged(place)) for file, place in outside.items()}
        built = stack.enter_context(kind.staged(destination))
        with writing(destination):
            for file, copy in copies.items():
                shutil.copyfile(file, copy)
            _copy(kind, path, built)
            kind.write_proof(built, proof)
        yield built


def _outside_of(kind: Target, path: Path, destination: Path) -> dict[Path, Path]:
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


def _copy(kind: Target, path: Path, built: Path) -> None:
    """The artifact at another place, and what holds its weights beside it."""
    if path.is_dir():
        shutil.copytree(path, built)
        return
    beside = {file: built.parent / file.relative_to(path.parent) for file in kind.external_files(path)}
    for file, copy in (*zip(kind.files(path), kind.files(built), strict=True), *beside.items()):
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
