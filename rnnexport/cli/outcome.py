"""What an export command prints when it is done."""

from __future__ import annotations

from collections.abc import Sequence

from rnnexport.api.jobs import Exported
from rnnexport.cli.session import Session
from rnnexport.core.lowering import LoweringDecision
from rnnexport.report.text import report_table
from rnnexport.verification.report import Report


def print_exported(session: Session, exported: Sequence[Exported]) -> None:
    """One table for what was verified, and a line for each artifact in place."""
    session.line.stop()
    reports = tuple(item.report for item in exported if item.report is not None)
    if reports:
        session.show(report_table(Report(reports)))
    for item in exported:
        wrote = ", ".join(map(str, (item.path, *item.companions)))
        session.show(f"wrote {wrote}{'' if item.report else ' (not verified)'}")
        print_lowering(session, item.lowering)


def print_lowering(session: Session, lowering: Sequence[LoweringDecision]) -> None:
    """A line for each recurrence; a warning for each that showed a fault of rnnexport."""
    for recurrence in lowering:
        session.show(f"  {recurrence.name}: {recurrence.what}, as {recurrence.chosen}: {recurrence.why}")
    warn_of_faults(session, lowering)


def warn_of_faults(session: Session, lowering: Sequence[LoweringDecision]) -> None:
    """A form that was derived and then computed something else was not taken; whoever sees it should tell."""
    for recurrence in lowering:
        if recurrence.fault:
            session.warn(
                f"a fault of rnnexport, {recurrence.name}: {recurrence.fault}; it was kept as {recurrence.chosen}, "
                "which is right; please report it"
            )
