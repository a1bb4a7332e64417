"""What was measured: as plain values, and how much of it is exact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.support.measure import Found, Measured
from benchmarks.support.models import FAMILIES, Subject


def to_json(found: Sequence[Measured]) -> list[dict[str, Any]]:
    """Everything as plain values."""
    return [
        {
            "family": one.subject.family,
            "name": one.subject.name,
            "sizes": one.sizes,
            "seconds": round(one.seconds, 1),
            "found": {target: dict(vars(what)) for target, what in one.found.items()},
        }
        for one in found
    ]


def from_json(values: Sequence[Mapping[str, Any]]) -> list[Measured]:
    """What `to_json` made plain."""
    return [
        Measured(
            Subject(one["family"], one["name"]),
            one["sizes"],
            {target: Found(**what) for target, what in one["found"].items()},
            one["seconds"],
        )
        for one in values
    ]


def shares(found: Sequence[Measured]) -> Iterator[tuple[str, str, Counter[str]]]:
    """How many have each word, by family and target. What is no part of a model is not counted."""
    for family in FAMILIES:
        own = [one for one in found if one.subject.family == family]
        for target in own[0].found if own else ():
            words = Counter(str(one.found[target].word) for one in own)
            del words["n/a"]
            yield family, target, words


def told(found: Sequence[Measured]) -> Iterator[str]:
    """The shares in lines."""
    for family, target, words in shares(found):
        others = ", ".join(f"{count} {word}" for word, count in words.items() if word != "exact")
        yield f"{family}, {target}: {words['exact']} of {words.total()} exact" + (f"; {others}" if others else "")
