"""How a C program is to be written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Form:
    """What the user may ask of a C program.

    Attributes:
        libm: whether exp, tanh and the logistic function are those of the C library.
        deterministic: whether products and sums are never contracted, so that every compiler gives the same bits.
    """

    libm: bool = False
    deterministic: bool = False

    def to_json(self) -> dict[str, bool]:
        """A value `from_json` reads back."""
        return {"libm": self.libm, "deterministic": self.deterministic}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Form:
        """The inverse of `to_json`."""
        return Form(bool(value["libm"]), bool(value["deterministic"]))
