"""`rnnexport completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from rnnexport.cli import PROGRAM, VARIABLE
from rnnexport.cli.grouping import grouped
from rnnexport.cli.session import session_of

_SHELLS = ("bash", "zsh", "fish")


@grouped("completion", arguments=[click.Argument(["shell"], type=click.Choice(_SHELLS))])
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands, options and files in SHELL: bash (4.4 or newer), zsh or fish.

    \b
    Examples, to be put into the start file of the shell:
      eval "$(rnnexport completion bash)"      # ~/.bashrc
      eval "$(rnnexport completion zsh)"       # ~/.zshrc, behind compinit
      rnnexport completion fish | source       # ~/.config/fish/config.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None, "Click has a class for each of these"
    root = ctx.find_root().command
    complete = kind(root, {}, PROGRAM, VARIABLE)
    # Not `source()`, which for bash starts one to look at its version.
    session_of(ctx).write(complete.source_template % complete.source_vars())
