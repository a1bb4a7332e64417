"""What commands refuse before they begin.

The option that says which machines work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from rnnexport.artifact.atomic_write import check_destination, writing
from rnnexport.core.errors import UsageError, closest, did_you_mean

_PLACES = ("local", "ray")


def _is_folder(path: Path) -> bool:
    """Whether it is a folder; what can't be looked at is refused where it is read."""
    try:
        return path.is_dir()
    except OSError:
        return False


def check_reports(reports: Mapping[str, Path], inputs: Sequence[Path], companions: Sequence[Path] = ()) -> None:
    """Refuse what could only fail after all the work, or would destroy what is verified."""
    seen = [path.resolve() for path in (*inputs, *companions)]
    folders = [path for path in seen if _is_folder(path)]  # a report in a SavedModel would break its seal
    for kind, file in reports.items():
        place = file.resolve()
        if place in seen or not set(place.parents).isdisjoint(folders):
            raise UsageError(
                f"--{kind} {file}, which is an input or another report", "another file", f"change --{kind}"
            )
        seen.append(place)
        with writing(file):
            plain = file.is_file() or file.is_dir() or not file.exists()
        if plain:
            check_destination(file)


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
