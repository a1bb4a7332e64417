"""`rnnexport tflite`."""

from __future__ import annotations

from pathlib import Path

import click

from rnnexport import pipeline
from rnnexport.cli import options
from rnnexport.cli.outcome import print_exported
from rnnexport.cli.session import session_of
from rnnexport.signature import Length


@click.command("tflite")
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
    """Export MODEL (.keras or .h5) to TFLite, verify the file, then put it in place.

    Recurrent layers are unrolled, which needs a fixed length: give --timesteps unless the model has one. Only
    built-in operators are used, so that the file runs wherever LiteRT does.

    \b
    Example:
      rnnexport tflite model.keras --timesteps 50 --batch 1 -o model.tflite
    """
    session = session_of(ctx)
    exported = pipeline.export(
        model,
        "tflite",
        output,
        custom_objects=custom_objects,
        batch=batch,
        timesteps=timesteps,
        verify=verify,
        tolerance=options.tolerance_of(rtol, atol),
        progress=session.progress,
    )
    print_exported(session, [exported])
