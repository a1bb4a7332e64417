"""Where and how an artifact is run."""

from __future__ import annotations

from dataclasses import dataclass

from rnnexport.isolation.limits import Limits


@dataclass(frozen=True)
class Where:
    """Where an artifact is run.

    Attributes:
        provider: the execution provider, by its short name.
        tf32: whether a GPU may round the operands of float32 products to 10 bits of mantissa.
        placement: the share of the recurrent nodes that have to run on it, from 0 to 1; None for any node at all.
        limits: what the process that runs it may take; None to run it in this one.
    """

    provider: str = "cpu"
    tf32: bool = False
    placement: float | None = None
    limits: Limits | None = None
