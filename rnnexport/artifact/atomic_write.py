"""Putting a finished artifact in place, whole or not at all.

An artifact is built in a hidden folder beside its destination, so that the last step is a rename on one file
system. Whatever goes wrong before that step, the folder is removed and what stood at the destination is untouched; that
of a process that was killed is removed by the next one.
An artifact of several files takes a rename for each, its companions first; where one fails, those before it go back.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rnnexport.core.errors import UsageError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def _nobodys(destination: Path) -> bool:
    return False


@dataclass(frozen=True)
class Extra:
    """A file that may lie beside an artifact.

    Attributes:
        place: where it is, by where the artifact is.
        owned: whether the one that is beside an artifact belongs to it.
        holds: what is in it, for messages.
    """

    place: Callable[[Path], Path]
    owned: Callable[[Path], bool]
    holds: str


@contextmanager
def staged(
    destination: Path,
    layout: Sequence[str] = (),
    companions: Sequence[str] = (),
    owned: Callable[[Path], bool] = _nobodys,
    extras: Sequence[Extra] = (),
) -> Iterator[Path]:
    """Give a path to build at; move what was built there to `destination` when the block ends without an error.

    The path has the destination's own name, so that a runtime that looks at the suffix is not confused. A link is
    followed: what it points to is replaced.

    Args:
        destination: where the artifact goes. One that is there already is replaced in one step.
        layout, companions, owned: see `check_destination`.
        extras: files that may be built beside it, too. Those of the artifact before go.

    Raises:
        UsageError: the parent folder is missing or can't be written, the disk is full, or what stands at
            `destination` is not ours to replace.
    """
    check_destination(destination, layout, companions, owned)
    final = Path(os.path.realpath(destination))
    with ExitStack() as resources:
        with writing(destination):
            folder = resources.enter_context(held_folder(final.parent, final.name))
        built = folder / final.name
        yield built
        check_destination(destination, layout, companions, owned)  # again: minutes may have passed
        with writing(destination), ExitStack() as undo:
            for extra in extras:
                _put_extra(extra, built, final, undo)
            for suffix in companions:
                _put(built.with_suffix(suffix), final.with_suffix(suffix), undo)
            if final.is_dir():
                _exchange(built, final)
            else:
                built.replace(final)
            undo.pop_all()


@contextmanager
def writing(destination: Path) -> Iterator[None]:
    """Tell a failed write inside the block (a full disk, say) as one of `destination`.

    Raises:
        UsageError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"can't write {destination}: {error.strerror or error}",
            "an output path with room and the right to write",
            "free space, change the rights, or change the output path",
        ) from error


def write_text(destination: Path, text: str) -> None:
    """Write a text file in one step; what is no regular file (a pipe, a terminal) is written to as it is.

    `-` is standard output.

    Raises:
        UsageError: see `staged`.
    """
    if str(destination) == "-":
        print(text)
        return
    if destination.exists() and not destination.is_file() and not destination.is_dir():
        with writing(destination):
            destination.write_text(text)
        return
    with staged(destination) as path, writing(destination):
        path.write_text(text)


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make a folder for the block's artifacts; take it away again if the block fails with nothing in it.

    Raises:
        UsageError: it can't be made.
    """
    with writing(folder):
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file", "a folder, or nothing, at the output path", "change it")
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # it holds something by now, and so stays
            for path in missing:
                path.rmdir()
        raise


def check_destination(
    destination: Path,
    layout: Sequence[str] = (),
    companions: Sequence[str] = (),
    owned: Callable[[Path], bool] = _nobodys,
) -> None:
    """Raise what `staged` would raise, at once, so that no minutes of work are spent before it.

    Args:
        destination: where an artifact is to go.
        layout: empty for an artifact that is a file. For one that is a folder, the names it may hold, first the one
            by which an earlier artifact is known: a folder with anything else in it is somebody's own.
        companions: of an artifact of several files, what the names of the others end in. Where any of them is there,
            all of them have to be an earlier artifact: a program or an archive may well be somebody's own.
        owned: whether they are.

    Raises:
        UsageError: nothing can be written there, or what stands there is not ours to replace.
    """
    with writing(destination):
        final = Path(os.path.realpath(destination))
        _check_parent(final.parent)
        if companions:
            _check_files(destination, final, companions, owned)
        if not final.exists():
            return
        if layout:
            _check_folder(final, layout)
        elif final.is_dir():
            raise UsageError(f"{destination} is a folder", "a file, or nothing, at the output path", "change it")
        elif not final.is_file():
            raise UsageError(f"{destination} is no regular file", "a file, or nothing, at the output path", "change it")


def _check_parent(parent: Path) -> None:
    if not parent.is_dir():
        raise UsageError(f"no folder {parent}", "an output path in an existing folder", "make the folder or change it")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UsageError(f"no right to write in {parent}", "an output path in a writable folder", "change it")


def _check_files(destination: Path, final: Path, companions: Sequence[str], owned: Callable[[Path], bool]) -> None:
    files = [final, *(final.with_suffix(suffix) for suffix in companions)]
    for suffix in companions:
        beside = Path(os.path.realpath(destination.with_suffix(suffix)))
        if beside != final.with_suffix(suffix):
            raise UsageError(
                f"{destination} and {destination.with_suffix(suffix).name}, links that lead to {final} and {beside}",
                "files of one name in one folder",
                "change the output path",
            )
    there = [file for file in files if file.exists()]
    if odd := [file for file in there if not file.is_file()]:
        raise UsageError(f"{odd[0]} is no regular file", "files, or nothing, at the output path", "change it")
    if there and not owned(final):
        raise UsageError(
            f"{there[0]}, which rnnexport did not write",
            f"an earlier artifact, or nothing, as {' and '.join(file.name for file in files)}",
            "change the output path, or move it away",
        )


def _check_folder(folder: Path, layout: Sequence[str]) -> None:
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file", "a folder, or nothing, at the output path", "change it")
    names = {path.name for path in folder.iterdir()}
    if names and not (layout[0] in names and names <= set(layout)):
        other = sorted(names - set(layout)) or [f"no {layout[0]}"]
        raise UsageError(
            f"the folder {folder} holds other things ({', '.join(other[:3])})",
            "an earlier artifact, an empty folder or nothing at the output path",
            "change it",
        )


def _put(built: Path, final: Path, undo: ExitStack) -> None:
    """Put one file in place, and leave in `undo` how it is taken back."""
    if final.exists():
        _exchange(built, final)
        undo.callback(_exchange, built, final)
    else:
        built.rename(final)
        undo.callback(final.rename, built)


def _put_extra(extra: Extra, built: Path, final: Path, undo: ExitStack) -> None:
    """Put a file beside the artifact in place, or take away that of the artifact before. Likewise.

    Raises:
        UsageError: one of somebody else is there.
    """
    new, place = extra.place(built), extra.place(final)
    ours = place.exists() and extra.owned(final)
    if new.exists() and place.exists() and not ours:
        raise UsageError(
            f"{place}, which rnnexport did not write",
            f"nothing there: {extra.holds} of {final.name} go into it",
            "move it away, or change the output path",
        )
    if new.exists():
        _put(new, place, undo)
    elif ours:
        place.rename(new)
        undo.callback(new.rename, place)


def _exchange(built: Path, destination: Path) -> None:
    """Swap two folders or files, in one step where Linux can (renameat2), else in two.

    `built` holds the old one after it.
    """
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
    aside.rename(built)


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
