"""The command line. One file a command, imported when it is called."""

from __future__ import annotations

import os
from importlib import import_module

import click
from click.shell_completion import CompletionItem, shell_complete

from rnnexport.cli.choices import unknown_command
from rnnexport.cli.session import Session
from rnnexport.cli.supervision import supervised
from rnnexport.version import __version__

PROGRAM = "rnnexport"
# What the script of a shell asks for completions with, as Click has it.
VARIABLE = "_RNNEXPORT_COMPLETE"
_COMMANDS = {
    "onnx": "Export a model to ONNX.",
    "saved-model": "Export a model to a TensorFlow SavedModel.",
    "tflite": "Export a model to TFLite.",
    "numpy": "Export a model to a Python program that needs NumPy alone.",
    "c": "Export a model to a C99 program.",
    "export": "Export a model to several targets at once.",
    "run": "Run an artifact on your own data.",
    "compare": "Compare any two artifacts or models.",
    "export-all": "Export all models of a manifest, on this machine or on many.",
    "verify": "Verify artifacts against their goldens or their source.",
    "merge": "Merge the parts of a verification, each on a shard of the data.",
    "strip": "Take the goldens out of an artifact, to lie beside it or nowhere.",
    "sign": "Sign an artifact with a key.",
    "reseal": "Verify an artifact that was changed on purpose, and seal it again.",
    "inspect": "Show what a model or an artifact is.",
    "triton": "Write an ONNX artifact into a Triton model repository.",
    "env": "Show versions, runtimes and execution providers of this host.",
    "makefile": "Print the path of a makefile for release jobs.",
    "completion": "Print the script that completes commands in bash, zsh or fish.",
}

_HELP = """Recurrent Keras models to SavedModel, TFLite, ONNX, NumPy and C, each artifact proved to compute the same.

\b
  rnnexport onnx model.keras --opset 17
  rnnexport verify model.onnx

\b
Exit codes:
  0  passed
  1  mismatch: an artifact does not compute what its source computes
  2  usage: an option, a path, a full disk
  3  the model can't be read, or can't be converted with a guarantee
  4  a runtime or an execution provider is not on this host
  5  a fault of rnnexport itself
"""


class _LazyGroup(click.Group):
    """Imports a command's file only when the command is called, so that `--help` and completion are quick."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands, with what each is for; none is imported for it."""
        items = [CompletionItem(name, help=text) for name, text in _COMMANDS.items() if name.startswith(incomplete)]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"rnnexport.cli.{cmd_name.replace('-', '_')}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As of any group; a word that is no command is told with what was probably meant."""
        if args[0] not in _COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(unknown_command(args[0], list(_COMMANDS)), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def _cli() -> None:
    """The group; its help is `_HELP`."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code. That of this process, not given ones, is run in a child of it."""
    if arguments is None and (asked := os.environ.get(VARIABLE)):
        raise SystemExit(shell_complete(_cli, {}, PROGRAM, VARIABLE, asked))

    def run() -> int:
        return Session.run(_cli, arguments)

    raise SystemExit(run() if arguments is not None else supervised(run))
