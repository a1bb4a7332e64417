"""What the feeds of a verification reach, and what was left out of them: recorded in the file, told in reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_NAMED = 5  # branches that a sentence names


@dataclass(frozen=True)
class Coverage:
    """What the feeds reach.

    Attributes:
        notes: which feeds were replaced, narrowed or left out, and why, a sentence each.
        branches: how many places of the model choose between values by comparing numbers: a comparison, a clip, a
            maximum; each has two sides.
        unreached: the sides that no feed reaches, named: `lstm/while/Minimum: not at its bound`.
        unknown: why branches are not known; empty where they are.
        gates: how many sigmoids and tanhs there are.
        saturated: how many of their sides feeds saturate.
    """

    notes: tuple[str, ...] = ()
    branches: int = 0
    unreached: tuple[str, ...] = ()
    unknown: str = ""
    gates: int = 0
    saturated: int = 0

    @property
    def share(self) -> float | None:
        """The share of the sides of branches that feeds reach; None where there is no branch, or none is known."""
        return 1 - len(self.unreached) / (2 * self.branches) if self.branches else None

    def sentences(self) -> tuple[str, ...]:
        """What there is to tell; nothing of a model without branches whose feeds are as planned."""
        told = list(self.notes)
        if self.branches:
            sides = 2 * self.branches
            line = f"sides of branches reached: {sides - len(self.unreached)} of {sides}"
            if self.unreached:
                more = len(self.unreached) - _NAMED
                line += f"; not reached: {', '.join(self.unreached[:_NAMED])}" + (
                    f" and {more} more" if more > 0 else ""
                )
            told.append(line)
        if self.gates:
            told.append(f"sides of gates saturated: {self.saturated} of {2 * self.gates}")
        return (*told, f"branches are not known: {self.unknown}") if self.unknown else tuple(told)

    def remarks(self) -> tuple[str, ...]:
        """The sentences of what is not as usual."""
        return self.sentences() if self.unreached or self.unknown else self.notes

    def to_json(self) -> dict[str, Any]:
        """A value `from_json` reads back."""
        return {
            "notes": list(self.notes),
            "branches": self.branches,
            "unreached": list(self.unreached),
            "unknown": self.unknown,
            "gates": self.gates,
            "saturated": self.saturated,
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Coverage:
        """The inverse of `to_json`. KeyError or TypeError where `value` is of another form."""
        return Coverage(
            tuple(map(str, value["notes"])),
            int(value["branches"]),
            tuple(map(str, value["unreached"])),
            str(value["unknown"]),
            int(value["gates"]),
            int(value["saturated"]),
        )
