"""`rnnexport saved-model`."""

from __future__ import annotations

from pathlib import Path

import click

from rnnexport import pipeline
from rnnexport.cli import options
from rnnexport.cli.outcome import print_exported
from rnnexport.cli.session import session_of
from rnnexport.signature import Length


@click.command("saved-model")
@options.model_argument
@options.output_option
@options.custom_objects_option
@options.batch_option
@options.timesteps_option
@options.verify_option
@options.tolerance_options
@options.debug_option
@click.pass_context
def command(
    ctx: click.Context,
    model: Path,
    output: Path | None,
    custom_objects: tuple[str, ...],
    batch: Length,
    timesteps: Length,
    verify: bool,
    rtol: float | None,
    atol: float | None,
) -> None:
    """Export MODEL (.keras or .h5) to a TensorFlow SavedModel, verify it, then put it in place.

    It has one signature, `serving_default`, and constant weights.

    \b
    Example:
      rnnexport saved-model model.keras --custom-objects cells.py -o model_saved
    """
    session = session_of(ctx)
    exported = pipeline.export(
        model,
        "saved-model",
        output,
        custom_objects=custom_objects,
        batch=batch,
        timesteps=timesteps,
        verify=verify,
        tolerance=options.tolerance_of(rtol, atol),
        progress=session.progress,
    )
    print_exported(session, [exported])
