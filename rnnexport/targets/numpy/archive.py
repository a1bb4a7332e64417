"""The `.npz` beside a program: a zip of `.npy` entries, stored as they are and without times.

Equal arrays give equal bytes. An archive that is read has to be of that kind, so that what is in it takes no more
memory than the file, and no entry hides behind another.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from rnnexport.core.errors import ForeignCode, UsageError, reason

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first day a zip knows
_UNIX = 3  # or the bytes would name the system that wrote them
_SUFFIX = ".npy"

Entries = Mapping[str, bytes]


def archive_of(program: Path) -> Path:
    """The archive of the program at that path, as the program itself finds it."""
    return program.with_suffix(".npz")


def entry_name(array: str) -> str:
    """The name that an array has in the zip."""
    return array + _SUFFIX


def to_entry(array: np.ndarray) -> bytes:
    """An array as a `.npy` file.

    Raises:
        ValueError: it holds Python objects.
    """
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array, order="C"), allow_pickle=False)
    return buffer.getvalue()


def to_bytes(entries: Entries) -> bytes:
    """The archive of these `.npy` files, in their order."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = _UNIX
            archive.writestr(info, data)
    return buffer.getvalue()


def read(path: Path) -> dict[str, bytes]:
    """The `.npy` files of an archive by name, in their order.

    Raises:
        UsageError: it can't be read, is damaged, or is no archive of this kind.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"can't read {path}: {error.strerror}", "a readable file", "check its rights") from error
    with ForeignCode(partial(_damaged, path)), zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
        if problem := _problem(infos, len(data)):
            raise UsageError(f"{path.name} holds {problem}", "an .npz as rnnexport writes it", "export it again")
        return {info.filename: archive.read(info) for info in infos}


def from_entry(path: Path, data: bytes) -> bytes:
    """The bytes that an entry of dtype uint8 holds.

    Raises:
        UsageError: it holds something else.
    """
    with ForeignCode(partial(_damaged, path)):
        buffer = io.BytesIO(data)
        major, _ = np.lib.format.read_magic(buffer)
        if major != 1:
            raise ValueError(f"version {major} of the .npy format")
        shape, _, dtype = np.lib.format.read_array_header_1_0(buffer)
        rest = buffer.read()
        # The sizes are compared before anything is made of them.
        if dtype != np.uint8 or shape != (len(rest),):
            raise ValueError(f"{dtype}{list(shape)} where there are {len(rest)} bytes")
        return rest


def carries(path: Path, array: str) -> bool:
    """Whether an array of that name is in the archive. False where there is no archive that can be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return entry_name(array) in archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False


def _problem(infos: Sequence[zipfile.ZipInfo], size: int) -> str:
    """What an archive has that none of ours has, in words; empty where there is nothing of the kind."""
    if len({info.filename for info in infos}) != len(infos):
        return "two arrays of one name"
    if other := [info.filename for info in infos if not info.filename.endswith(_SUFFIX)]:
        return f"{other[0]!r}, which is no array"
    if any(info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size for info in infos):
        return "compressed arrays"
    return "arrays that overlap" if sum(info.file_size for info in infos) > size else ""


def _damaged(path: Path, error: BaseException) -> UsageError:
    return UsageError(f"{path.name} is damaged ({reason(error)})", "a whole .npz", "copy or export it again")
