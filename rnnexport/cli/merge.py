"""`rnnexport merge`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from rnnexport.cli import options
from rnnexport.cli.checks import check_reports
from rnnexport.cli.grouping import grouped
from rnnexport.cli.session import session_of
from rnnexport.cli.views import show_report
from rnnexport.core.errors import UsageError
from rnnexport.core.run_record import Watch


@grouped(
    "merge",
    options.report_options(),
    options.message_options(),
    arguments=[click.Argument(["parts"], nargs=-1, required=True, type=click.Path(path_type=Path))],
)
@click.pass_context
def command(ctx: click.Context, parts: tuple[Path, ...], reports: Mapping[str, Path]) -> int:
    """Merge the PARTS that verify --shard wrote into the report that a single run gives, digit by digit.

    Every shard has to be there once, and all have to be of the same artifacts, source, data and options. The exit code
    is that of the merged verdict.

    \b
    Example:
      rnnexport verify model.onnx --source model.keras --data 's3://calls/*.parquet' --shard 1/2 --json part1.json
      rnnexport verify model.onnx --source model.keras --data 's3://calls/*.parquet' --shard 2/2 --json part2.json
      rnnexport merge part1.json part2.json --html report.html
    """
    from rnnexport.api.merge import ShardResult, merge

    session = session_of(ctx)
    check_reports(reports, parts)
    if twice := next((path for path in parts if parts.count(path) > 1), None):
        raise UsageError(f"{twice} is given twice", "each part once", "leave one out")
    watch = Watch()
    report = replace(
        merge({str(path): ShardResult.from_file(path) for path in parts}), run=watch.record(session.command)
    )
    return show_report(session, report, reports)
