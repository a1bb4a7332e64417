"""Tensors to call functions on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keras import ops

WIDTH = 4


@dataclass(frozen=True, eq=False)
class Samples:
    """Tensors to call functions on, all of them computed in the model. F is 4; the length T is open.

    Attributes:
        a: numbers between -1 and 1 that a layer gives, (B, T, F).
        b: the input of the model, (B, T, F).
    """

    a: Any
    b: Any

    @property
    def positive(self) -> Any:
        """Numbers from 0.5 to 1.5, (B, T, F)."""
        return ops.abs(self.a) + 0.5

    @property
    def unit(self) -> Any:
        """Numbers between -0.9 and 0.9, (B, T, F)."""
        return self.a * 0.9

    @property
    def integers(self) -> Any:
        """-4 to 4, int32, (B, T, F)."""
        return ops.cast(ops.clip(self.b, -4, 4), "int32")

    @property
    def counts(self) -> Any:
        """0 to 3, int32, (B, T, F)."""
        return ops.cast(ops.clip(ops.abs(self.b), 0, 3), "int32")

    @property
    def ids(self) -> Any:
        """0 to 3, int32, (B, T)."""
        return self.counts[:, :, 0]

    @property
    def rows(self) -> Any:
        """One row of numbers for each sequence, (B, F)."""
        return self.a[:, -1]

    @property
    def flags(self) -> Any:
        """Booleans, (B, T, F)."""
        return self.b > 0

    @property
    def image(self) -> Any:
        """Two channels, (B, T, F, 2)."""
        return ops.stack([self.a, self.b], axis=-1)

    @property
    def square(self) -> Any:
        """Symmetric positive definite matrices, (B, F, F)."""
        return ops.matmul(ops.transpose(self.a, (0, 2, 1)), self.a) + 2 * ops.eye(WIDTH)

    @property
    def frame(self) -> Any:
        """Frames of 8 numbers, (B, T, 8)."""
        return ops.concatenate([self.a, self.b], axis=-1)
