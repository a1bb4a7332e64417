"""Telling what goes on during long work."""

from __future__ import annotations

from collections.abc import Callable

# Called with a few words before each step.
Progress = Callable[[str], None]


class Detail(str):
    """What goes on within a step: a message that begins no step of its own."""


def silent(message: str) -> None:
    """Tell nobody."""
    del message
