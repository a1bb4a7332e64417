"""`rnnexport export`."""

from __future__ import annotations

from pathlib import Path

import click

from rnnexport.api import export as pipeline
from rnnexport.cli import options
from rnnexport.cli.inputs import Bounds, input_options
from rnnexport.cli.outcome import print_exported
from rnnexport.cli.session import session_of
from rnnexport.core.signature import Length
from rnnexport.targets.registry import TARGET_NAMES


@click.command("export")
@options.model_argument
@click.option("--to", "targets", multiple=True, required=True, type=click.Choice(TARGET_NAMES), help="May be repeated.")
@click.option(
    "-o",
    "--output",
    "folder",
    metavar="DIR",
    default=Path(),
    type=click.Path(path_type=Path),
    help="The folder for the artifacts, made where it is missing (default: the working directory).",
)
@options.opset_option
@options.lowering_options
@options.loading_options
@options.batch_option
@options.timesteps_option
@options.stream_option
@options.cast_option
@click.option("--tflite-timesteps", type=int, help="The length for TFLite alone, where the others stay dynamic.")
@input_options
@options.verify_option
@options.tolerance_options
@options.debug_option
@click.pass_context
def command(
    ctx: click.Context,
    model: Path,
    targets: tuple[str, ...],
    folder: Path,
    opset: int,
    batch: Length,
    timesteps: Length,
    stream: Length,
    cast: str | None,
    tflite_timesteps: int | None,
    data: Path | None,
    ranges: Bounds,
    verify: bool,
    rtol: options.Bounds,
    atol: options.Bounds,
) -> None:
    """Export MODEL to several targets, with one load and as few traces as can be.

    MODEL is a .keras or .h5 file, weights, a .json architecture or a SavedModel folder.

    The artifacts are named after the model: model.onnx, model.tflite, model_saved_model, model.py with model.npz. They
    are put in place when all of them are verified; if one fails, nothing is written.

    \b
    Example:
      rnnexport export model.keras --to onnx --to saved-model --to tflite --tflite-timesteps 50 -o artifacts
    """
    session = session_of(ctx)
    exported = pipeline.export_all(
        model,
        targets,
        folder,
        loading=options.loading_of(ctx),
        opset=opset,
        lowering=options.lowering_of(ctx),
        batch=batch,
        timesteps=timesteps,
        stream=stream,
        cast=cast,
        tflite_timesteps=tflite_timesteps,
        data=data,
        ranges=ranges,
        verify=verify,
        tolerance=options.tolerance_of(rtol, atol),
        progress=session.progress,
    )
    print_exported(session, exported)
