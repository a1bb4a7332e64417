"""The `.npz` beside an artifact that is a program: a zip of `.npy` entries, stored as they are and without times.

Equal arrays give equal bytes. An archive that is read has to be of that kind, so that what is in it takes no more
memory than the file, and no entry hides behind another.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from rnnexport.artifact.checksum import Data, mapped
from rnnexport.core.errors import ForeignCode, UsageError, reason

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first day a zip knows
_LENGTHS = 26  # where in the local header of a zip entry they are
_UNIX = 3  # or the bytes would name the system that wrote them
_SUFFIX = ".npy"
_PIECE = 1 << 24  # bytes that are written at once

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


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the archive of these arrays, in their order; none is copied.

    Raises:
        OSError: it can't be written.
        ValueError: an array holds Python objects.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            laid_out = np.asarray(array, order="C")
            head = io.BytesIO()
            np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(laid_out))
            info = _info(entry_name(name))
            info.file_size = len(head.getvalue()) + laid_out.nbytes
            with archive.open(info, "w") as file:
                file.write(head.getvalue())
                for piece in _pieces(laid_out):
                    file.write(piece)


def _pieces(array: np.ndarray) -> Iterator[bytes]:
    flat = array.reshape(-1)
    step = max(1, _PIECE // max(1, array.itemsize))
    yield from (flat[at : at + step].tobytes() for at in range(0, flat.size, step))


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.create_system = _UNIX
    return info


def to_bytes(entries: Entries) -> bytes:
    """The archive of these `.npy` files, in their order."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            archive.writestr(_info(name), data)
    return buffer.getvalue()


def held(path: Path) -> dict[str, Data]:
    """The `.npy` files of an archive that was written a moment ago, by name: parts of a map of the file."""
    data = memoryview(mapped(path))
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
    found: dict[str, Data] = {}
    for info in infos:
        # A local header ends in two lengths, of the name and of what is beside it.
        name, more = struct.unpack_from("<HH", data, info.header_offset + _LENGTHS)
        start = info.header_offset + _LENGTHS + 4 + name + more
        found[info.filename] = data[start : start + info.file_size]
    return found


def add(path: Path, entries: Entries) -> None:
    """Put `.npy` files behind those of an archive, which has none of these names.

    Raises:
        OSError: it can't be written.
    """
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            archive.writestr(_info(name), data)


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
