"""`rnnexport inspect`."""

from __future__ import annotations

from pathlib import Path

import click

from rnnexport.cli import options
from rnnexport.cli.session import session_of
from rnnexport.inspection import inspect_file, inspect_model
from rnnexport.report.text import inspection_tables, signature_table


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path))
@options.loading_options
@options.debug_option
@click.pass_context
def command(ctx: click.Context, file: Path) -> None:
    """Show what FILE is: a model's layers and cells, an artifact's operators and provenance, inputs, outputs, states.

    What a model file says of itself is shown first, and needs no TensorFlow; its inputs and outputs need the model
    loaded, and so its custom objects.

    \b
    Examples:
      rnnexport inspect model.onnx
      rnnexport inspect model.keras --custom-objects cells.py
    """
    session = session_of(ctx)
    loading = options.loading_of(ctx)
    inspection = inspect_file(file, loading)
    session.show(inspection_tables(inspection))
    if inspection.loadable:
        session.progress(f"loading {file.name}")
        signature = inspect_model(file, loading)
        session.line.stop()
        session.show(signature_table(signature))
