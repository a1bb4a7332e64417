"""`rnnexport verify`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from rnnexport import pipeline
from rnnexport.cli import options
from rnnexport.cli.session import session_of
from rnnexport.errors import UsageError
from rnnexport.publish import check_destination, write_text
from rnnexport.report.json_view import to_json
from rnnexport.report.text import report_table


@click.command("verify")
@click.argument("artifacts", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--source", type=click.Path(path_type=Path), metavar="MODEL", help="Compare with this model instead.")
@options.loading_options
@options.provider_option
@options.tolerance_options
@options.json_option
@options.debug_option
@click.pass_context
def command(
    ctx: click.Context,
    artifacts: tuple[Path, ...],
    source: Path | None,
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
    if json_file is not None:
        _check_json(json_file, [*artifacts, *([source] if source else [])])
    report = pipeline.verify(
        list(artifacts),
        source=source,
        loading=options.loading_of(ctx),
        providers=providers,
        tolerance=options.tolerance_of(rtol, atol),
        progress=session.progress,
    )
    session.line.stop()
    if json_file is not None:
        write_text(json_file, to_json(report))
    session.show(report_table(report))
    return report.exit_code


def _check_json(json_file: Path, inputs: Sequence[Path]) -> None:
    """Refuse what could only fail after all the work, or would destroy what is verified."""
    if json_file.resolve() in [path.resolve() for path in inputs]:
        raise UsageError(f"--json {json_file}, which is an input", "another file", "change --json")
    if json_file.is_file() or json_file.is_dir() or not json_file.exists():
        check_destination(json_file)
