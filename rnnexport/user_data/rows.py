"""Data beside a model: which column is which input, whether each fits, and the calls that they make.

The unit is a *piece*: some rows of one file that follow each other, as many as go into a call. A shard has some of the
pieces, in their order; what a piece gives depends on no other, so that shards say together what the whole says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from operator import eq
from typing import Any

import numpy as np

from rnnexport.artifact.goldens import Arrays
from rnnexport.core.errors import ForeignCode, UsageError
from rnnexport.core.signature import BATCH, Signature, TensorSpec
from rnnexport.core.user_data import UserData
from rnnexport.user_data.places import places
from rnnexport.user_data.recordings import may_be_longer
from rnnexport.user_data.table import Column, Table, Values, look, unreadable

ROWS = 32  # of a call, where the batch is open
_MOST = 1 << 22  # values of one array of a call, where that is more than a row


@dataclass(frozen=True)
class _File:
    """One file whose header fits the model.

    Attributes:
        table: the file.
        batch: the rows of a piece.
        used: what the model says of each column that is read, by the column's name.
    """

    table: Table
    batch: int
    used: Mapping[str, TensorSpec]

    @property
    def pieces(self) -> int:
        return -(-self.table.rows // self.batch)

    def fingerprint(self) -> str:
        """What tells this file from another, as far as its header does."""
        columns = [
            (name, *map(str, (self.table.columns[name].shape, self.table.columns[name].dtype))) for name in self.used
        ]
        return f"{self.table.place.name}\0{self.table.rows}\0{self.batch}\0{sorted(columns)}"


@dataclass(frozen=True)
class RowBatch:
    """Some rows, as they are fed at once.

    Attributes:
        feed: the inputs, and the states to start from.
        outputs: those that the data expect, if any.
        piece: the place of the piece that they are of.
    """

    feed: Arrays
    outputs: Arrays
    piece: int


@dataclass(frozen=True)
class Rows:
    """Data that fit a model. Each time it is iterated the shard is read anew, call by call.

    Attributes:
        data: what the user said.
        signature: of the model.
        files: those that are read.
    """

    data: UserData
    signature: Signature
    files: tuple[_File, ...]

    @property
    def count(self) -> int:
        """How many rows there are, in all shards."""
        return sum(file.table.rows for file in self.files)

    @property
    def pieces(self) -> int:
        """How many pieces there are, in all shards."""
        return sum(file.pieces for file in self.files)

    @property
    def fingerprint(self) -> str:
        """A digest of all headers: shards of the same data have the same one."""
        return hashlib.sha256("\n".join(file.fingerprint() for file in self.files).encode()).hexdigest()

    def __iter__(self) -> Iterator[RowBatch]:
        return self.calls(self.data.pieces(self.pieces))

    def calls(self, pieces: range) -> Iterator[RowBatch]:
        """The calls of those pieces."""
        outputs = {spec.name for spec in self.signature.all_outputs}
        start = 0
        for file in self.files:
            wanted = range(max(pieces.start - start, 0), min(pieces.stop - start, file.pieces))
            for at, block in zip(wanted, _blocks(file, wanted), strict=False):
                for arrays in self._alike(file, block):
                    _check_sizes(file.table, {name: array.shape[1:] for name, array in arrays.items()}, file.used)
                    batch = len(next(iter(arrays.values())))
                    given = {name: array for name, array in arrays.items() if name not in outputs}
                    feed = self.signature.fresh_states(batch) | given
                    _check_ids(file, feed, self.signature)
                    yield RowBatch(feed, {name: arrays[name] for name in arrays if name in outputs}, start + at)
            start += file.pieces

    def _alike(self, file: _File, block: Mapping[str, Values]) -> Iterator[dict[str, np.ndarray]]:
        """The rows of a piece in the model's dtypes, those of one shape together; few where they are large."""
        shapes = list(zip(*([row.shape for row in values] for values in block.values()), strict=True))
        fixed, start = _fixed(self.signature), 0
        while start < len(shapes):
            largest = max(int(np.prod(shape)) for shape in shapes[start])
            most = fixed or max(1, _MOST // max(largest, 1))
            alike = takewhile(partial(eq, shapes[start]), shapes[start : start + most])
            stop = start + len(list(alike))
            if fixed and stop - start < fixed:
                raise UsageError(
                    f"{_name(file)} has rows of different lengths among {fixed} of one call",
                    "one length, as the batch is fixed",
                    "sort the data by length, or fill them up",
                )
            yield {
                file.used[column].name: _fit(file, column, values[start:stop], self.signature)
                for column, values in block.items()
            }
            start = stop


def open_data(data: UserData, signature: Signature, *, needs_outputs: bool) -> Rows:
    """Look at the headers of the data, and whether they fit the model; no row is read.

    Args:
        data: where they are.
        signature: of the model.
        needs_outputs: whether the data must hold the outputs that are expected, for want of a source.

    Raises:
        UsageError: names the file and the column that does not fit.
        ProviderError: what reads the data is not installed.
    """
    known = [spec.name for spec in (*signature.all_inputs, *signature.all_outputs)]
    if unknown := [name for name in data.columns if name not in known]:
        raise UsageError(f"--columns for {', '.join(unknown)}", f"names of {', '.join(known)}", "change --columns")
    lone = data.columns.get(signature.inputs[0].name, signature.inputs[0].name)
    tables = (look(place, lone) for place in places(data))
    return Rows(data, signature, tuple(_fitted(table, data, signature, needs_outputs) for table in tables))


def _fitted(table: Table, data: UserData, signature: Signature, needs_outputs: bool) -> _File:
    states = [state.input for state in signature.states]
    wanted = [*signature.inputs, *(signature.all_outputs if needs_outputs else ())]
    known = {
        data.columns.get(spec.name, spec.name): spec for spec in (*signature.inputs, *states, *signature.all_outputs)
    }
    named = [data.columns.get(spec.name, spec.name) for spec in wanted] + [*data.columns.values()]
    missing = [name for name in dict.fromkeys(named) if name not in table.columns]
    unknown = [name for name in table.columns if name not in known]
    file = table.place.name
    if missing:
        raise UsageError(
            f"{file} has no {', '.join(missing)}, but {', '.join(table.columns) or 'nothing'}",
            f"inputs, and outputs where no --source is given: {', '.join(known)}",
            "add it, name its column by --columns, or give --source MODEL for expected outputs",
        )
    if unknown and table.is_exact:
        raise UsageError(
            f"{file} has the arrays {', '.join(unknown)}", f"each once, of {', '.join(known)}", "rename them"
        )
    used = {name: spec for name, spec in known.items() if name in table.columns}
    for name, spec in used.items():
        _check_column(table, table.columns[name], spec, signature)
    return _File(table, _batch(table, used, signature), used)


def _check_column(table: Table, column: Column, spec: TensorSpec, signature: Signature) -> None:
    """Rank, dtype and the sizes that the model fixes, but for the batch, and for the length of what may be cut."""
    wanted, file = np.dtype(spec.dtype), table.place.name
    if not _fits(_row_shape(column.shape, spec), spec, signature):
        sizes = ", ".join(str("any" if size is None else size) for size in (table.rows, *column.shape))
        raise UsageError(f"{file} has {column.name} of the shape ({sizes})", str(spec), "change the data")
    text = column.dtype.kind in "SU" and wanted.kind in "OSU"
    if column.dtype.kind == "V" or not (text or np.can_cast(column.dtype, wanted, "same_kind")):
        raise UsageError(f"{file} has {column.name} of the dtype {column.dtype}", str(spec), "change the data")


def _fits(shape: Sequence[int | None], spec: TensorSpec, signature: Signature) -> bool:
    """Whether rows of that shape are some of that tensor."""
    longer = may_be_longer(spec, signature)
    return len(shape) == len(spec.shape) - 1 and all(
        found is None or isinstance(size, str) or found == size or (longer and axis == 0 and found > size)
        for axis, (found, size) in enumerate(zip(shape, spec.shape[1:], strict=True))
    )


def _check_sizes(table: Table, shapes: Mapping[str, Sequence[int | None]], specs: Mapping[str, TensorSpec]) -> None:
    """One size for each open dimension. Sizes that are not known yet are looked at again row by row."""
    sizes: dict[str, int] = {}
    for spec in specs.values():
        for dim, size in zip(spec.shape[1:], shapes[spec.name], strict=False):
            if isinstance(dim, str) and size is not None and sizes.setdefault(dim, size) != size:
                raise UsageError(
                    f"{table.place.name} has {dim} {sizes[dim]} and {size}", f"one {dim}", "change the data"
                )


def _row_shape(shape: Sequence[Any], spec: TensorSpec) -> tuple[Any, ...]:
    """The shape of a row with the sizes of 1 at the end of the model's that lists leave out."""
    lacking = spec.shape[1 + len(shape) :]
    return (*shape, *lacking) if all(size == 1 for size in lacking) else tuple(shape)


def _fixed(signature: Signature) -> int:
    """The batch that the model fixes; 0 where it is open."""
    sizes = {spec.shape[0] for spec in signature.all_inputs if spec.shape} - {BATCH}
    return next((size for size in sizes if isinstance(size, int)), 0)


def _batch(table: Table, used: Mapping[str, TensorSpec], signature: Signature) -> int:
    """The rows of a piece."""
    file = table.place.name
    if table.rows < 1:
        raise UsageError(f"{file} has no rows", "at least one", "change the data")
    _check_sizes(table, {spec.name: table.columns[name].shape for name, spec in used.items()}, used)
    if batch := _fixed(signature):
        if table.rows % batch:
            raise UsageError(
                f"{file} has {table.rows} rows", f"a multiple of the fixed batch {batch}", "change the data"
            )
        return batch
    largest = max(int(np.prod([size or 1 for size in table.columns[name].shape])) for name in used)
    return min(ROWS, max(1, _MOST // max(largest, 1)))


def _blocks(file: _File, pieces: range) -> Iterator[Mapping[str, Values]]:
    if not pieces:
        return
    rows = range(pieces.start * file.batch, min(pieces.stop * file.batch, file.table.rows))
    with ForeignCode(partial(unreadable, file.table.place)):
        yield from file.table.blocks(list(file.used), rows, file.batch)


def _fit(file: _File, column: str, values: Values, signature: Signature) -> np.ndarray:
    """The rows in the model's dtype and rank, where no number becomes another one by that than rounding makes it."""
    spec, name = file.used[column], _name(file)
    array = values if isinstance(values, np.ndarray) else np.stack(values)
    shape = _row_shape(array.shape[1:], spec)
    if not _fits(shape, spec, signature):
        raise UsageError(f"{name} has {column} of the shape {array.shape}", str(spec), "change the data")
    array = array.reshape(len(array), *shape)
    dtype = np.dtype(spec.dtype)
    if array.dtype.kind in "SU":
        return array
    if dtype.kind == "f" and np.isnan(array).any():
        raise UsageError(f"{name} has NaN in {column}", "numbers: NaN never passes", "change the data")
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    exact = np.array_equal(cast, array) if dtype.kind in "iub" else not np.any(np.isfinite(array) & ~np.isfinite(cast))
    if not exact:
        raise UsageError(
            f"{name} has numbers in {column} that {dtype} has not", f"numbers of {dtype}", "change the data"
        )
    return cast


def _check_ids(file: _File, feed: Arrays, signature: Signature) -> None:
    """An id outside the vocabulary means another thing to each runtime."""
    for spec in signature.inputs:
        if spec.high is None:
            continue
        ids = spec.ids(feed[spec.name])
        low, high = ids.min(initial=0), ids.max(initial=0)
        if not (low >= 0 and high < spec.high):  # NaN is no id either
            raise UsageError(
                f"{_name(file)} has the id {high if low >= 0 else low} in {spec.name}",
                f"ids from 0 to {spec.high - 1}",
                "change the data",
            )


def _name(file: _File) -> str:
    return file.table.place.name
