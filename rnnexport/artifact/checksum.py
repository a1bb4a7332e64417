"""The seal of an artifact: a digest of all its bytes, written among them.

A file that was cut, patched or put together from two is told before anything of it is executed. The seal is no
signature: who can write the file can write a new one.

The provenance holds `"seal": "<64 hex digits>"`. The digest is taken with these digits set to 0 and then put in their
place, so that it covers every other byte, whatever the format: weights, names, goldens, and the provenance itself.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from mmap import ACCESS_READ, mmap
from pathlib import Path

# Bytes, a map of a file, or a part of either.
Data = bytes | mmap | memoryview
KEY = "seal"
BLANK = "0" * 64
_MAPPED = 1 << 24
_MARK = f'"{KEY}": "'.encode()


def mapped(path: Path) -> Data:
    """The bytes of a file, those of a large one read where they are looked at.

    Raises:
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        large = os.fstat(file.fileno()).st_size >= _MAPPED
        return mmap(file.fileno(), 0, access=ACCESS_READ) if large else file.read()


def sealed(data: bytes) -> bytes:
    """The bytes of a file that holds a provenance, with its seal in place.

    Raises:
        ValueError: there is no place for a seal, or more than one.
    """
    return with_seal(data, seal_of([("", data)]))


def seal_of(parts: Iterable[tuple[str, Data]], holder: str = "") -> str:
    """The digest of named parts, one of which holds the seal itself.

    Args:
        parts: the files of an artifact in a fixed order, by their path in it; one with an empty name for a lone file.
        holder: the name of the one with the seal.
    """
    digest = hashlib.sha256()
    for name, data in parts:
        digest.update(f"{name}\0{len(data)}\0".encode())
        place = _place(data) if name == holder else None
        if place is None:
            digest.update(data)
        else:
            view = memoryview(data)
            digest.update(view[:place])
            digest.update(BLANK.encode())
            digest.update(view[place + len(BLANK) :])
    return digest.hexdigest()


def with_seal(data: bytes, seal: str) -> bytes:
    """`data` with `seal` in its place.

    Raises:
        ValueError: there is no place for one, or more than one.
    """
    place = place_of(data)
    return data[:place] + seal.encode() + data[place + len(BLANK) :]


def place_of(data: Data) -> int:
    """Where the digits of the seal begin.

    Raises:
        ValueError: there is no place for one, or more than one.
    """
    place = _place(data)
    if place is None:
        raise ValueError("no place for a seal, or more than one")
    return place


def found_seal(data: Data) -> str:
    """The seal inside; empty where there is none, or more than one."""
    place = _place(data)
    return "" if place is None else bytes(data[place : place + len(BLANK)]).decode("ascii", "replace")


def _place(data: Data) -> int | None:
    """Where the digits begin; None where there is no such place, or more than one."""
    data = bytes(data) if isinstance(data, memoryview) else data
    first = data.find(_MARK)
    if first < 0 or data.find(_MARK, first + 1) >= 0 or len(data) < first + len(_MARK) + len(BLANK):
        return None
    return first + len(_MARK)
