"""Folders that a killed process leaves behind: held by a lock as long as it lives, taken away by the next one.

A folder gets its name once it is locked, and the lock (flock, on the folder itself) ends with its process however that
ends. So one of that name without a lock is nobody's, and one of a process that works is never touched.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX, _SUFFIX = ".rnnexport.", ".part"
_LONGEST = 80


@contextmanager
def held_folder(parent: Path, name: str) -> Iterator[Path]:
    """A hidden folder in `parent` for the block, held by a lock; those that killed processes left there are removed.

    Args:
        parent: where.
        name: a part of its name, for whoever looks.

    Raises:
        OSError: it can't be made.
    """
    remove_leftovers(parent)
    made = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{name[:_LONGEST]}.", suffix=".new", dir=parent))
    lock = _locked(made)
    folder = made.with_suffix(_SUFFIX)
    try:
        made.rename(folder)
        yield folder
    finally:
        for path in (folder, made):
            shutil.rmtree(path, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def remove_leftovers(parent: Path) -> None:
    """Remove the folders in `parent` that `held_folder` made in a process of this user that is gone."""
    with suppress(OSError):
        for path in parent.glob(f"{_PREFIX}*{_SUFFIX}"):
            lock = _locked(path)
            if lock is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)


def _locked(folder: Path) -> int | None:
    """A descriptor that locks a folder of this user; None where another process does, or the file system has no locks.

    It is closed in programs that this process starts.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None
