"""The layers inside a layer of either Keras: those that lists and dicts of it hold too, which `layers` leaves out."""

from __future__ import annotations

from typing import Any


def inner_layers(layer: Any, *, recursive: bool = True) -> list[Any]:
    """The layers that a layer holds, itself apart; with `recursive`, those in them too. Seen with 3.15 and 2.21."""
    return list(layer._flatten_layers(include_self=False, recursive=recursive))
