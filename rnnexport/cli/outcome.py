"""What an export command prints when it is done."""

from __future__ import annotations

from collections.abc import Sequence

from rnnexport.cli.session import Session
from rnnexport.orders import Exported
from rnnexport.report.text import report_table
from rnnexport.verification.report import Report


def print_exported(session: Session, exported: Sequence[Exported]) -> None:
    """One table for what was verified, and a line for each artifact in place."""
    session.line.stop()
    reports = tuple(item.report for item in exported if item.report is not None)
    if reports:
        session.show(report_table(Report(reports)))
    for item in exported:
        session.show(f"wrote {item.path}{'' if item.report else ' (not verified)'}")
