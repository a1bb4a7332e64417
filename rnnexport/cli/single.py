"""The commands that export to one target: alike but for their words, and for the opset of ONNX."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from rnnexport.api import export as pipeline
from rnnexport.cli import options
from rnnexport.cli.inputs import Bounds, input_options
from rnnexport.cli.outcome import print_exported
from rnnexport.cli.session import session_of
from rnnexport.core.signature import Length
from rnnexport.targets.base import DEFAULT_OPSET


def export_command(
    target: str, text: str, *more: Callable[[click.Command], click.Command], place: str = "OUT"
) -> click.Command:
    """The command that exports a model to `target`.

    Args:
        target, text: its name, which the command has, and the help, an example in it.
        more: options that this target alone has.
        place: what `--output` takes, for the help.
    """

    @click.command(target, help=text)
    @options.model_argument
    @_output_option(place)
    @_shared
    @click.pass_context
    def command(
        ctx: click.Context,
        model: Path,
        output: Path | None,
        batch: Length,
        timesteps: Length,
        stream: Length,
        cast: str | None,
        data: Path | None,
        ranges: Bounds,
        verify: bool,
        rtol: options.Bounds,
        atol: options.Bounds,
        opset: int = DEFAULT_OPSET,
    ) -> None:
        session = session_of(ctx)
        exported = pipeline.export(
            model,
            target,
            output,
            loading=options.loading_of(ctx),
            opset=opset,
            lowering=options.lowering_of(ctx),
            batch=batch,
            timesteps=timesteps,
            stream=stream,
            cast=cast,
            data=data,
            ranges=ranges,
            verify=verify,
            tolerance=options.tolerance_of(rtol, atol),
            progress=session.progress,
        )
        print_exported(session, [exported])

    for option in more:
        command = option(command)
    return command


def _shared(command: options.Command) -> options.Command:
    """The options of every target, in the order of the help."""
    command = options.verify_option(options.tolerance_options(options.debug_option(command)))
    command = options.stream_option(options.cast_option(input_options(command)))
    command = options.batch_option(options.timesteps_option(command))
    return options.loading_options(command)


def _output_option(place: str) -> Callable[[options.Command], options.Command]:
    return click.option(
        "-o", "--output", metavar=place, type=click.Path(path_type=Path), help="Where the artifact goes."
    )
