"""The order of weights inside one layer: a nested model, stacked cells, a wrapper.

Keras stores them as a list, the trainable ones first. A layer that was frozen when the file was written, or that the
code makes in another order, moves them without a change of shape. The names that are stored with them tell.

    file   [a/kernel, a/bias, b/kernel, b/bias]      model   [b/kernel, b/bias, a/kernel, a/bias]      refused
    file   [lstm/kernel, lstm_1/kernel]              model   [lstm_4/kernel, lstm_5/kernel]            the same order
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_NUMBERED = re.compile(r"(.*?)(?:_(\d+))?$")


def differs_in_order(in_file: Sequence[str], in_model: Sequence[str]) -> bool:
    """Whether both sides have the same names, but for numbers that Keras gave, in another order.

    Args:
        in_file: names of the weights of one layer, as stored.
        in_model: those of the layer they are for.
    """
    one, other = list(_relative(in_file)), list(_relative(in_model))
    return one != other and sorted(one) == sorted(other)


def _relative(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The names without what all have in front, and with Keras' numbers counted from 0."""
    paths = [name.split(":")[0].split("/") for name in names]
    shared = 0
    while all(len(path) > shared + 1 and path[shared] == paths[0][shared] for path in paths):
        shared += 1
    parts = {part for path in paths for part in path[shared:-1]}
    ranks = {part: _rank(part, parts) for part in parts}
    for path in paths:
        yield (*(ranks[part] for part in path[shared:-1]), path[-1])


def _rank(part: str, parts: set[str]) -> str:
    """`lstm_5` among `lstm_4` and `lstm_5` is the second `lstm`."""
    base = _split(part)[0]
    alike = sorted(_split(other)[1] for other in parts if _split(other)[0] == base)
    return f"{base}#{alike.index(_split(part)[1])}"


def _split(part: str) -> tuple[str, int]:
    match = _NUMBERED.match(part)
    assert match is not None
    return match[1], int(match[2] or 0)
