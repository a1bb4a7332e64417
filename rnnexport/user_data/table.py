"""What a file of data is, whatever its format: columns with a value a row, read a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from rnnexport.core.errors import ForeignCode, UsageError, reason
from rnnexport.user_data.places import DataFile

# The values of a column: one array where all rows are of one shape, else one a row.
Values = np.ndarray | Sequence[np.ndarray]


@dataclass(frozen=True)
class Column:
    """One column of a file, by what its header says.

    Attributes:
        name: in the file.
        shape: of a row; None for a size that may differ from row to row.
        dtype: of its values.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype


class Table(Protocol):
    """A file of data whose header was read."""

    @property
    def place(self) -> DataFile:
        """Where it is."""

    @property
    def rows(self) -> int:
        """How many it has."""

    @property
    def columns(self) -> Mapping[str, Column]:
        """By their names."""

    @property
    def is_exact(self) -> bool:
        """Whether a column that nobody asks for is an error. A table has others, for other uses."""

    def blocks(self, names: Sequence[str], rows: range, size: int) -> Iterator[Mapping[str, Values]]:
        """Those columns of those rows, `size` of them at a time. Raises whatever reading it raises."""


def look(place: DataFile, lone: str) -> Table:
    """The file by its header; no row is read, but to count those of a stream of Arrow.

    Args:
        place: where it is.
        lone: the name of the array of a `.npy`, which has none of its own.

    Raises:
        UsageError: it can't be read, or holds Python objects.
        ProviderError: pyarrow is not installed.
    """
    with ForeignCode(partial(unreadable, place)):
        if place.kind == ".npz":
            from rnnexport.user_data.archives import Npz

            return Npz.looked_at(place)
        if place.kind == ".npy":
            from rnnexport.user_data.archives import Npy

            return Npy.looked_at(place, lone)
        from rnnexport.user_data.tables import looked_at

        return looked_at(place)


def unreadable(place: DataFile, error: BaseException) -> UsageError:
    """What a file that can't be read is told as."""
    return UsageError(
        f"{place.name} can't be read ({reason(error)})", f"a whole {place.kind} file of numbers", "make it again"
    )
