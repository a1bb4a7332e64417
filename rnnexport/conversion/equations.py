"""Equations of Einsum, `ab,bc->ac`."""

from __future__ import annotations

import string
from collections.abc import Sequence

_ELLIPSIS = "..."


def written_out(equation: str, ranks: Sequence[int]) -> list[str] | None:
    """The letters of each operand, then of the result, with letters of their own for `...`.

    None where `...` stands for numbers of axes that differ: one is broadcast against the other.
    """
    given, _, result = equation.replace(" ", "").partition("->")
    parts = given.split(",")
    widths = [rank - len(part.replace(_ELLIPSIS, "")) for part, rank in zip(parts, ranks, strict=True)]
    wide = {width for part, width in zip(parts, widths, strict=True) if _ELLIPSIS in part}
    if len(wide) > 1:
        return None
    dots = string.digits[: max(wide, default=0)]
    return [part.replace(_ELLIPSIS, dots) for part in (*parts, result)]
