"""`rnnexport verify`."""

from __future__ import annotations

from pathlib import Path

import click

from rnnexport import pipeline
from rnnexport.cli import options
from rnnexport.cli.session import session_of
from rnnexport.publish import staged
from rnnexport.report.json_view import to_json
from rnnexport.report.text import report_table


@click.command("verify")
@click.argument("artifacts", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--source", type=click.Path(path_type=Path), metavar="MODEL", help="Compare with this model instead.")
@options.custom_objects_option
@options.provider_option
@options.tolerance_options
@options.json_option
@options.debug_option
@click.pass_context
def command(
    ctx: click.Context,
    artifacts: tuple[Path, ...],
    source: Path | None,
    custom_objects: tuple[str, ...],
    providers: tuple[str, ...],
    rtol: float | None,
    atol: float | None,
    json_file: Path | None,
) -> int:
    """Run ARTIFACTS in their own runtimes and compare them with what their source gave.

    Without --source that is the goldens each artifact carries: a copied file is enough, and no TensorFlow is needed
    (but for a SavedModel, which TensorFlow runs). With --source the model is run on inputs that no artifact carries.

    \b
    Examples:
      rnnexport verify model.onnx model.tflite --json report.json
      rnnexport verify model.onnx --provider cpu --provider cuda
      rnnexport verify model.onnx --source model.keras --custom-objects cells.py
    """
    session = session_of(ctx)
    report = pipeline.verify(
        list(artifacts),
        source=source,
        custom_objects=custom_objects,
        providers=providers,
        tolerance=options.tolerance_of(rtol, atol),
        progress=session.progress,
    )
    session.progress.stop()
    session.out.print(report_table(report))
    if json_file is not None:
        with staged(json_file) as path:
            path.write_text(to_json(report))
    return report.exit_code
