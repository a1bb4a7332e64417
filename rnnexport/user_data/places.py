"""Files of data, where they are: on this host, or wherever fsspec reaches."""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from rnnexport.core.errors import ForeignCode, ProviderError, RnnExportError, UsageError, reason, require_path
from rnnexport.core.user_data import UserData

ARCHIVES = (".npz", ".npy")
TABLES = (".parquet", ".arrow", ".feather", ".ipc")
_KINDS = (*ARCHIVES, *TABLES)
_MAGIC = frozenset("*?[")
_CONNECT, _READ = 20.0, 60.0  # seconds until an HTTP server that does not answer is given up
_INSTALL = "pip install 'rnnexport[data]'"


@dataclass(frozen=True)
class DataFile:
    """One file.

    Attributes:
        name: what messages call it.
        path: of the file in its file system.
        system: an fsspec file system; None for a file of this host.
    """

    name: str
    path: str
    system: Any = None

    @property
    def kind(self) -> str:
        """What its name ends in."""
        return PurePosixPath(self.path).suffix.lower()

    @contextmanager
    def opened(self, *, often: bool = False) -> Iterator[IO[bytes]]:
        """The file, to be read from any position. What fails is raised as it comes.

        Args:
            often: whether its parts are read in turns; a remote one is copied to a temporary file then, and so is one
                whose server gives it from the start alone.
        """
        if self.system is None:
            with Path(self.path).open("rb") as file:
                yield file
            return
        if not often:
            with self.system.open(self.path, "rb") as remote:
                if _seeks(remote):
                    yield cast("IO[bytes]", remote)
                    return
        with tempfile.NamedTemporaryFile() as copy:
            self.system.get_file(self.path, copy.name)
            with Path(copy.name).open("rb") as file:
                _require_size(file, self.system.info(self.path).get("size"))
                yield file


def places(data: UserData) -> tuple[DataFile, ...]:
    """The files of the data in the order of their names.

    Raises:
        UsageError: there is none, or files of several kinds; an address does not answer.
        ProviderError: fsspec, or what it reaches that address by, is not installed.
    """
    if data.is_remote:
        with ForeignCode(partial(_no_answer, data)):
            found = _remote(data)
    else:
        found = _local(data)
    kinds = sorted({place.kind for place in found})
    if not found:
        raise UsageError(f"no {', '.join(_KINDS)} in {data.place}", "at least one", "change --data")
    if len(kinds) > 1 or kinds[0] not in _KINDS:
        raise UsageError(
            f"{data.place} with files that end in {', '.join(kind or 'nothing' for kind in kinds)}",
            f"one kind of {', '.join(_KINDS)}",
            "change --data",
        )
    return tuple(found)


def _local(data: UserData) -> list[DataFile]:
    path = Path(data.place)
    if _MAGIC & {*data.place} and not path.exists():
        found = sorted(glob.glob(data.place, recursive=True))  # noqa: PTH207 - it may be absolute
        return [DataFile(Path(one).name, one) for one in found]
    require_path(path, f"{', '.join(_KINDS)}, or a folder of them")
    if not path.is_dir():
        return [DataFile(path.name, str(path))]
    return [DataFile(one.name, str(one)) for one in sorted(path.iterdir()) if one.suffix.lower() in _KINDS]


def _remote(data: UserData) -> list[DataFile]:
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise ProviderError("fsspec is not installed", f"it, to read {data.place}", _INSTALL) from None
    try:
        system, path = url_to_fs(data.place, **_options(data.place))
    except ImportError as error:
        raise ProviderError(f"{data.place}: {error}", "what fsspec reaches it by", "install that package") from error
    if _MAGIC & {*path}:
        found = sorted(system.glob(path))
    elif PurePosixPath(path).suffix.lower() in _KINDS and not _is_folder(system, path):
        system.info(path)  # raises where there is none
        found = [path]
    else:
        found = sorted(one for one in system.ls(path, detail=False) if PurePosixPath(one).suffix.lower() in _KINDS)
    return [DataFile(PurePosixPath(one).name, one, system) for one in found]


def _is_folder(system: Any, path: str) -> bool:
    """Whether it is a folder that is named as a file is. An HTTP server does not say."""
    return "http" not in system.protocol and bool(system.isdir(path))


def _options(address: str) -> dict[str, Any]:
    """What fsspec is told besides: the file system of HTTP would wait for five minutes, and then for no reason."""
    if not address.startswith(("http://", "https://")):
        return {}
    from aiohttp import ClientTimeout

    return {"client_kwargs": {"timeout": ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=_READ)}}


def _seeks(file: Any) -> bool:
    """Whether a file can be read from any position, which some only say they can."""
    try:
        file.seek(-1, 2)
        file.read(1)
        file.seek(0)
    except (OSError, ValueError, NotImplementedError):
        return False
    return True


def _require_size(file: IO[bytes], wanted: int | None) -> None:
    found = file.seek(0, 2)
    if wanted is not None and found != wanted:
        raise EOFError(f"it ends at byte {found} of {wanted}")
    file.seek(0)


def _no_answer(data: UserData, error: BaseException) -> RnnExportError:
    if isinstance(error, FileNotFoundError):
        # That of HTTP says so of a server, too, that does not answer at all.
        if error.__cause__ is None or hasattr(error.__cause__, "status"):
            return UsageError(f"no file {data.place}", "an address of data", "check the address")
        error = error.__cause__
    return UsageError(
        f"{data.place} can't be reached ({reason(error)})",
        "an address that answers",
        "check it, and the keys it asks for",
    )
