"""`rnnexport inspect`."""

from __future__ import annotations

from pathlib import Path

import click

from rnnexport.api.inspect import inspect_file, inspect_lowering, inspect_model
from rnnexport.cli import options
from rnnexport.cli.outcome import warn_of_faults
from rnnexport.cli.session import Session, session_of
from rnnexport.core.errors import UsageError
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.lowering import LoweringRequest
from rnnexport.report.recurrences import recurrences_table
from rnnexport.report.text import inspection_tables, signature_table


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--lowering", is_flag=True, help="For a model: show what its recurrences would become in an ONNX file.")
@options.speed_options
@options.loading_options
@options.debug_option
@click.pass_context
def command(ctx: click.Context, file: Path, lowering: bool) -> None:
    """Show what FILE is: a model's layers and cells, an artifact's operators and provenance, inputs, outputs, states.

    What a model file says of itself is shown first, and needs no TensorFlow; its inputs and outputs need the model
    loaded, and so its custom objects. For each recurrence of an ONNX artifact, and with --lowering of a model: what it
    is, which forms were shown to be equal, which one was taken and why.

    \b
    Examples:
      rnnexport inspect model.onnx
      rnnexport inspect model.keras --custom-objects cells.py
      rnnexport inspect model.keras --lowering --for cuda
    """
    session, loading, request = session_of(ctx), options.loading_of(ctx), options.lowering_of(ctx)
    if request != LoweringRequest() and not lowering:
        raise UsageError("--for or --tune without --lowering", "a lowering to choose", "give --lowering")
    inspection = inspect_file(file, loading)
    if lowering and not inspection.loadable:
        raise UsageError(f"--lowering of {file.name}", "a model that can be loaded", "leave --lowering out")
    session.show(inspection_tables(inspection))
    warn_of_faults(session, inspection.lowering)
    if inspection.loadable:
        session.progress(f"loading {file.name}")
        signature = inspect_model(file, loading)
        session.line.stop()
        session.show(signature_table(signature))
    if lowering:
        _show_lowering(session, file, loading, request)


def _show_lowering(session: Session, file: Path, loading: LoadOptions, request: LoweringRequest) -> None:
    lowered = inspect_lowering(file, loading, request, session.progress)
    session.line.stop()
    session.show(recurrences_table(lowered) if lowered else "no recurrences")
    warn_of_faults(session, lowered)
