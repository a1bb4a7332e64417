"""The reports that commands write to files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from rnnexport.artifact.atomic_write import write_text
from rnnexport.core.errors import UsageError
from rnnexport.core.user_data import Shard
from rnnexport.verification.report import Report

if TYPE_CHECKING:
    from rnnexport.cli.session import Session
    from rnnexport.cli.sign import Trust

# The views that are written to files, imported when they are asked for.
_VIEWS = {"json": ("json_view", "to_json"), "junit": ("junit", "to_junit"), "html": ("html", "to_html")}


def finished(session: Session, report: Report) -> Report:
    """The report with the command line that made it. Progress ends."""
    session.line.stop()
    return report if report.run is None else replace(report, run=replace(report.run, command=session.command))


def show_report(session: Session, report: Report, reports: Mapping[str, Path], shard: Shard | None = None) -> int:
    """Write the views that were asked for, print the table, and give the exit code.

    Raises:
        UsageError: a view can't be written.
    """
    from rnnexport.report.text import report_table

    report = finished(session, report)
    _write(reports, report, shard)
    session.show(report_table(report))
    return report.exit_code


def _write(reports: Mapping[str, Path], report: Report, shard: Shard | None) -> None:
    """Write each view that was asked for; of a shard, the part that is merged."""
    for kind, file in reports.items():
        if shard is None:
            write_text(file, _view(kind)(report))
        else:
            from rnnexport.api.merge import part_of

            write_text(file, part_of(report, shard).to_json())


def check_part(reports: Mapping[str, Path], trust: Trust) -> None:
    """Refuse another view of a shard than the part that is merged: they are of the whole. Raises UsageError."""
    if others := [kind for kind in reports if kind != "json"] + (["attest"] if trust.attest else []):
        raise UsageError(f"--{others[0]} with --shard", "--json, which writes a part", "give it to rnnexport merge")


def _view(kind: str) -> Callable[[Report], str]:
    """What makes the view of a report that is written to a file: `json`, `junit` or `html`."""
    module, function = _VIEWS[kind]
    found: Callable[[Report], str] = getattr(import_module(f"rnnexport.report.{module}"), function)
    return found
