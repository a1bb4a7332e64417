"""How a C program is to be written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rnnexport.core.errors import UsageError


@dataclass(frozen=True)
class CForm:
    """What the user may ask of a C program.

    Attributes:
        libm: whether exp, tanh and the logistic function are those of the C library.
        deterministic: whether products and sums are never contracted, so that every compiler gives the same bits.
        max_bytes: what its weights and constants may take; None for any size. Not a part of how it is written.
        weights_beside: whether its weights lie in a file of their own, which the caller maps.
    """

    libm: bool = False
    deterministic: bool = False
    max_bytes: int | None = None
    weights_beside: bool = False

    def __post_init__(self) -> None:
        if self.libm and self.deterministic:
            raise UsageError(
                "--deterministic with --math libm, whose digits are those of each C library",
                "the functions that the program has itself",
                "leave one of them out",
            )

    def require_room(self, count: int) -> None:
        """Refuse weights and constants of so many bytes where they are too many. UsageError."""
        if self.max_bytes is not None and count > self.max_bytes:
            raise UsageError(
                f"weights and constants of {count:,} bytes",
                f"at most the {self.max_bytes:,} of --max-bytes",
                "make the model smaller, or give more room",
            )

    def to_json(self) -> dict[str, bool]:
        """A value `from_json` reads back."""
        own = {"libm": self.libm, "deterministic": self.deterministic}
        return own | ({"weights_beside": True} if self.weights_beside else {})

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> CForm:
        """The inverse of `to_json`."""
        beside = bool(value.get("weights_beside", False))
        return CForm(bool(value["libm"]), bool(value["deterministic"]), weights_beside=beside)
