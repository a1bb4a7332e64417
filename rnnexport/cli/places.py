"""The option that says which machines work."""

from __future__ import annotations

import click

from rnnexport.core.errors import closest, did_you_mean

_PLACES = ("local", "ray")


def on_option() -> click.Option:
    """`--on`: None for this machine, else the address of a Ray cluster, empty for one that is started here."""
    return click.Option(
        ["--on"],
        default="local",
        show_default=True,
        metavar="local|ray[:ADDRESS]",
        callback=_place,
        help="Where the work is done: on this machine, or on Ray, at the address of its head (ray alone: here).",
    )


def _place(ctx: click.Context, param: click.Parameter, value: str) -> str | None:
    name, _, address = value.partition(":")
    if name not in _PLACES or (name == "local" and address):
        todo = did_you_mean(closest(name, _PLACES), "change it")
        raise click.BadParameter(f"found {value!r}, expected local or ray[:ADDRESS]; {todo}", ctx, param)
    return None if name == "local" else address
