"""Data in NumPy's formats: an `.npz` with an array a column, and an `.npy` that is one."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np

from rnnexport.core.errors import UsageError
from rnnexport.user_data.places import DataFile
from rnnexport.user_data.table import Column, Values


@dataclass(frozen=True)
class _Header:
    """What an array says of itself, before its values."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool

    @staticmethod
    def read(place: DataFile, name: str, stream: IO[bytes]) -> _Header:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
        if dtype.hasobject:
            raise UsageError(f"{place.name} holds Python objects in {name}", "numbers", "save it without pickles")
        if not shape:
            raise UsageError(f"{place.name} has a lone number as {name}", "one value a row", "change the data")
        return _Header(shape, dtype, bool(fortran and len(shape) > 1))

    def column(self, name: str) -> Column:
        return Column(name, self.shape[1:], self.dtype)

    def rows(self, name: str, stream: IO[bytes], rows: range, size: int) -> Iterator[np.ndarray]:
        """Those rows, some at a time. An array in Fortran order, whose rows lie scattered, is read as a whole.

        Args:
            name: for the message of an error.
            stream: behind the header.
            rows: which.
            size: how many at a time.
        """
        each = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        if self.fortran:
            whole = np.frombuffer(_exactly(stream, self.shape[0] * each, name, each), self.dtype)
            whole = whole.reshape(self.shape[::-1]).T
            yield from (np.ascontiguousarray(whole[one.start : one.stop]) for one in _parts(rows, size))
            return
        stream.seek(rows.start * each, 1)
        for one in _parts(rows, size):
            data = _exactly(stream, len(one) * each, name, each, one.start)
            yield np.frombuffer(data, self.dtype).reshape(len(one), *self.shape[1:])


@dataclass(frozen=True)
class Npz:
    """See `Table`. All arrays have the same number of rows."""

    place: DataFile
    headers: Mapping[str, _Header]
    rows: int
    is_exact: bool = True

    @staticmethod
    def looked_at(place: DataFile) -> Npz:
        """The file by its headers."""
        with place.opened() as file, zipfile.ZipFile(file) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            if len(set(names)) != len(names):
                raise UsageError(f"{place.name} has the arrays {', '.join(names)}", "each once", "rename them")
            headers = {}
            for name in names:
                with archive.open(f"{name}.npy") as stream:
                    headers[name] = _Header.read(place, name, stream)
        counts = {name: header.shape[0] for name, header in headers.items()}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise UsageError(f"{place.name} has rows: {told}", "one number of rows", "change the data")
        return Npz(place, headers, next(iter(counts.values()), 0))

    @property
    def columns(self) -> Mapping[str, Column]:
        """See `Table`."""
        return {name: header.column(name) for name, header in self.headers.items()}

    def blocks(self, names: Sequence[str], rows: range, size: int) -> Iterator[Mapping[str, Values]]:
        """See `Table`."""
        with self.place.opened(often=len(names) > 1) as file, zipfile.ZipFile(file) as archive:
            streams = {name: self._rows(archive, name, rows, size) for name in names}
            for _ in _parts(rows, size):
                yield {name: next(stream) for name, stream in streams.items()}

    def _rows(self, archive: zipfile.ZipFile, name: str, rows: range, size: int) -> Iterator[np.ndarray]:
        with archive.open(f"{name}.npy") as stream:
            yield from _Header.read(self.place, name, stream).rows(name, stream, rows, size)


@dataclass(frozen=True)
class Npy:
    """See `Table`. It has one column, whose name the model says."""

    place: DataFile
    name: str
    header: _Header
    is_exact: bool = True

    @staticmethod
    def looked_at(place: DataFile, name: str) -> Npy:
        """The file by its header."""
        with place.opened() as file:
            return Npy(place, name, _Header.read(place, name, file))

    @property
    def rows(self) -> int:
        """See `Table`."""
        return self.header.shape[0]

    @property
    def columns(self) -> Mapping[str, Column]:
        """See `Table`."""
        return {self.name: self.header.column(self.name)}

    def blocks(self, names: Sequence[str], rows: range, size: int) -> Iterator[Mapping[str, Values]]:
        """See `Table`."""
        with self.place.opened() as file:
            header = _Header.read(self.place, self.name, file)
            yield from ({self.name: array} for array in header.rows(self.name, file, rows, size))


def _parts(rows: range, size: int) -> Iterator[range]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _exactly(stream: IO[bytes], count: int, name: str, each: int, row: int = 0) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise EOFError(f"{name} ends at row {row + len(data) // max(each, 1)}")
    return data
