"""What was measured, as the tables of docs/support.md."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.support.measure import Measured
from benchmarks.support.models import FAMILIES, Family, Subject, public
from benchmarks.support.table import shares

# Of a reason, what is of the model that was measured and of no other.
_OWN = re.compile(
    r" in layer \w+ \(\w+\)| in \w+__\d+|, in float64 .*"
    r"| in (?:model|function)[\w/]*|\bmodel(?:_1)?/|\(opset \d+\)|; see .*|/tmp/\S+|'[\w ]+_\d+'"
)
_LONGEST = 200
_EVERYWHERE = "Exact in every format"
START, END = "<!-- support -->\n", "<!-- end of support -->\n"


class Reasons:
    """The reasons below the tables, numbered in the order in which they come up."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def number(self, why: str) -> int:
        """The number of a reason."""
        text = short(why)
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


def short(why: str) -> str:
    """A message without what to do, and without the names of the model that was measured."""
    found = why.strip().splitlines()[-1].partition("; expected ")[0]
    parts = [" ".join(part.split()) for part in _OWN.sub("", found).split(";")]
    text = "; ".join(dict.fromkeys(part for part in parts if part)).replace("|", "\\|")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def placed(page: str, tables: str, start: str = START, end: str = END) -> str:
    """A page with these tables between its marks; of one without marks the tables alone."""
    if start not in page or end not in page:
        return tables
    return page.partition(start)[0] + start + tables + end + page.partition(end)[2]


def exact_before(page: str) -> frozenset[Subject]:
    """What a page says is exact in every format."""
    found = set[Subject]()
    for family in FAMILIES:
        own = page.partition(f"## `{family}`\n")[2].partition("\n## ")[0]
        line = own.partition(f"{_EVERYWHERE}: ")[2].partition("\n")[0]
        found |= {Subject(family, name) for name in re.findall(r"`(\w+)`", line)}
    return frozenset(found)


def markdown(found: Sequence[Measured]) -> Iterator[str]:
    """Tables of the shares and of each family, and the reasons."""
    targets = list(found[0].found)
    yield "| | " + " | ".join(targets) + " |"
    yield "| --- |" + " --- |" * len(targets)
    counts: dict[str, dict[str, Counter[str]]] = {}
    for family, target, words in shares(found):
        counts.setdefault(family, {})[target] = words
    for family, by_target in counts.items():
        cells = [f"{words['exact']} of {words.total()}" for words in by_target.values()]
        yield f"| `{family}` | {' | '.join(cells)} |"
    reasons = Reasons()
    for family in FAMILIES:
        own = {one.subject.name: one for one in found if one.subject.family == family}
        if own:
            yield from _of_family(family, own, targets, reasons)
    yield ""
    yield "## Reasons"
    yield ""
    yield from (f"{number}. {text}" for number, text in enumerate(reasons.texts, 1))


def _of_family(family: Family, own: Mapping[str, Measured], targets: Sequence[str], reasons: Reasons) -> Iterator[str]:
    everywhere = [name for name, one in own.items() if {what.word for what in one.found.values()} == {"exact"}]
    outside = {name: one for name, one in own.items() if {what.word for what in one.found.values()} == {"n/a"}}
    others = {name: other for name, other in public(family).items() if other in own}
    yield from ("", f"## `{family}`", "")
    yield f"{_EVERYWHERE}: {_listed(everywhere)}."
    yield ""
    yield f"| not everywhere | {' | '.join(targets)} |"
    yield "| --- |" + " --- |" * len(targets)
    for name, one in own.items():
        if name not in everywhere and name not in outside:
            yield f"| `{name}` | {' | '.join(_cell(one, target, reasons) for target in targets)} |"
    yield ""
    if outside:
        told = [f"`{name}` [{reasons.number(next(iter(one.found.values())).why)}]" for name, one in outside.items()]
        yield f"Not measured: {', '.join(told)}."
    if others:
        told = [f"`{name}` for `{other}`" for name, other in others.items()]
        yield f"Other names: {', '.join(told)}."


def _cell(one: Measured, target: str, reasons: Reasons) -> str:
    what = one.found[target]
    return what.word if what.word == "exact" else f"{what.word} [{reasons.number(what.why)}]"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"
