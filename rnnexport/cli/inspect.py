"""`rnnexport inspect`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from rnnexport.artifact.atomic_write import write_text
from rnnexport.cli import options
from rnnexport.cli.checks import check_reports
from rnnexport.cli.grouping import OptionGroup, grouped
from rnnexport.cli.session import Session, session_of
from rnnexport.core.errors import RnnExportError, UsageError
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.lowering import LoweringDecision, LoweringRequest

_LOWERING = click.Option(
    ["--lowering"], is_flag=True, help="For a model: show what its recurrences would become in a file of --to."
)
_TO = click.Option(
    ["--to"],
    type=click.Choice(("onnx", "tflite")),
    default="onnx",
    show_default=True,
    help="With --lowering: in which format; TFLite has its forms at batch 1, where the batch is open.",
)
_PROGRAM = click.Option(
    ["--program"], is_flag=True, help="For a model: show the equations that its artifacts are written of."
)


@grouped(
    "inspect",
    options.loading_options(),
    OptionGroup(options.FORM, (_LOWERING, _TO, _PROGRAM)),
    options.lowering_options(form=False),
    options.report_options("json"),
    options.message_options(),
    arguments=[click.Argument(["file"], type=click.Path(path_type=Path))],
)
@click.pass_context
def command(
    ctx: click.Context,
    file: Path,
    loading: LoadOptions,
    lowering: bool,
    to: str,
    program: bool,
    request: LoweringRequest,
    reports: Mapping[str, Path],
) -> None:
    """Show what FILE is: a model's layers and cells, an artifact's operators and provenance, inputs, outputs, states.

    What a model file says of itself needs no TensorFlow; its inputs and outputs, and what its layers give, need the
    model loaded, and so its custom objects. For each recurrence of an ONNX or TFLite artifact, and with --lowering of
    a model: what it is, which forms were shown to be equal, which one was taken and why. With --program: the step of
    each recurrence and what is around it, operator by operator.

    \b
    Examples:
      rnnexport inspect model.onnx
      rnnexport inspect model.keras --custom-objects cells.py
      rnnexport inspect model.keras --lowering --for cuda
      rnnexport inspect model.keras --lowering --to tflite
    """
    from rnnexport.api.inspect import inspect_file, inspect_model, inspect_program
    from rnnexport.cli.outcome import warn_of_faults
    from rnnexport.report.export_json import inspection_to_json
    from rnnexport.report.text import inspection_tables

    session = session_of(ctx)
    if request != LoweringRequest() and not lowering:
        raise UsageError("--for, --for-batch or --tune without --lowering", "a lowering to choose", "give --lowering")
    if to == "tflite" and (request != LoweringRequest() or not lowering):
        what = "with --for or --tune" if lowering else "without --lowering"
        raise UsageError(f"--to tflite {what}", "--lowering --to tflite", "change it")
    check_reports(reports, [file])
    inspection = inspect_file(file, loading)
    for asked, option in ((lowering, "--lowering"), (program, "--program")):
        if asked and not inspection.loadable:
            raise UsageError(f"{option} of {file.name}", "a model that can be loaded", f"leave {option} out")
    if inspection.loadable:
        session.progress(f"loading {file.name}")
        try:
            inspection = inspect_model(inspection, file, loading)
        except RnnExportError:  # what the file says of itself may tell why
            session.line.stop()
            session.show(inspection_tables(inspection))
            raise
        session.line.stop()
    session.show(inspection_tables(inspection))
    warn_of_faults(session, inspection.lowering)
    if lowering:
        inspection = replace(inspection, lowering=_show_lowering(session, file, loading, to, request))
    if program:
        session.progress(f"converting {file.name}")
        text = inspect_program(file, loading)
        session.line.stop()
        session.write(text)
    if "json" in reports:
        write_text(reports["json"], inspection_to_json(inspection))


def _show_lowering(
    session: Session, file: Path, loading: LoadOptions, to: str, request: LoweringRequest
) -> tuple[LoweringDecision, ...]:
    from rnnexport.api.inspect import inspect_lowering, inspect_tflite
    from rnnexport.cli.outcome import warn_of_faults
    from rnnexport.report.text import recurrences_table

    if to == "tflite":
        lowered = inspect_tflite(file, loading)
    else:
        lowered = inspect_lowering(file, loading, request, session.progress)
    session.line.stop()
    session.show(recurrences_table(lowered) if lowered else "no recurrences")
    warn_of_faults(session, lowered)
    return lowered
