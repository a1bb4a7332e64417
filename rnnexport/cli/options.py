"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from rnnexport.pipeline import DEFAULT_OPSET
from rnnexport.signature import Length
from rnnexport.targets.registry import ALL_PROVIDERS
from rnnexport.verification.compare import Tolerance

Command = TypeVar("Command", bound=Callable[..., Any])
_DEFAULT = Tolerance()


def _length(ctx: click.Context, param: click.Parameter, value: str | None) -> Length:
    """A number above 0, or `dynamic`."""
    if value is None or value == "dynamic":
        return value  # type: ignore[return-value]
    try:
        return int(value)
    except ValueError:
        raise click.BadParameter(f"found {value!r}, expected a number or 'dynamic'", ctx, param) from None


model_argument = click.argument("model", type=click.Path(path_type=Path))
output_option = click.option(
    "-o", "--output", metavar="OUT", type=click.Path(path_type=Path), help="Where the artifact goes."
)
opset_option = click.option("--opset", default=DEFAULT_OPSET, show_default=True, help="Opset of the ONNX file.")
batch_option = click.option(
    "--batch", callback=_length, metavar="N|dynamic", help="Fix the batch size; by default what the model says."
)
timesteps_option = click.option(
    "--timesteps", callback=_length, metavar="N|dynamic", help="Fix the length; by default what the model says."
)
verify_option = click.option(
    "--verify/--no-verify", default=True, help="Verify the artifact before it is put in place (default: verify)."
)
provider_option = click.option(
    "--provider",
    "providers",
    multiple=True,
    type=click.Choice(ALL_PROVIDERS),
    default=("cpu",),
    show_default=True,
    help="The execution provider to run on; may be repeated.",
)
json_option = click.option(
    "--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Write the report as JSON too."
)
debug_option = click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks and library output.")
custom_objects_option = click.option(
    "--custom-objects",
    multiple=True,
    metavar="FILE.py|MODULE",
    help="Where the model's own layers, cells and functions are defined; may be repeated.",
)


def tolerance_options(command: Command) -> Command:
    """`--rtol` and `--atol`."""
    text = "of |found - wanted| <= atol + rtol |wanted|"
    command = click.option("--atol", type=float, help=f"Absolute part {text} (default: {_DEFAULT.atol:g}).")(command)
    return click.option("--rtol", type=float, help=f"Relative part {text} (default: {_DEFAULT.rtol:g}).")(command)


def tolerance_of(rtol: float | None, atol: float | None) -> Tolerance | None:
    """The tolerance that was asked for; None where neither option was given."""
    if rtol is None and atol is None:
        return None
    return Tolerance(_DEFAULT.rtol if rtol is None else rtol, _DEFAULT.atol if atol is None else atol)
