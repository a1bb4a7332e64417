"""Data in Parquet and Arrow: a column an input, a row a sample, a sequence a list, one of features a list of lists.

Rows may differ in length. For an input whose last sizes are 1 a list without them does: audio for `[batch, time, 1]`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnexport.core.errors import ProviderError, UsageError
from rnnexport.user_data.places import DataFile
from rnnexport.user_data.table import Column, Table, Values

if TYPE_CHECKING:
    import pyarrow

_MAGIC = b"ARROW1"  # of a file of Arrow; what has none is a stream
_END = b"\xff\xff\xff\xff\0\0\0\0"  # of a stream
_TEXT = np.dtype(np.str_)
_Placed = Iterator[tuple[int, Any]]  # batches, each with the place of its first row


def looked_at(place: DataFile) -> Table:
    """The file by its schema. Raises ProviderError where pyarrow is not installed, and whatever it raises."""
    try:
        import pyarrow
    except ImportError:
        raise ProviderError(
            "pyarrow is not installed", f"it, to read {place.name}", "pip install 'rnnexport[data]'"
        ) from None
    with _batches(place, None, range(0)) as (schema, rows, _):
        columns = {field.name: _column(pyarrow, field) for field in schema}
    return _Arrow(place, rows, columns)


@dataclass(frozen=True)
class _Arrow:
    """See `Table`."""

    place: DataFile
    rows: int
    columns: Mapping[str, Column]
    is_exact: bool = False

    def blocks(self, names: Sequence[str], rows: range, size: int) -> Iterator[Mapping[str, Values]]:
        import pyarrow

        with _batches(self.place, list(names), rows) as (_, _, found):
            for table in _blocks(pyarrow, found, rows, size):
                yield {name: _values(self.place, name, table.column(name).combine_chunks()) for name in names}


@contextmanager
def _batches(place: DataFile, names: list[str] | None, rows: range) -> Iterator[tuple[Any, int, _Placed]]:
    """The schema of a file, its number of rows, and its batches around `rows`, each with the place of its first row."""
    with place.opened() as file:
        if place.kind == ".parquet":
            from pyarrow.parquet import ParquetFile

            with ParquetFile(file) as parquet:
                yield parquet.schema_arrow, parquet.metadata.num_rows, _of_parquet(parquet, names, rows)
            return
        with _arrow(file) as (schema, batches):
            if names is None:
                yield schema, sum(len(batch) for batch in batches), iter(())
            else:
                yield schema, 0, _placed(batch.select(names) for batch in batches)


def _of_parquet(parquet: Any, names: list[str] | None, rows: range) -> _Placed:
    """The row groups that hold one of `rows`, in batches."""
    start = 0
    for group in range(parquet.num_row_groups):
        count = parquet.metadata.row_group(group).num_rows
        if start < rows.stop and start + count > rows.start:
            found = parquet.iter_batches(row_groups=[group], columns=names, use_threads=False, batch_size=1024)
            yield from ((start + at, batch) for at, batch in _placed(found))
        start += count


@contextmanager
def _arrow(file: Any) -> Iterator[tuple[Any, Iterator[Any]]]:
    """A file or a stream of Arrow. One whose end was cut off is told: a stream that ends early would pass for whole."""
    from pyarrow import ipc

    is_file = file.read(len(_MAGIC)) == _MAGIC
    if not is_file:
        file.seek(-len(_END), 2)
        if file.read() != _END:
            raise EOFError("the end of the stream is missing")
    file.seek(0)
    with ipc.open_file(file) if is_file else ipc.open_stream(file) as reader:
        yield reader.schema, (map(reader.get_batch, range(reader.num_record_batches)) if is_file else iter(reader))


def _placed(batches: Iterable[Any]) -> _Placed:
    start = 0
    for batch in batches:
        yield start, batch
        start += len(batch)


def _blocks(arrow: Any, batches: Iterable[tuple[int, Any]], rows: range, size: int) -> Iterator[Any]:
    """Tables of `size` of the rows each, whatever the batches are. EOFError where there are fewer."""
    waiting: list[Any] = []
    at = count = 0
    for start, batch in batches:
        first, last = max(rows.start - start, 0), min(rows.stop - start, len(batch))
        if first < last:
            waiting.append(batch.slice(first, last - first))
            count += last - first
        while count >= size:
            table = arrow.Table.from_batches(waiting)
            yield table.slice(0, size)
            waiting, at, count = table.slice(size).to_batches(), at + size, count - size
    if count:
        yield arrow.Table.from_batches(waiting)
    if at + count != len(rows):
        raise EOFError(f"it ends at row {rows.start + at + count}")


def _column(arrow: Any, field: Any) -> Column:
    """A column by its type; one of another kind than numbers or text has no dtype that any input takes."""
    shape: list[int | None] = []
    kind = field.type
    while True:
        if isinstance(kind, arrow.FixedShapeTensorType) and kind.permutation is None:
            return Column(field.name, (*shape, *kind.shape), np.dtype(kind.value_type.to_pandas_dtype()))
        if arrow.types.is_fixed_size_list(kind):
            shape.append(kind.list_size)
        elif arrow.types.is_list(kind) or arrow.types.is_large_list(kind):
            shape.append(None)
        elif arrow.types.is_dictionary(kind):
            kind = kind.value_type
            continue
        else:
            return Column(field.name, tuple(shape), _dtype(arrow.types, kind))
        kind = kind.value_type


def _dtype(types: Any, kind: Any) -> np.dtype:
    """The dtype of plain values; that of nothing for dates, maps and the like."""
    if types.is_string(kind) or types.is_large_string(kind):
        return _TEXT
    plain = types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind)
    return np.dtype(kind.to_pandas_dtype() if plain else np.void)


def _values(place: DataFile, name: str, column: pyarrow.Array) -> Values:
    """The rows of a column as one array, or one by one where their lengths differ."""
    whole = _uniform(place, name, column)
    if whole is not None:
        return whole
    rows = [_uniform(place, name, column.slice(at, 1)) for at in range(len(column))]
    if ragged := [at for at, row in enumerate(rows) if row is None]:
        raise UsageError(
            f"{place.name} has lists of different lengths within one row of {name} (row {ragged[0]} of a block)",
            "as many features at every timestep",
            "change the data",
        )
    return [row[0] for row in rows if row is not None]


def _uniform(place: DataFile, name: str, column: Any) -> np.ndarray | None:
    """The rows as one array; None where a list is longer than another."""
    import pyarrow as arrow
    from pyarrow import compute

    shape = [len(column)]
    while True:
        if column.null_count:
            raise UsageError(f"{place.name} has nulls in {name}", "a value in every row", "drop those rows")
        if isinstance(column.type, arrow.FixedShapeTensorType):
            shape += column.type.shape
            column = column.storage.flatten()
        elif arrow.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        elif not arrow.types.is_nested(column.type):
            break
        else:
            lengths = compute.list_value_length(column).unique()
            if len(lengths) > 1:
                return None
            shape.append(lengths[0].as_py())
            column = column.flatten()
    found: np.ndarray = column.to_numpy(zero_copy_only=False)
    return (found.astype(_TEXT) if found.dtype.hasobject else found).reshape(shape)
