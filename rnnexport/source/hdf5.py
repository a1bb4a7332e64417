"""What is in HDF5, told without reading a value: links to other files, and how much more is told than stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_RATIO = 100
_FLOOR = 2**20
_MOST_OBJECTS = 50_000


@dataclass
class Totals:
    """Over all datasets, each as often as a loader could come to it.

    Attributes:
        told: bytes of what reading them gives.
        stored: bytes that the file has of them.
        objects: groups and datasets.
    """

    told: int = 0
    stored: int = 0
    objects: int = 0

    @property
    def bomb(self) -> bool:
        """Whether far more is told than stored."""
        return self.told > _RATIO * max(_FLOOR, self.stored)


def foreign(h5py: Any, group: Any, prefix: str, told: dict[int, int], totals: Totals) -> Iterator[tuple[str, str]]:
    """What in a group lies elsewhere, is a bomb, or is too much to look at.

    A group that is linked twice is looked at once, and counts twice.

    Args:
        h5py: the module.
        group: the group.
        prefix: its path.
        told: bytes that each group seen so far tells, by its address.
        totals: what was seen so far, added to.
    """
    for name in group:
        path, link = f"{prefix}/{name}", group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            yield path, "a link, whose data lies in another file"
            continue
        if isinstance(link, h5py.SoftLink):
            yield path, "a link by a path, which no Keras writes"
            continue
        child = group[name]
        totals.objects += 1
        if totals.objects > _MOST_OBJECTS:
            yield path, f"behind {_MOST_OBJECTS} others"
            return
        if isinstance(child, h5py.Group):
            yield from _inside(h5py, child, path, told, totals)
        elif isinstance(child, h5py.Dataset):
            yield from _dataset(child, path, h5py.h5o.get_info(child.id).addr in told, totals)
            told[h5py.h5o.get_info(child.id).addr] = child.nbytes


def _inside(h5py: Any, group: Any, path: str, told: dict[int, int], totals: Totals) -> Iterator[tuple[str, str]]:
    address = h5py.h5o.get_info(group.id).addr
    if address in told:
        totals.told += told[address]
        return
    before, told[address] = totals.told, 0  # of a group inside itself
    yield from foreign(h5py, group, path, told, totals)
    told[address] = totals.told - before


def _dataset(dataset: Any, path: str, again: bool, totals: Totals) -> Iterator[tuple[str, str]]:
    if dataset.external or dataset.is_virtual:
        yield path, "a dataset, whose data lies in another file"
        return
    stored = dataset.id.get_storage_size()
    totals.told += dataset.nbytes
    totals.stored += 0 if again else stored
    if dataset.nbytes > _RATIO * max(_FLOOR, stored):
        yield path, f"a dataset of {dataset.nbytes} bytes from {stored}"
