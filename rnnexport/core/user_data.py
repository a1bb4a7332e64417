"""What the user says of data of their own: where they are, which column is which input, which part of them is meant."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from rnnexport.core.errors import UsageError

_SHARD = re.compile(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,8})")


@dataclass(frozen=True, order=True)
class Shard:
    """One of several parts of equal size, in the order of the data.

    Attributes:
        index: which one, from 1.
        count: how many there are.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise UsageError(f"--shard {self}", "K/N, K from 1 to N", "change it")

    @staticmethod
    def parsed(text: str) -> Shard:
        """The shard that `3/16` says. Raises UsageError where it says none."""
        found = _SHARD.fullmatch(text)
        if found is None:
            raise UsageError(f"--shard {text}", "K/N, such as 3/16", "change it")
        return Shard(int(found[1]), int(found[2]))

    def within(self, whole: Shard | None) -> Shard:
        """That part of a shard of something as a part of all of it. All parts of it are together that shard."""
        if whole is None:
            return self
        return Shard((whole.index - 1) * self.count + self.index, whole.count * self.count)

    def places(self, total: int) -> range:
        """Which of `total` pieces it has; none where there are more shards than pieces."""
        return range(total * (self.index - 1) // self.count, total * self.index // self.count)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


@dataclass(frozen=True)
class UserData:
    """Inputs of the user's own to verify on.

    Attributes:
        place: a file, a folder, a glob, or an address of one, such as `s3://bucket/calls/*.parquet`.
        columns: the name that an input or output of the model has in the data, by its own; by default its own.
        shard: the part that is meant; None for all.
    """

    place: str
    columns: Mapping[str, str] = field(default_factory=dict)
    shard: Shard | None = None

    def pieces(self, total: int) -> range:
        """Which of `total` pieces are meant."""
        return range(total) if self.shard is None else self.shard.places(total)

    @property
    def is_remote(self) -> bool:
        """Whether it is an address, for fsspec, and no path."""
        return "://" in self.place or "::" in self.place

    @property
    def is_here(self) -> bool:
        """Whether it is a file or folder of this host."""
        return not self.is_remote and Path(self.place).exists()

    @property
    def name(self) -> str:
        """What it is called in a report: the last part of where it is."""
        return (PurePosixPath(self.place.rstrip("/")).name if self.is_remote else Path(self.place).name) or self.place


def user_data(given: str | Path | UserData | None) -> UserData | None:
    """What a caller gives as `data`, as one value."""
    return given if given is None or isinstance(given, UserData) else UserData(str(given))
