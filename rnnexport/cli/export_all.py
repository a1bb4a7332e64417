"""`rnnexport export-all`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from rnnexport.cli import options
from rnnexport.cli.checks import on_option
from rnnexport.cli.grouping import OptionGroup, grouped
from rnnexport.cli.session import session_of
from rnnexport.core.run_record import Watch

_WORKERS = click.Option(
    ["--workers"],
    type=click.IntRange(min=1),
    metavar="N",
    help="How many models are exported at a time on this machine (default: a half of its processors).",
)
_JSON = click.Option(
    ["--json", "json_file"],
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a report on all models as JSON.",
)


@grouped(
    "export-all",
    OptionGroup(options.FORM, (on_option(), _WORKERS)),
    OptionGroup(options.OUTPUT, (_JSON,)),
    options.message_options(),
    arguments=[click.Argument(["manifest"], type=click.Path(path_type=Path))],
)
@click.pass_context
def command(ctx: click.Context, manifest: Path, on: str | None, workers: int | None, json_file: Path | None) -> int:
    """Export all models of MANIFEST, a JSON list of {"model": PATH, "to": [TARGET, ...], ...}.

    Each model is verified and put in place as by `rnnexport export`, and fails alone: the others go on. Every model is
    in the report. Its "output" is the folder of its artifacts; other keys are options of export. Paths are relative to
    MANIFEST. The exit code is the gravest of all models.

    \b
    Example:
      rnnexport export-all nightly.json --workers 4 --json report.json
      rnnexport export-all nightly.json --on ray:cluster.local:6379 --json report.json
    """
    from rnnexport.artifact.atomic_write import write_text
    from rnnexport.cli.checks import check_reports
    from rnnexport.fleet.manifest import read_manifest
    from rnnexport.fleet.outcome import Fleet, Outcome, check

    session, watch = session_of(ctx), Watch()
    jobs = read_manifest(manifest)
    check_reports({} if json_file is None else {"json": json_file}, [manifest, *(job.model for job in jobs)])
    check(jobs)
    if on is None:
        from rnnexport.fleet.local import run_locally

        found = run_locally(jobs, workers or max(1, (os.cpu_count() or 1) // 2))
    else:
        from rnnexport.fleet.on_ray import run_on_ray

        found = run_on_ray(jobs, on)
    outcomes: dict[int, Outcome] = {}
    session.progress(f"exporting {len(jobs)} models")
    for at, outcome in found:
        outcomes[at] = outcome
        session.progress(f"{len(outcomes)} of {len(jobs)} models, {jobs[at].model.name} {outcome.status}")
    session.line.stop()
    fleet = Fleet(tuple(outcomes[at] for at in range(len(jobs))), watch.record(session.command))
    if json_file is not None:
        write_text(json_file, fleet.to_json())
    for outcome in fleet.outcomes:
        if outcome.error:
            session.show(f"{outcome.model}: {outcome.error}")
    told = ", ".join(f"{count} {status}" for status, count in fleet.counts().items())
    session.show(f"{len(jobs)} models: {told}")
    return fleet.exit_code
