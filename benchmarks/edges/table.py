"""All operators in all formats: a verdict each, and the table of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.edges.artifacts import Column, Found, eager, exact, run_all
from benchmarks.edges.cases import Case
from benchmarks.edges.verdicts import Verdict, judge
from benchmarks.edges.words import REFUSED, WORDS, Word, words_on
from rnnexport.artifact.goldens import Arrays


@dataclass(frozen=True)
class Cell:
    """One operator in one format.

    Attributes:
        case: the operator.
        column: the format.
        verdicts: by the kind of the elements; of one that was refused there is none.
        refused: why there is no artifact of it.
    """

    case: Case
    column: Column
    verdicts: Mapping[str, Verdict]
    refused: str = ""

    @property
    def words(self) -> tuple[Word, ...]:
        """What is known of where it is off."""
        wrong = [kind for kind, verdict in self.verdicts.items() if verdict.kind == "wrong"]
        found = [word for kind in wrong for word in words_on(self.column.target, self.case.name, kind)]
        return tuple(dict.fromkeys(found))

    @property
    def untold(self) -> str:
        """Where it is wrong without a word; empty where it is not."""
        off = [
            f"{kind}: {verdict.why}"
            for kind, verdict in self.verdicts.items()
            if verdict.kind == "wrong" and not any(words_on(self.column.target, self.case.name, kind))
        ]
        return "; ".join(off)


def measured(columns: Sequence[Column], cases: Sequence[Case], feed: Arrays) -> Iterator[Cell]:
    """The cells of the table, column by column."""
    wanted = {case.name: eager(case, feed) for case in cases}
    truth = {case.name: exact(case, feed, wanted[case.name]) for case in cases}
    for column in columns:
        found = run_all(column, cases, feed, REFUSED[column.target])
        for case in cases:
            yield _cell(case, column, found[case.name], (wanted[case.name], truth[case.name]), feed)


def _cell(case: Case, column: Column, found: Found, known: tuple[np.ndarray, np.ndarray], feed: Arrays) -> Cell:
    if found.output is None:
        return Cell(case, column, {}, found.refused)
    wanted, truth = known
    scale = np.broadcast_to(_scale(case, feed, wanted), wanted.shape) if case.conditioned else np.zeros(wanted.shape)
    verdicts = {}
    for kind, where in _kinds(case, feed, wanted).items():
        whole = found.output.shape == wanted.shape
        parts = [array[where] if whole else array for array in (found.output, wanted, truth, scale)]
        verdicts[kind] = judge(*parts[:3], ulps=case.ulps, scale=parts[3])
    return Cell(case, column, verdicts)


def _kinds(case: Case, feed: Arrays, output: np.ndarray) -> dict[str, np.ndarray]:
    """Which elements of an output come of which inputs: where one of them is NaN, it is `nan`, and so on."""
    tiny = np.finfo(np.float32).tiny
    nan = _where(case, feed, output, np.isnan)
    infinite = _where(case, feed, output, np.isinf) & ~nan
    subnormal = _where(case, feed, output, lambda x: (x != 0) & (np.abs(x) < tiny)) & ~nan & ~infinite
    kinds = {"finite": ~nan & ~infinite & ~subnormal, "infinite": infinite, "nan": nan, "subnormal": subnormal}
    return {kind: where for kind, where in kinds.items() if where.any()}


def _where(case: Case, feed: Arrays, output: np.ndarray, test: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Of which elements an input, or its row of `r`, passes a test."""
    passed = np.zeros(output.shape, bool)
    for name in case.inputs:
        found = test(feed[name].astype(np.float64))
        if name == "r":
            passed = passed | found.any(axis=1).reshape(-1, *[1] * (output.ndim - 1))
        elif feed[name].shape == output.shape:
            passed = passed | found
    return passed


def _scale(case: Case, feed: Arrays, output: np.ndarray) -> np.ndarray:
    """The largest finite number that goes into each element."""
    sizes = np.zeros(output.shape)
    for name in case.inputs:
        found = np.abs(np.where(np.isfinite(feed[name]), feed[name], 0.0)).astype(np.float64)
        if name == "r":
            sizes = np.maximum(sizes, found.max(axis=1).reshape(-1, *[1] * (output.ndim - 1)))
        elif found.shape == output.shape:
            sizes = np.maximum(sizes, found)
    return sizes


def faults(cells: Sequence[Cell]) -> list[str]:
    """Where an artifact is wrong and nothing says why."""
    return [f"{cell.case.name} in {cell.column.title}: {cell.untold}" for cell in cells if cell.untold]


def markdown(cells: Sequence[Cell]) -> Iterator[str]:
    """The table, and the words behind it. Columns of one format are one where they agree."""
    targets = list(dict.fromkeys(cell.column.target for cell in cells))
    yield f"| operator | {' | '.join(targets)} |"
    yield f"| --- |{' --- |' * len(targets)}"
    family = ""
    for case in dict.fromkeys(cell.case for cell in cells):
        if case.family != family:
            family = case.family
            yield f"| *{family}* |{' |' * len(targets)}"
        own = [cell for cell in cells if cell.case is case]
        texts = [_text([cell for cell in own if cell.column.target == target]) for target in targets]
        yield f"| `{case.name}` | {' | '.join(texts)} |"
    yield ""
    for number, word in enumerate(WORDS, 1):
        yield f"{number}. {word.text}"


def _text(cells: Sequence[Cell]) -> str:
    """What stands in a cell of the table."""
    by_text: dict[str, list[str]] = {}
    for cell in cells:
        by_text.setdefault(_of_one(cell), []).append(cell.column.title)
    if len(by_text) == 1:
        return next(iter(by_text))
    return ", ".join(f"{text} ({', '.join(titles)})" for text, titles in by_text.items())


def _of_one(cell: Cell) -> str:
    if cell.refused:
        return "refused"
    if cell.untold:
        return "**WRONG**"
    numbers = ", ".join(str(WORDS.index(word) + 1) for word in cell.words)
    if cell.verdicts["finite"].kind == "wrong":
        return f"off [{numbers}]"
    off = max(verdict.ulps for verdict in cell.verdicts.values())
    text = "equal" if off == 0 else "close"
    return f"{text}, but [{numbers}]" if numbers else text
