"""`rnnexport triton`."""

from __future__ import annotations

from pathlib import Path

import click

from rnnexport.cli import options
from rnnexport.cli.grouping import OptionGroup, grouped
from rnnexport.cli.session import session_of
from rnnexport.triton.repository import Written, write_repository
from rnnexport.triton.serving import (
    DEFAULT_MAX_BATCH,
    DEFAULT_MAX_IDLE,
    DEFAULT_MAX_SEQUENCES,
    DEVICES,
    STRATEGIES,
    Serving,
)

_REPOSITORY = (
    click.Option(
        ["-o", "--output", "repository"],
        metavar="REPO",
        type=click.Path(path_type=Path),
        required=True,
        help="The model repository: the folder of all models of a server. It is made where it is missing.",
    ),
    click.Option(["--name"], metavar="NAME", help="The name of the model on the server; by default that of the file."),
    click.Option(
        ["--version"], default=1, show_default=True, metavar="N", help="The version of the model on the server."
    ),
    click.Option(
        ["--max-batch"],
        type=int,
        metavar="N",
        help=f"How many rows, or sequences, share one run at most (default: {DEFAULT_MAX_BATCH}).",
    ),
    click.Option(
        ["--instances"],
        default=1,
        show_default=True,
        metavar="N",
        help="How many copies a server runs, on each GPU if any.",
    ),
    click.Option(
        ["--device"],
        type=click.Choice(DEVICES),
        default="auto",
        show_default=True,
        help="Where it runs; auto takes the GPUs of the server if it has any.",
    ),
    click.Option(
        ["--strategy"],
        type=click.Choice(STRATEGIES),
        help="With states: run what waits longest (oldest, the default), or keep each sequence at its place of a "
        "batch.",
    ),
    click.Option(
        ["--max-sequences"],
        type=int,
        metavar="N",
        help=f"With states: how many sequences an instance carries; more wait (default: {DEFAULT_MAX_SEQUENCES}).",
    ),
    click.Option(
        ["--max-idle"],
        type=float,
        metavar="SECONDS",
        help=f"With states: give up a sequence after so long without a request (default: {DEFAULT_MAX_IDLE:g}).",
    ),
    click.Option(
        ["--max-queue-delay"],
        type=int,
        metavar="MICROSECONDS",
        help="How long a request may wait for others to share its run (default: 0).",
    ),
)


@grouped(
    "triton",
    OptionGroup(options.OUTPUT, _REPOSITORY[:3]),
    OptionGroup("Serving", _REPOSITORY[3:]),
    options.message_options(),
    arguments=[options.model_argument()],
)
@click.pass_context
def command(
    ctx: click.Context,
    model: Path,
    repository: Path,
    name: str | None,
    version: int,
    max_batch: int | None,
    instances: int,
    device: str,
    strategy: str | None,
    max_sequences: int | None,
    max_idle: float | None,
    max_queue_delay: int | None,
) -> None:
    """Write MODEL, an ONNX artifact, into a model repository of Triton Inference Server.

    A stream, or a model with stateful layers, is served by sequences: the server carries the states, each from the
    initial value that the artifact recorded. Any other is served by dynamic batching. The file is copied as it is, so
    that `rnnexport verify` accepts it there too.

    \b
    Example:
      rnnexport onnx model.keras --stream -o model.onnx
      rnnexport triton model.onnx -o repository --max-batch 64
    """
    serving = Serving(max_batch, instances, device, strategy, max_sequences, max_idle, max_queue_delay)
    session = session_of(ctx)
    session.progress(f"writing {repository}")
    written = write_repository(model, repository, name, version, serving)
    session.line.stop()
    session.show(f"wrote {written.folder}, version {written.version}: {_how(written)}")
    if written.kept:
        session.show(f"  kept version {', '.join(map(str, written.kept))}")


def _how(written: Written) -> str:
    """How the server will run it, in words."""
    config = written.config
    rows = f"up to {config.max_batch_size} a run" if config.max_batch_size else "one request a run"
    states = config.sequence_batching.state
    if not states:
        return f"dynamic batching, {rows}" if config.max_batch_size else rows
    recorded = sum(state.initial_state[0].WhichOneof("state_data") == "data_file" for state in states)
    start = f"{recorded} from recorded values" if recorded else "from zeros"
    count = f"{len(states)} state{'s' if len(states) > 1 else ''}"
    return f"sequences, {config.sequence_batching.WhichOneof('strategy_choice')}, {rows}; {count}, {start}"
