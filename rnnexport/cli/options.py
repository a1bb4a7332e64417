"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from rnnexport.loading import KERAS_API_CHOICES, WEIGHTS_BY, Loading
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
_LOADING = "rnnexport.loading"


def _kept(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Keep what an option says about loading where `loading_of` finds it: no command has a use for it alone."""
    ctx.meta.setdefault(_LOADING, {})[param.name] = value
    return value


_LOADING_OPTIONS = (
    click.option(
        "--custom-objects",
        multiple=True,
        metavar="FILE.py|MODULE[:NAME]",
        expose_value=False,
        callback=_kept,
        help="Where the model's own layers, cells and functions are defined; may be repeated.",
    ),
    click.option(
        "--keras-api",
        type=click.Choice(KERAS_API_CHOICES),
        default="auto",
        show_default=True,
        expose_value=False,
        callback=_kept,
        help="Whose numbers the file has: keras is Keras 3, tf_keras Keras 1 and 2.",
    ),
    click.option(
        "--builder",
        metavar="MODULE:FUNCTION",
        expose_value=False,
        callback=_kept,
        help="For weights alone: code that makes their model; FILE.py:FUNCTION too.",
    ),
    click.option(
        "--architecture",
        metavar="FILE.json",
        type=click.Path(path_type=Path),
        expose_value=False,
        callback=_kept,
        help="For weights alone: what model.to_json() gave (default: the .json of their name beside them).",
    ),
    click.option(
        "--weights-by",
        type=click.Choice(WEIGHTS_BY),
        default="auto",
        show_default=True,
        expose_value=False,
        callback=_kept,
        help="For weights alone: how their layers and the model's are paired.",
    ),
    click.option(
        "--allow-unsafe",
        is_flag=True,
        expose_value=False,
        callback=_kept,
        help="Let a file in that runs code of its own (a Lambda). Only for files you trust.",
    ),
)


def loading_options(command: Command) -> Command:
    """The options that say how a model is loaded; `loading_of` gives what they say."""
    for option in reversed(_LOADING_OPTIONS):
        command = option(command)
    return command


def loading_of(ctx: click.Context) -> Loading:
    """What the options of `loading_options` say."""
    said = ctx.meta[_LOADING]
    return Loading(
        custom_objects=said["custom_objects"],
        keras_api=said["keras_api"],
        builder=said["builder"],
        architecture=said["architecture"],
        weights_by=said["weights_by"],
        allow_unsafe=said["allow_unsafe"],
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
