"""How many numbers a model has learned, and what they take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rnnexport.core.run_record import bytes_in_words

_COUNT, _BYTES = "parameters", "parameter_bytes"  # in the source that a provenance records


@dataclass(frozen=True)
class Parameters:
    """Weights, trained or not; of a stateful layer its states are none.

    Attributes:
        count: how many numbers.
        size: their bytes.
    """

    count: int = 0
    size: int = 0

    def __str__(self) -> str:
        return f"{self.count:,}, {bytes_in_words(self.size)}"

    @classmethod
    def of(cls, arrays: Iterable[tuple[Sequence[int], int]]) -> Parameters:
        """All arrays of these (shape, bytes of a number) together."""
        counts = [(math.prod(shape), size) for shape, size in arrays]
        return cls(sum(count for count, _ in counts), sum(count * size for count, size in counts))

    def recorded(self) -> dict[str, str]:
        """As the source in a provenance has them."""
        return {_COUNT: str(self.count), _BYTES: str(self.size)}

    @classmethod
    def from_record(cls, source: Mapping[str, str]) -> Parameters | None:
        """The inverse; None where an older rnnexport recorded none."""
        return cls(int(source[_COUNT]), int(source[_BYTES])) if {_COUNT, _BYTES} <= source.keys() else None

    def to_json(self) -> dict[str, int]:
        """As plain values."""
        return {"count": self.count, "bytes": self.size}
