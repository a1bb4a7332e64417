"""The verdicts as a table, a list of what was missed, and JSON."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.mutation.judge import Answer, Judged, Verdict
from benchmarks.mutation.truth import Figures
from rnnexport.verification.precision import LIMIT

_WIDTH = 200
_ANSWERS: tuple[Answer, ...] = ("caught", "equal", "missed", "refused")


def failed(judged: Sequence[Judged]) -> bool:
    """Whether a fault was missed or an alarm was false."""
    return any(one.alarms or one.counts()["missed"] for one in judged)


def show(judged: Sequence[Judged], listed: int) -> None:
    """Print everything.

    Args:
        judged: of every artifact.
        listed: how many of the missed mutants are listed, the worst first.
    """
    terminal = Console(highlight=False)
    console = terminal if terminal.is_terminal else Console(width=_WIDTH, highlight=False)
    console.print(_table(judged))
    calm, alarms = sum(one.calm for one in judged), [f"{one.name} {alarm}" for one in judged for alarm in one.alarms]
    console.print(f"{len(alarms)} false alarms in {calm + len(alarms)} verifications of {len(judged)} artifacts")
    largest = max(judged, key=lambda one: one.precision)
    console.print(f"the least precise of these is {largest.name}: {largest.precision:.2f}, where {LIMIT:g} passes")
    missed = [one for each in judged for one in each.verdicts if one.answer == "missed"]
    for line in [*alarms, *map(_line, sorted(missed, key=_excess, reverse=True)[:listed])]:
        console.print(line, markup=False, soft_wrap=True)


def _table(judged: Sequence[Judged]) -> Table:
    verdicts = [verdict for one in judged for verdict in one.verdicts]
    table = Table("fault", title="Faults put into verified artifacts", title_justify="left")
    for heading in ("artifacts", "mutants", *_ANSWERS):
        table.add_column(heading, justify="right")
    for fault in dict.fromkeys(verdict.fault for verdict in verdicts):
        table.add_row(fault, *_row([verdict for verdict in verdicts if verdict.fault == fault]))
    table.add_section()
    table.add_row("all", *_row(verdicts))
    return table


def _row(verdicts: Sequence[Verdict]) -> list[str]:
    counts = Counter(verdict.answer for verdict in verdicts)
    artifacts = len({verdict.artifact for verdict in verdicts})
    return [f"{number:,}" for number in (artifacts, len(verdicts), *(counts[answer] for answer in _ANSWERS))]


def _line(verdict: Verdict) -> str:
    where = f"missed  {verdict.artifact}  {verdict.fault}  {verdict.where}"
    found = verdict.figures
    if found is None:
        return f"{where}: {verdict.how}"
    return (
        f"{where}: {found.excess:.2f} times the bound at {found.output} ({found.feed}); rms error {found.mutant:.1e}, "
        f"original {found.original:.1e}, source {found.source:.1e}; change {found.change:.2f} of the tolerance; "
        f"precision on its goldens {verdict.precision:.1f}"
    )


def _excess(verdict: Verdict) -> float:
    return float("inf") if verdict.figures is None else verdict.figures.excess


def to_json(done: Mapping[str, Sequence[Judged]]) -> dict[str, Any]:
    """Everything as plain values, by subject."""
    judged = [one for name in done for one in done[name]]
    return {
        "subjects": {name: [one.name for one in done[name]] for name in done},
        "artifacts": [
            {"name": one.name, "calm": one.calm, "alarms": list(one.alarms), "precision": one.precision}
            for one in judged
        ],
        "mutants": [
            {
                "artifact": verdict.artifact,
                "fault": verdict.fault,
                "where": verdict.where,
                "answer": verdict.answer,
                "how": verdict.how,
            }
            | ({} if found is None else {"figures": found.to_json(), "precision": verdict.precision})
            for one in judged
            for verdict in one.verdicts
            for found in [verdict.figures]
        ],
    }


def from_json(held: Mapping[str, Any]) -> dict[str, list[Judged]]:
    """The inverse of `to_json`."""
    verdicts: dict[str, list[Verdict]] = defaultdict(list)
    for one in held["mutants"]:
        found = {"figures": Figures(**one["figures"])} if "figures" in one else {}
        verdicts[one["artifact"]].append(Verdict(**{**one, **found}))
    judged = {
        one["name"]: Judged(
            one["name"], tuple(verdicts[one["name"]]), one["calm"], tuple(one["alarms"]), one["precision"]
        )
        for one in held["artifacts"]
    }
    return {subject: [judged[name] for name in names] for subject, names in held["subjects"].items()}
