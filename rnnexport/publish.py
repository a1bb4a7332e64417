"""Putting a finished artifact in place, whole or not at all.

An artifact is built in a hidden folder beside its destination, so that the last step is a rename on one file
system. Whatever goes wrong before that step, the folder is removed and what stood at the destination is untouched.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rnnexport.errors import UsageError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def staged(destination: Path, marker: str | None = None) -> Iterator[Path]:
    """Give a path to build at; move what was built there to `destination` when the block ends without an error.

    The path has the destination's own name, so that a runtime that looks at the suffix is not confused.

    Args:
        destination: where the artifact goes. One that is there already is replaced in one step.
        marker: None for an artifact that is a file; for one that is a folder, the file by which an earlier one is
            known. A folder without it is somebody's own and is never replaced.

    Raises:
        UsageError: the parent folder is missing or can't be written, the disk is full, or what stands at
            `destination` is not ours to replace.
    """
    check_destination(destination, marker)
    parent = destination.absolute().parent
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", suffix=".part", dir=parent))
    except OSError as error:
        raise _unwritable(destination, error) from error
    try:
        built = folder / destination.name
        yield built
        if destination.is_dir():
            _exchange(built, destination)
        else:
            built.replace(destination)
    except OSError as error:
        raise _unwritable(destination, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make a folder for the block's artifacts; take it away again if the block fails with nothing in it.

    Raises:
        UsageError: it can't be made.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield
    except BaseException:
        with suppress(OSError):  # it holds something by now, and so stays
            for path in missing:
                path.rmdir()
        raise


def check_destination(destination: Path, marker: str | None = None) -> None:
    """Raise what `staged` would raise at once, so that no minutes of work are spent before it."""
    parent = destination.absolute().parent
    if not parent.is_dir():
        raise UsageError(f"no folder {parent}", "an output path in an existing folder", "make the folder or change -o")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UsageError(f"no right to write in {parent}", "an output path in a writable folder", "change -o")
    if marker is None and destination.is_dir():
        raise UsageError(f"{destination} is a folder", "a file, or nothing, at the output path", "change -o")
    if marker is None or not destination.exists():
        return
    if not destination.is_dir():
        raise UsageError(f"{destination} is a file", "a folder, or nothing, at the output path", "change -o")
    if any(destination.iterdir()) and not (destination / marker).is_file():
        raise UsageError(
            f"the folder {destination} holds other things (no {marker})",
            "an earlier artifact, an empty folder or nothing at the output path",
            "change -o",
        )


def _exchange(built: Path, destination: Path) -> None:
    """Swap two folders in one step where Linux can (renameat2), else in two; `built` holds the old one after it."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is not None:
        code = renameat2(_AT_FDCWD, os.fsencode(built), _AT_FDCWD, os.fsencode(destination), _RENAME_EXCHANGE)
        if code == 0:
            return
    aside = built.with_name(built.name + ".old")
    destination.rename(aside)
    try:
        built.rename(destination)
    except OSError:
        aside.rename(destination)
        raise


def _unwritable(destination: Path, error: OSError) -> UsageError:
    return UsageError(
        f"can't write {destination}: {error.strerror or error}",
        "an output path with room and the right to write",
        "free space, change the rights, or change -o",
    )
