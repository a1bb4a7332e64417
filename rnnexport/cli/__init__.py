"""The command line. One file a command, imported when it is called."""

from __future__ import annotations

from importlib import import_module

import click

from rnnexport.cli.session import Session
from rnnexport.cli.supervision import supervised
from rnnexport.version import __version__

_COMMANDS = {
    "onnx": "Export a model to ONNX.",
    "saved-model": "Export a model to a TensorFlow SavedModel.",
    "tflite": "Export a model to TFLite, unrolled.",
    "numpy": "Export a model to a Python program that needs NumPy alone.",
    "export": "Export a model to several targets at once.",
    "verify": "Verify artifacts against their goldens or their source.",
    "reseal": "Verify an artifact that was changed on purpose, and seal it again.",
    "inspect": "Show what a model or an artifact is.",
    "triton": "Write an ONNX artifact into a Triton model repository.",
    "makefile": "Print the path of a makefile for release jobs.",
}

_HELP = """Recurrent Keras models to SavedModel, TFLite, ONNX and NumPy, each artifact proved to compute the same thing.

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
    """Imports a command's file only when the command is called, so that `--help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"rnnexport.cli.{cmd_name.replace('-', '_')}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def _cli() -> None:
    """The group; its help is `_HELP`."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code. That of this process, not given ones, is run in a child of it."""

    def run() -> int:
        return Session.run(_cli, arguments)

    raise SystemExit(run() if arguments is not None else supervised(run))
