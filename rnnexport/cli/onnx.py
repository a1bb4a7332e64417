"""`rnnexport onnx`."""

from __future__ import annotations

from pathlib import Path

import click

from rnnexport import pipeline
from rnnexport.cli import options
from rnnexport.cli.outcome import print_exported
from rnnexport.cli.session import session_of
from rnnexport.signature import Length


@click.command("onnx")
@options.model_argument
@options.output_option
@options.opset_option
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
    opset: int,
    custom_objects: tuple[str, ...],
    batch: Length,
    timesteps: Length,
    verify: bool,
    rtol: float | None,
    atol: float | None,
) -> None:
    """Export MODEL (.keras or .h5) to ONNX, verify the file, then put it in place.

    Inputs and outputs keep their Keras names; dynamic dimensions are called `batch` and `time`; the states of
    stateful layers are inputs and outputs.

    \b
    Example:
      rnnexport onnx model.keras --opset 17 --custom-objects cells.py -o model.onnx
    """
    session = session_of(ctx)
    exported = pipeline.export(
        model,
        "onnx",
        output,
        custom_objects=custom_objects,
        opset=opset,
        batch=batch,
        timesteps=timesteps,
        verify=verify,
        tolerance=options.tolerance_of(rtol, atol),
        progress=session.progress,
    )
    print_exported(session, [exported])
