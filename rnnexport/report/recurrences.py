"""What became of the recurrences of a model, as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import RenderableType
from rich.table import Table

from rnnexport.core.lowering import ALL_FORMS, LoweringDecision
from rnnexport.report.terminal import said

_CHOSEN, _PROVEN, _REFUSED, _FAULT = "green", "", "yellow", "bold red"


def recurrences_table(lowering: Sequence[LoweringDecision]) -> RenderableType:
    """For each recurrence what it is, the form it has and why, the forms it could have, and why not the others."""
    table = Table(box=box.SIMPLE, pad_edge=False, show_header=False, title="recurrences", title_justify="left")
    for overflow in (None, None, "fold"):
        table.add_column(overflow=overflow or "ellipsis", no_wrap=overflow is None)
    for recurrence in lowering:
        table.add_row(said(recurrence.name, "bold"), "", said(recurrence.what))
        for form, verdict, style, why in _forms(recurrence):
            table.add_row(f"  {form}", said(verdict, style), said(why))
        table.add_section()
    return table


def _forms(recurrence: LoweringDecision) -> Iterator[tuple[str, str, str, str]]:
    """A row a form: its name, the verdict with its style, the reason."""
    for form in ALL_FORMS:
        if form == recurrence.chosen:
            yield form, "chosen", _CHOSEN, recurrence.why
        elif form in recurrence.proven:
            yield form, "proven", _PROVEN, ""
        elif form in recurrence.refused:
            yield form, "refused", _REFUSED, recurrence.refused[form]
    if recurrence.fault:
        yield "", "FAULT", _FAULT, recurrence.fault
