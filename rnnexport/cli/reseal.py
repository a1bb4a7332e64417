"""`rnnexport reseal`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from rnnexport.cli import options
from rnnexport.cli.checks import check_reports
from rnnexport.cli.grouping import OptionGroup, grouped
from rnnexport.cli.session import session_of
from rnnexport.core.load_options import LoadOptions
from rnnexport.isolation.limits import Limits
from rnnexport.verification.tolerance import Override

_OPTIONS = (
    click.Option(
        ["--source"],
        required=True,
        type=click.Path(path_type=Path),
        metavar="MODEL",
        help="The model it was exported from.",
    ),
)
_OUTPUT = (
    click.Option(
        ["-o", "--output"],
        type=click.Path(path_type=Path),
        metavar="OUT",
        help="Where it goes (default: in its place).",
    ),
    click.Option(["--note"], default="", metavar="TEXT", help="What was done to it, for whoever inspects it."),
)


@grouped(
    "reseal",
    OptionGroup(options.INPUT, _OPTIONS),
    options.loading_options(),
    options.tolerance_options(),
    options.limit_options(),
    OptionGroup(options.OUTPUT, _OUTPUT),
    options.report_options("json"),
    options.message_options(),
    arguments=[click.Argument(["artifact"], type=click.Path(path_type=Path))],
)
@click.pass_context
def command(
    ctx: click.Context,
    artifact: Path,
    source: Path,
    output: Path | None,
    note: str,
    loading: LoadOptions,
    tolerance: Override,
    limits: Limits,
    reports: Mapping[str, Path],
) -> None:
    """Verify ARTIFACT, which was changed after its export, beside its source, and seal it again.

    For what was changed on purpose: optimised, quantised, converted to another version, its weights moved into a file
    of their own. It has to be within --atol and --rtol of the source. It then carries goldens, these bounds, the
    largest error, and what is known of the change, and is verified alone from there on.

    \b
    Examples:
      rnnexport reseal int8.onnx --source model.keras --atol 0.05 --rtol 0.05 --note "dynamic int8, per channel"
      rnnexport reseal optimised.onnx --source model.keras -o release/model.onnx
    """
    from rnnexport.api.reseal import reseal

    session = session_of(ctx)
    session.plan(3)
    check_reports(reports, [artifact, source, *([output] if output else [])])
    done = reseal(
        artifact,
        source,
        output=output,
        note=note,
        loading=loading,
        tolerance=tolerance,
        limits=limits,
        progress=session.progress,
    )
    from rnnexport.cli.outcome import print_exported

    print_exported(session, [done], reports)
