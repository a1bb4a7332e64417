"""The user's own data for verification: one `.npz`, or a folder of them, read piece by piece at constant memory.

An `.npz` holds an array for each input under its name, and may hold the outputs that are expected and states to start
from, under theirs. The first axis of each counts rows; all arrays of one file have the same number of them. Files of a
folder are read in the order of their names, and may differ in length.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from rnnexport.artifact.goldens import Arrays
from rnnexport.core.errors import ForeignCode, UsageError, reason, require_path
from rnnexport.core.signature import BATCH, Signature, TensorSpec

ROWS = 32  # of a call, where the batch is open


@dataclass(frozen=True)
class _Column:
    """One array of a file: its name, what the model says of it, and what its header says."""

    spec: TensorSpec
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool


@dataclass(frozen=True)
class _File:
    """One `.npz` whose headers fit the model."""

    path: Path
    rows: int
    batch: int
    columns: tuple[_Column, ...]


@dataclass(frozen=True)
class Rows:
    """Data that fit a model. Each time it is iterated it is read anew, as (inputs, expected outputs) of a call.

    Attributes:
        signature: of the model.
        files: those that are read.
    """

    signature: Signature
    files: tuple[_File, ...]

    @property
    def count(self) -> int:
        """How many rows there are."""
        return sum(file.rows for file in self.files)

    def __iter__(self) -> Iterator[tuple[Arrays, Arrays]]:
        outputs = {spec.name for spec in self.signature.all_outputs}
        for file in self.files:
            for arrays in _calls(file):
                batch = len(next(iter(arrays.values())))
                given = {name: array for name, array in arrays.items() if name not in outputs}
                feed = self.signature.fresh_states(batch) | given
                _check_ids(file.path, feed, self.signature)
                yield feed, {name: array for name, array in arrays.items() if name in outputs}


def open_data(path: Path, signature: Signature, *, needs_outputs: bool) -> Rows:
    """Look at the headers of the data, and whether they fit the model; no row is read.

    Args:
        path: an `.npz`, or a folder of them.
        signature: of the model.
        needs_outputs: whether the data must hold the outputs that are expected, for want of a source.

    Raises:
        UsageError: names the file and the array that does not fit.
    """
    require_path(path, "an .npz or a folder of them")
    files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    if not files:
        raise UsageError(f"no .npz in {path}", "at least one", "change --data")
    return Rows(signature, tuple(_looked_at(file, signature, needs_outputs) for file in files))


def _looked_at(path: Path, signature: Signature, needs_outputs: bool) -> _File:
    states = [state.input for state in signature.states]
    wanted = list(signature.inputs) + (list(signature.all_outputs) if needs_outputs else [])
    known = {spec.name: spec for spec in (*signature.inputs, *states, *signature.all_outputs)}
    with ForeignCode(partial(_unreadable, path)), zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        _check_names(path, names, [spec.name for spec in wanted], list(known))
        columns = []
        for name in names:
            with archive.open(f"{name}.npy") as stream:
                columns.append(_Column(known[name], *_header(path, name, stream)))
    for column in columns:
        _check_column(path, column)
    return _File(path, *_sizes(path, columns, signature), tuple(columns))


def _check_names(path: Path, names: Sequence[str], wanted: Sequence[str], known: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in names]
    unknown = [name for name in names if name not in known]
    if missing:
        raise UsageError(
            f"{path.name} has no array {', '.join(missing)}",
            f"inputs, and outputs where no --source is given: {', '.join(known)}",
            "add it, or give --source MODEL for expected outputs",
        )
    if unknown or len(set(names)) != len(names):
        raise UsageError(
            f"{path.name} has the arrays {', '.join(unknown or names)}",
            f"each once, of {', '.join(known)}",
            "rename them",
        )


def _header(path: Path, name: str, stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype, bool]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise UsageError(f"{path.name} holds Python objects in {name}", "numbers", "save it without pickles")
    return shape, dtype, bool(fortran and len(shape) > 1)


def _check_column(path: Path, column: _Column) -> None:
    """Rank, dtype and the sizes that the model fixes, but for the batch."""
    spec, wanted = column.spec, np.dtype(column.spec.dtype)
    fits = len(column.shape) == len(spec.shape) and all(
        found == size or isinstance(size, str) for found, size in zip(column.shape[1:], spec.shape[1:], strict=True)
    )
    if not fits:
        raise UsageError(f"{path.name} has {spec.name} of the shape {column.shape}", str(spec), "change the data")
    if not np.can_cast(column.dtype, wanted, "same_kind"):
        raise UsageError(f"{path.name} has {spec.name} of the dtype {column.dtype}", str(spec), "change the data")


def _sizes(path: Path, columns: Sequence[_Column], signature: Signature) -> tuple[int, int]:
    """The rows of a file, and how many go into a call."""
    counts = {column.spec.name: column.shape[0] for column in columns}
    rows = next(iter(counts.values()))
    if set(counts.values()) != {rows} or rows < 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise UsageError(f"{path.name} has rows: {told}", "one number of rows, above 0", "change the data")
    sizes: dict[str, int] = {}
    for column in columns:
        for dim, size in zip(column.spec.shape[1:], column.shape[1:], strict=True):
            if isinstance(dim, str) and sizes.setdefault(dim, size) != size:
                raise UsageError(f"{path.name} has {dim} {sizes[dim]} and {size}", f"one {dim}", "change the data")
    fixed = {spec.shape[0] for spec in signature.all_inputs if spec.shape} - {BATCH}
    batch = next((size for size in fixed if isinstance(size, int)), ROWS)
    if fixed and rows % batch:
        raise UsageError(f"{path.name} has {rows} rows", f"a multiple of the fixed batch {batch}", "change the data")
    return rows, batch


def _calls(file: _File) -> Iterator[dict[str, np.ndarray]]:
    """The arrays of a file, `file.batch` rows at a time."""
    with ForeignCode(partial(_unreadable, file.path)), zipfile.ZipFile(file.path) as archive:
        streams = {column.spec.name: _rows(archive, column, file) for column in file.columns}
        for _ in range(0, file.rows, file.batch):
            yield {name: next(stream) for name, stream in streams.items()}


def _rows(archive: zipfile.ZipFile, column: _Column, file: _File) -> Iterator[np.ndarray]:
    """One array, `file.batch` rows at a time. One in Fortran order, whose rows lie scattered, is read as a whole."""
    dtype = np.dtype(column.spec.dtype)
    with archive.open(f"{column.spec.name}.npy") as stream:
        if column.fortran:
            whole = np.lib.format.read_array(stream, allow_pickle=False)
            for start in range(0, file.rows, file.batch):
                yield _cast(file.path, np.ascontiguousarray(whole[start : start + file.batch]), dtype, column)
            return
        _header(file.path, column.spec.name, stream)
        size = int(np.prod(column.shape[1:], dtype=np.int64)) * column.dtype.itemsize
        for start in range(0, file.rows, file.batch):
            count = min(file.batch, file.rows - start)
            data = stream.read(count * size)
            if len(data) != count * size:
                raise EOFError(f"{column.spec.name} ends at row {start + len(data) // max(size, 1)}")
            rows = np.frombuffer(data, column.dtype).reshape(count, *column.shape[1:])
            yield _cast(file.path, rows, dtype, column)


def _cast(path: Path, array: np.ndarray, dtype: np.dtype, column: _Column) -> np.ndarray:
    """The rows in the model's dtype, where no number becomes another one by that than rounding makes it."""
    if dtype.kind == "f" and np.isnan(array).any():
        raise UsageError(f"{path.name} has NaN in {column.spec.name}", "numbers: NaN never passes", "change the data")
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    exact = np.array_equal(cast, array) if dtype.kind in "iub" else not np.any(np.isfinite(array) & ~np.isfinite(cast))
    if not exact:
        raise UsageError(
            f"{path.name} has numbers in {column.spec.name} that {dtype} has not",
            f"numbers of {dtype}",
            "change the data",
        )
    return cast


def _check_ids(path: Path, feed: Mapping[str, np.ndarray], signature: Signature) -> None:
    """An id outside the vocabulary means another thing to each runtime."""
    for spec in signature.inputs:
        if spec.high is None:
            continue
        ids = spec.ids(feed[spec.name])
        low, high = ids.min(initial=0), ids.max(initial=0)
        if not (low >= 0 and high < spec.high):  # NaN is no id either
            raise UsageError(
                f"{path.name} has the id {high if low >= 0 else low} in {spec.name}",
                f"ids from 0 to {spec.high - 1}",
                "change the data",
            )


def _unreadable(path: Path, error: BaseException) -> UsageError:
    return UsageError(f"{path.name} can't be read ({reason(error)})", "an .npz of numbers", "save it by numpy.savez")
