"""`rnnexport reseal`."""

from __future__ import annotations

from pathlib import Path

import click

from rnnexport.api.reseal import reseal
from rnnexport.cli import options
from rnnexport.cli.limits import limit_options, limits_of
from rnnexport.cli.outcome import print_exported
from rnnexport.cli.session import session_of


@click.command("reseal")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option(
    "--source", required=True, type=click.Path(path_type=Path), metavar="MODEL", help="The model it was exported from."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="OUT", help="Where it goes (default: in its place)."
)
@click.option("--note", default="", metavar="TEXT", help="What was done to it, for whoever inspects it.")
@options.loading_options
@limit_options
@options.tolerance_options
@options.debug_option
@click.pass_context
def command(
    ctx: click.Context,
    artifact: Path,
    source: Path,
    output: Path | None,
    note: str,
    memory: float | None,
    timeout: float,
    rtol: options.Bounds,
    atol: options.Bounds,
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
    session = session_of(ctx)
    done = reseal(
        artifact,
        source,
        output=output,
        note=note,
        loading=options.loading_of(ctx),
        tolerance=options.tolerance_of(rtol, atol),
        limits=limits_of(memory, timeout),
        progress=session.progress,
    )
    print_exported(session, [done])
