"""The options of an export that say what inputs the model will be given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Bounds = dict[str, tuple[float, float]]
Command = TypeVar("Command", bound=Callable[..., Any])


def _ranges(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> Bounds:
    """`NAME:LOW:HIGH`; a name may hold colons."""
    found: Bounds = {}
    for text in value:
        name, *bounds = text.rsplit(":", 2)
        try:
            low, high = map(float, bounds)
        except ValueError:
            raise click.BadParameter(f"found {text!r}, expected NAME:LOW:HIGH", ctx, param) from None
        found[name] = low, high
    return found


def input_options(command: Command) -> Command:
    """`--data` and `--range`."""
    command = click.option(
        "--range",
        "ranges",
        multiple=True,
        callback=_ranges,
        metavar="NAME:LOW:HIGH",
        help="Verify on values of that input from LOW to HIGH alone; may be repeated. It is recorded in the file.",
    )(command)
    return click.option(
        "--data",
        type=click.Path(path_type=Path),
        metavar="FILE.npz|FOLDER",
        help="Verify on these inputs too, by name; some of them are kept in the file.",
    )(command)
