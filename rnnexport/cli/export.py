"""`rnnexport export`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rnnexport.cli import options
from rnnexport.cli.checks import check_reports
from rnnexport.cli.choices import TargetChoice
from rnnexport.cli.grouping import OptionGroup, grouped
from rnnexport.cli.quantization import quantize_options
from rnnexport.cli.session import session_of
from rnnexport.core.forms import TFLiteForm
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.lowering import LoweringRequest
from rnnexport.core.quantization import QuantizeRequest
from rnnexport.verification.tolerance import Override

if TYPE_CHECKING:
    from rnnexport.api.keywords import Checks, Shape

_TARGETS = click.Option(["--to", "targets"], multiple=True, required=True, type=TargetChoice(), help="May be repeated.")
_FOLDER = click.Option(
    ["-o", "--output", "folder"],
    metavar="DIR",
    default=Path(),
    type=click.Path(path_type=Path),
    help="The folder for the artifacts, made where it is missing (default: the working directory).",
)
_TFLITE_TIMESTEPS = click.Option(
    ["--tflite-timesteps"], type=int, help="The length for TFLite alone, where the others stay dynamic."
)


@grouped(
    "export",
    options.loading_options(),
    options.shape_options(),
    OptionGroup(options.SHAPE, (_TFLITE_TIMESTEPS,)),
    options.opset_options(),
    options.lowering_options(form=True),
    options.tflite_options(runtime=False),
    quantize_options(),
    options.export_data_options(),
    options.tolerance_options(),
    OptionGroup(options.OUTPUT, (_TARGETS, _FOLDER)),
    options.report_options("json"),
    options.message_options(),
    arguments=[options.model_argument()],
)
@click.pass_context
def command(
    ctx: click.Context,
    model: Path,
    targets: tuple[str, ...],
    folder: Path,
    loading: LoadOptions,
    shape: Shape,
    tflite_timesteps: int | None,
    opset: int,
    request: LoweringRequest,
    tflite: TFLiteForm,
    quantize: QuantizeRequest | None,
    checks: Checks,
    tolerance: Override,
    reports: Mapping[str, Path],
) -> None:
    """Export MODEL to several targets, with one load and as few traces as can be.

    MODEL is a .keras or .h5 file, weights, a .json architecture or a SavedModel folder.

    The artifacts are named after the model: model.onnx, model.tflite, model_saved_model, model.py with model.npz. They
    are put in place when all of them are verified; if one fails, nothing is written.

    With --quantize or --max-loss each of them is quantised, of ONNX, TFLite and C, in the form that it takes.

    \b
    Examples:
      rnnexport export model.keras --to onnx --to saved-model --to tflite --tflite-timesteps 50 -o artifacts
      rnnexport export model.keras --to onnx --to c --max-loss 0.02 --calibrate recordings.npz
    """
    from rnnexport.api import export as pipeline
    from rnnexport.api.keywords import steps_of

    session = session_of(ctx)
    session.plan(steps_of({**shape, **checks, "quantize": quantize}, len(set(targets))))
    check_reports(reports, [model])
    exported = pipeline.export_all(
        model,
        targets,
        folder,
        loading=loading,
        opset=opset,
        lowering=request,
        tflite=tflite,
        quantize=quantize,
        **shape,
        **checks,
        tflite_timesteps=tflite_timesteps,
        tolerance=tolerance,
        progress=session.progress,
    )
    from rnnexport.cli.outcome import print_exported

    print_exported(session, exported, reports)
