"""The options of a command that runs artifacts in processes of their own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

from rnnexport.isolation.limits import GIGABYTE, TIMEOUT, Limits

Command = TypeVar("Command", bound=Callable[..., Any])


def _positive(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not 0 < value < math.inf:
        raise click.BadParameter(f"found {value}, expected a number above 0", ctx, param)
    return value


def limit_options(command: Command) -> Command:
    """`--memory` and `--timeout`; `limits_of` gives what they say."""
    command = click.option(
        "--timeout",
        type=float,
        callback=_positive,
        default=TIMEOUT,
        metavar="SECONDS",
        help=f"How long loading an artifact, or one call of it, may take (default: {TIMEOUT:g}).",
    )(command)
    return click.option(
        "--memory",
        type=float,
        callback=_positive,
        metavar="GB",
        help="What a process that runs an artifact may take (default: 4, and eight times the artifact).",
    )(command)


def limits_of(memory: float | None, timeout: float) -> Limits:
    """What the options say."""
    return Limits(None if memory is None else int(memory * GIGABYTE), timeout)
