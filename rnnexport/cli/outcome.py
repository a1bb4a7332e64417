"""What an export command prints when it is done: the verdict, where the artifact is, and how to run and verify it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rnnexport.api.jobs import Exported
from rnnexport.artifact.atomic_write import write_text
from rnnexport.cli.quantization import quantization_lines, quantization_table
from rnnexport.cli.session import Session
from rnnexport.core.lowering import LoweringDecision
from rnnexport.core.run_record import bytes_in_words, seconds_in_words
from rnnexport.core.signature import Signature
from rnnexport.report.export_json import exports_to_json
from rnnexport.report.terminal import said
from rnnexport.report.text import report_table, start_of
from rnnexport.verification.report import Report


def print_exported(session: Session, exported: Sequence[Exported], reports: Mapping[str, Path]) -> None:
    """One table for what was verified, and some lines for each artifact in place.

    Args:
        session: of the command.
        exported: what it made.
        reports: the views that are written to files, by their kind.
    """
    session.line.stop()
    if "json" in reports:
        write_text(reports["json"], exports_to_json(exported, session.watch.record(session.command)))
    verified = tuple(item.report for item in exported if item.report is not None)
    if verified:
        session.show(report_table(Report(verified)))
    for item in exported:
        if item.quantization is not None:
            session.show(quantization_table(item.quantization, item.path.name if len(exported) > 1 else None))
        for line in _lines(item, session.loudness > 0):
            session.show(said(line))
        warn_of_faults(session, item.lowering)


def _lines(item: Exported, loud: bool) -> Iterator[str]:
    wrote = ", ".join(map(str, (item.path, *item.companions)))
    unverified = "" if item.report else " (not verified)"
    yield f"wrote {wrote}{unverified}: {bytes_in_words(item.size)} in {seconds_in_words(item.seconds)}"
    if item.signature is not None:
        yield from _ends(item.signature)
    for recurrence in item.lowering:
        why = f": {recurrence.why}" if loud else ""
        yield f"  recurrence {recurrence.name}: {recurrence.what}, as {recurrence.chosen}{why}"
    if item.quantization is not None:
        yield from quantization_lines(item.quantization, item.path)
    path = shlex.quote(str(item.path))
    inputs = [] if item.signature is None else [spec.name for spec in item.signature.inputs]
    held = f"   # {', '.join(inputs)} by name in inputs.npz" if inputs else ""
    yield f"  run:    rnnexport run {path} inputs.npz -o outputs.npz{held}"
    yield f"  verify: rnnexport verify {path}"


def _ends(signature: Signature) -> Iterator[str]:
    """What goes in, what comes out, and the states between two calls."""
    for kind, specs in (("input", signature.inputs), ("output", signature.outputs)):
        for spec in specs:
            yield f"  {kind:<6}  {spec}"
    for state in signature.states:
        yield f"  state   {state.input} -> {state.output.name}, from {start_of(state)}"


def warn_of_faults(session: Session, lowering: Sequence[LoweringDecision]) -> None:
    """A form that was derived and then computed something else was not taken; whoever sees it should tell."""
    for recurrence in lowering:
        if recurrence.fault:
            session.warn(
                f"a fault of rnnexport, {recurrence.name}: {recurrence.fault}; it was kept as {recurrence.chosen}, "
                "which is right; please report it"
            )
