"""The options that say which data of the user's own a model or an artifact is verified on."""

from __future__ import annotations

from collections.abc import Mapping

import click

from rnnexport.cli.grouping import OptionGroup
from rnnexport.core.errors import UsageError
from rnnexport.core.user_data import Shard, UserData

_PLACES = ".npz, .npy, Parquet or Arrow, here or at an address that fsspec knows (s3://, gs://, hf://)."


def data_options(text: str) -> tuple[click.Option, ...]:
    """`--data` and `--columns`; `data_of` makes one value of them.

    Args:
        text: the help of the first, to which it says what it takes.
    """
    return (
        click.Option(["--data"], metavar="FILE|FOLDER|GLOB|ADDRESS", help=f"{text}: {_PLACES}"),
        click.Option(
            ["--columns"],
            multiple=True,
            metavar="NAME=COLUMN",
            callback=_columns,
            help="The column or array of --data that an input or output is; may be repeated (default: its own name).",
        ),
    )


def data_group(title: str, text: str) -> OptionGroup:
    """The options of data, `--shard` among them, as a group of their own, with one value."""
    shard = click.Option(
        ["--shard"],
        metavar="K/N",
        callback=_shard,
        help="Verify on that part of --data alone; --json then writes a part for `rnnexport merge`.",
    )
    return OptionGroup(title, (*data_options(text), shard), "data", data_of)


def data_of(data: str | None, columns: Mapping[str, str], shard: Shard | None = None) -> UserData | None:
    """What the options say; None where there are no data.

    Raises:
        UsageError: the others without data.
    """
    for option, value in (("--columns", columns), ("--shard", shard)):
        if data is None and value:
            raise UsageError(f"{option} without --data", "the data that it is about", "give --data")
    return None if data is None else UserData(data, columns, shard)


def _shard(ctx: click.Context, param: click.Parameter, value: str | None) -> Shard | None:
    try:
        return None if value is None else Shard.parsed(value)
    except UsageError as error:
        raise click.BadParameter(f"found {value!r}, expected {error.expected}", ctx, param) from error


def _columns(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> Mapping[str, str]:
    """`x=audio`; the name of an input may hold no equals sign, that of a column may."""
    found: dict[str, str] = {}
    for text in value:
        name, equals, column = text.partition("=")
        if not (name and equals and column) or name in found:
            raise click.BadParameter(f"found {text!r}, expected NAME=COLUMN, each name once", ctx, param)
        found[name] = column
    return found
