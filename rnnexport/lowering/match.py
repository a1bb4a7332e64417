"""Which native operator the states of a recurrence together are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rnnexport.lowering.algebra import Unreadable
from rnnexport.lowering.cells import Cell, Part
from rnnexport.lowering.gru import gru, rnn
from rnnexport.lowering.lstm import lstm


def matched(parts: Sequence[Part]) -> Cell:
    """The native operator that the states together are.

    Raises:
        Unreadable: there is none; tells why for the one that came nearest.
    """
    tries: list[Callable[[], Cell]]
    if len(parts) == 1:
        (part,) = parts
        tries = [lambda: rnn(part), lambda: gru(part), lambda: lstm(part, part)]
    elif len(parts) == 2:
        first, second = parts
        tries = [lambda: lstm(first, second), lambda: lstm(second, first)]
    else:
        raise Unreadable(f"it has {len(parts)} states, and ONNX knows cells of one or two")
    reasons = []
    for attempt in tries:
        try:
            return attempt()
        except Unreadable as error:
            reasons.append(str(error))
    raise Unreadable("; ".join(dict.fromkeys(reasons)))
